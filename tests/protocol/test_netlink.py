"""What a kernel said, byte by byte, and what one might say: which of it is a change of the network."""

from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.protocol.netlink import (
    Known,
    address_of,
    attributes,
    ends_listing,
    link_of,
    messages,
    requests,
    route_of,
)
from tests.kernel import (
    DEL_ADDRESS,
    DEL_LINK,
    DEL_ROUTE,
    DONE,
    ERROR,
    GATEWAY,
    NEW_ADDRESS,
    NEW_LINK,
    NEW_NEIGHBOUR,
    NEW_ROUTE,
    OTHER_GATEWAY,
    REPLACE,
    V4,
    V6,
    address,
    attribute,
    link,
    message,
    route,
)

# ---- what the kernel says, as a kernel said it (6.18, a veth pair in a network of its own)

SEEN = {
    "address 10.9.0.1/24": (
        "4c00000014000000" + "00000000" * 2 + "0218800003000000080001000a090001080002000a0900010700030064300000"
        "080008008000000014000600ffffffffffffffff52c90e0052c90e00"
    ),
    "the same with a life time": (
        "4c00000014000000" + "00000000" * 2 + "0218000003000000080001000a090001080002000a0900010700030064300000"
        "080008000000000014000600320000006400000052c90e00b8c90e00"
    ),
    "its route to itself": (
        "3c00000018000006" + "00000000" * 2 + "02200000ff02fe020000000008000f00ff000000080001000a090001080007000a090001"
        "0800040003000000"
    ),
    "its route to its network": (
        "3c00000018000006" + "00000000" * 2 + "02180000fe02fd010000000008000f00fe000000080001000a090000080007000a090001"
        "0800040003000000"
    ),
    "multicast of IPv6": (
        "7400000018000006" + "00000000" * 2 + "0a080000ff0200050000000008000f00ff00000014000100ff00000000000000"
        "00000000000000000800060000010000080004000200000024000c0000000000000000000000000000000000000000000000000000"
        "000000000000000500140000000000"
    ),
    "link-local of IPv6": (
        "7400000018000006" + "00000000" * 2 + "0a400000fe0200010000000008000f00fe00000014000100fe80000000000000"
        "00000000000000000800060000010000080004000200000024000c0000000000000000000000000000000000000000000000000000"
        "000000000000000500140000000000"
    ),
    "link-local address": (
        "5000000014000000" + "00000000" * 2 + "0a4080fd0300000014000100fe80000000000000909ddefffee99e6414000600"
        "ffffffffffffffff2ac90e002ac90e00080008008000000005000b0003000000"
    ),
    "default via 10.9.0.2": (
        "3400000018000006" + "00000000" * 2 + "02000000fe0300010000000008000f00fe000000080005000a0900020800040003000000"
    ),
    "default via 10.9.0.3 instead": (
        "3400000018000001" + "00000000" * 2 + "02000000fe0300010000000008000f00fe000000080005000a0900030800040003000000"
    ),
    "default via 10.9.0.2 again": (
        "3400000018000001" + "00000000" * 2 + "02000000fe0300010000000008000f00fe000000080005000a0900020800040003000000"
    ),
    "address gone": (
        "4c00000015000000" + "00000000" * 2 + "0218000003000000080001000a090001080002000a0900010700030064300000"
        "0800080000000000140006002e0000006000000052c90e00b8c90e00"
    ),
}
little = pytest.mark.skipif(sys.byteorder != "little", reason="the recorded messages are of a little-endian machine")


def seen(name: str) -> bytes:
    return bytes.fromhex(SEEN[name])


@little
def test_a_day_of_a_real_kernel() -> None:
    known = Known()
    counted = [name for name in SEEN if known.hear(seen(name))]
    assert counted == [
        "address 10.9.0.1/24",
        "its route to its network",
        "default via 10.9.0.2",
        "default via 10.9.0.3 instead",
        "default via 10.9.0.2 again",
        "address gone",
    ]


@little
def test_what_is_told_again_does_not_count() -> None:
    known = Known()
    for name in SEEN:
        known.hear(seen(name))
        assert not known.hear(seen(name)) or name == "its route to itself", name


# ---- what the kernel may say


def counts(*told: bytes) -> list[bool]:
    known = Known()
    return [known.hear(data) for data in told]


@pytest.mark.parametrize("ip", [V4, V6])
def test_an_address_comes_and_goes(ip: str) -> None:
    told = [address(ip), address(ip), address(ip, DEL_ADDRESS), address(ip, DEL_ADDRESS), address(ip)]
    assert counts(*told) == [True, False, True, False, True]


def test_an_address_of_ipv6_counts_when_it_can_be_used() -> None:
    tentative = address(V6, flags=0x40)
    assert counts(tentative, address(V6), address(V6, flags=0x20)) == [False, True, False]  # 0x20: deprecated
    assert counts(tentative, address(V6, flags=0x48), address(V6, DEL_ADDRESS, flags=0x48)) == [False] * 3


@pytest.mark.parametrize("scope", [253, 254, 255])
def test_addresses_that_lead_nowhere_do_not_count(scope: int) -> None:
    assert counts(address("fe80::1", scope=scope), address("fe80::1", DEL_ADDRESS, scope=scope)) == [False, False]


def test_the_own_end_of_two_is_the_address() -> None:
    fixed = struct.pack("=BBBBI", 2, 32, 0, 0, 2)
    one, other, peer = (attribute(kind, bytes([10, 0, 0, n])) for kind, n in ((2, 1), (2, 2), (1, 3)))
    assert counts(message(NEW_ADDRESS, fixed + peer + one), message(NEW_ADDRESS, fixed + peer + other)) == [True, True]


def test_a_link_with_an_address_counts_when_it_starts_or_stops_to_carry() -> None:
    stop, start = link(2, running=False), link(2)
    assert counts(start, address(V4), start, stop, stop, start) == [False, True, False, True, False, True]
    assert counts(start, address(V4), link(2, DEL_LINK), link(2, DEL_LINK)) == [False, True, True, False]


def test_a_link_without_an_address_does_not_count() -> None:
    assert counts(address(V4, index=2), link(3), link(3, running=False), link(3, DEL_LINK)) == [True] + [False] * 3


def test_a_port_that_leaves_a_bridge_is_no_link() -> None:
    assert counts(link(2), address(V4), link(2, DEL_LINK, family=7)) == [False, True, False]


@pytest.mark.parametrize("via", [GATEWAY, "fe80::1"])
def test_a_route_comes_and_goes_and_is_renewed(via: str) -> None:
    renewed = route(via, expires=600, flags=REPLACE)
    assert counts(route(via), renewed, route(via, DEL_ROUTE), route(via)) == [True, False, True, True]


def test_a_clone_does_not_count() -> None:
    assert counts(route(GATEWAY, cloned=True), route(GATEWAY, DEL_ROUTE, cloned=True)) == [False, False]


@pytest.mark.parametrize(("table", "leads"), [(255, 1), (254, 2), (254, 3), (254, 4), (254, 5), (254, 10)])
def test_routes_that_come_with_every_address_do_not_count(table: int, leads: int) -> None:
    assert counts(route(GATEWAY, table=table, leads=leads)) == [False]


def test_a_route_that_was_replaced_may_come_back() -> None:
    told = [route(GATEWAY), route(OTHER_GATEWAY, flags=REPLACE), route(GATEWAY, flags=REPLACE)]
    assert counts(*told) == [True] * 3


def test_a_route_that_went_with_its_address_or_link_may_come_back() -> None:
    known = Known()
    for data in (link(2), address(V4), route(GATEWAY)):
        known.hear(data)
    assert not known.hear(route(GATEWAY))
    for gone, back in ((address(V4, DEL_ADDRESS), address(V4)), (link(2, running=False), link(2))):
        assert known.hear(gone)
        assert known.hear(back)
        assert known.hear(route(GATEWAY))


def test_neighbours_and_the_end_of_a_listing_do_not_count() -> None:
    assert (
        counts(message(NEW_NEIGHBOUR, bytes(40)), message(DONE, bytes(4)), message(ERROR, bytes(20)), b"")
        == [False] * 4
    )


def test_all_messages_of_a_datagram_are_heard() -> None:
    known = Known()
    assert known.hear(address(V4) + address(V6) + message(NEW_NEIGHBOUR))
    assert not known.hear(address(V6))
    assert len(known) == 2


@given(st.data())
def test_a_datagram_cut_short_says_nothing_wrong(data: st.DataObject) -> None:
    whole = [link(2), address(V4), address(V6), route(GATEWAY), route("fe80::1")]
    everything = b"".join(whole)
    cut = everything[: data.draw(st.integers(0, len(everything)))]
    known = Known()
    known.hear(cut)
    assert len(known) <= len(list(messages(cut))) <= len(whole)


@given(st.binary(max_size=200))
def test_garbage_says_something_or_nothing(data: bytes) -> None:
    assert isinstance(Known().hear(data), bool)
    for parse in (link_of, address_of, route_of, attributes):
        parse(data)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([NEW_LINK, DEL_LINK, NEW_ADDRESS, DEL_ADDRESS, NEW_ROUTE, DEL_ROUTE, NEW_NEIGHBOUR]),
            st.sampled_from([0, REPLACE]),
            st.binary(max_size=60),
        )
    )
)
def test_garbage_in_whole_messages_says_something_or_nothing(told: list[tuple[int, int, bytes]]) -> None:
    assert isinstance(Known().hear(b"".join(message(kind, body, flags) for kind, flags, body in told)), bool)


@pytest.mark.parametrize("length", [0, 15, 17, 2**32 - 1])
def test_a_message_of_a_wrong_length_is_the_last(length: int) -> None:
    bad = struct.pack("=IHHII", length, NEW_ADDRESS, 0, 0, 0)
    assert [kind for kind, _, _ in messages(message(DONE) + bad)] == [DONE]


@pytest.mark.parametrize("length", [0, 3, 5, 2**16 - 1])
def test_an_attribute_of_a_wrong_length_is_the_last(length: int) -> None:
    assert attributes(attribute(1, b"a") + struct.pack("=HH", length, 2)) == {1: b"a"}


# ---- listings


def test_links_addresses_and_routes_are_asked_for() -> None:
    assert [(kind, flags) for request in requests() for kind, flags, _ in messages(request)] == [
        (18, 0x301),
        (22, 0x301),
        (26, 0x301),
    ]


def test_a_listing_ends_with_its_end_or_an_error() -> None:
    assert ends_listing(address(V4) + message(DONE, bytes(4)))
    assert ends_listing(message(ERROR, bytes(20)))
    assert not ends_listing(address(V4) + link(2))
    assert not ends_listing(b"")

"""The rules at work: what goes directly, what through the tunnel, what not at all, and what happens when they change."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from proxy.address import Address
from proxy.errors import ConfigError, OpenError, Reason
from proxy.exits import Exits
from proxy.routing import Routing
from proxy.rules import RuleSettings

if TYPE_CHECKING:
    from proxy.session_stream import SessionStream


class Tunnelled(Exception):  # noqa: N818  (it is no error)
    """It went through the tunnel."""


class Tunnel(Exits):
    def __init__(self) -> None:
        pass

    async def open(self, address: Address) -> SessionStream:
        raise Tunnelled(address)


def rules(*texts: str, mode: str = "home-direct", folder: Path = Path()) -> RuleSettings:
    return RuleSettings.parse(texts, mode, "cn", "tunnel", folder=folder)


def routing(*texts: str, mode: str = "home-direct", folder: Path = Path()) -> Routing:
    return Routing(rules(*texts, mode=mode, folder=folder), Tunnel(), datagram_age=0.3)


async def opened(made: Routing, address: Address) -> trio.abc.HalfCloseableStream:
    return await made.choose(address).open(address)


async def test_what_is_on_this_computer_goes_directly() -> None:
    async def welcome(stream: trio.SocketStream) -> None:
        await stream.send_all(b"welcome")

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, welcome, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        made = routing()
        for host in ("127.0.0.1", "localhost"):
            async with await opened(made, Address(host, port)) as stream:
                assert await stream.receive_some() == b"welcome"
            assert made.choose(Address(host, port)).route == "direct"
        with pytest.raises(Tunnelled):
            await opened(routing(mode="all"), Address("127.0.0.1", port))
        nursery.cancel_scope.cancel()


async def test_the_rest_goes_through_the_tunnel_and_is_not_looked_up() -> None:
    made = routing()
    for host in ("web.whatsapp.com", "example.com", "8.8.8.8"):
        chosen = made.choose(Address(host, 443))
        assert chosen.route == "tunnel"
        with pytest.raises(Tunnelled):
            await chosen.open(Address(host, 443))


async def test_what_is_blocked_says_by_which_rule() -> None:
    made = routing("block suffix:ads.example")
    chosen = made.choose(Address("www.ads.example", 443))
    assert (chosen.route, chosen.rule) == ("block", "rule 1: block suffix:ads.example")
    with pytest.raises(OpenError, match="rule 1") as caught:
        await chosen.open(Address("www.ads.example", 443))
    assert caught.value.reason is Reason.FORBIDDEN


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.9"])
async def test_the_direct_way_to_the_proxy_itself_is_closed(host: str) -> None:
    """Also where a name leads there, of which one does not see it."""
    made = routing()
    async with (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] as listener:
        port = listener.socket.getsockname()[1]
        made.own_ports = {port}
        with pytest.raises(OpenError) as caught:
            await made.router.choose_stream(Address(host, port)).open(Address(host, port))
    assert caught.value.reason is Reason.REFUSED


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_other_computers_do_not_reach_what_is_on_this_one_only(host: str, nursery: trio.Nursery) -> None:
    made = routing()
    made.shared = True
    await nursery.start(made.run)
    async with (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] as listener:
        with pytest.raises(OpenError) as caught:
            await opened(made, Address(host, listener.socket.getsockname()[1]))
    assert caught.value.reason is Reason.REFUSED
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.setblocking(False)
        choice = made.router.choose(Address(host, peer.getsockname()[1]))
        assert choice is not None
        async with await choice.open() as association:
            association.send(Address("127.0.0.1", peer.getsockname()[1]), b"ping")
        with pytest.raises(BlockingIOError):
            peer.recv(100)


async def test_datagrams_go_directly_too(nursery: trio.Nursery) -> None:
    made = routing()
    await nursery.start(made.run)
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as peer:
        await peer.bind(("127.0.0.1", 0))
        address = Address(*peer.getsockname())
        choice = made.router.choose(address)
        assert choice is not None
        async with await choice.open() as association:
            association.send(address, b"ping")
            with trio.fail_after(5):
                data, sender = await peer.recvfrom(100)
                await peer.sendto(b"pong", sender)
                assert (data, await association.receive()) == (b"ping", (address, b"pong"))


async def test_changed_rules_hold_at_once_and_who_wants_is_told(nursery: trio.Nursery) -> None:
    made, told = routing(), trio.Event()
    await nursery.start(made.run)
    made.when_changed(told.set)
    await made.change(rules("direct suffix:example.com"))
    assert told.is_set()
    assert made.choose(Address("www.example.com", 443)).route == "direct"


async def test_rules_that_are_of_no_use_change_nothing(tmp_path: Path) -> None:
    made = routing("direct suffix:example.com")
    with pytest.raises(ConfigError, match=r"none\.txt"):
        await made.change(rules("block list:none.txt", folder=tmp_path))
    assert made.choose(Address("www.example.com", 443)).route == "direct"
    with pytest.raises(ConfigError, match=r"none\.txt"):
        routing("block list:none.txt", folder=tmp_path)


async def test_a_list_that_changes_is_read_again(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.rule_files.LOOK_EVERY", 0.02)
    path = tmp_path / "direct.txt"
    path.write_text("one.example\n")
    made, changed = routing("direct list:direct.txt", folder=tmp_path), trio.Event()
    made.when_changed(changed.set)
    await nursery.start(made.run)
    assert made.choose(Address("two.example", 443)).route == "tunnel"
    path.write_text("one.example\ntwo.example\n")
    with trio.fail_after(10):
        await changed.wait()
    assert made.choose(Address("two.example", 443)).route == "direct"


ITSELF = ["127.0.0.1", "127.1", "127.8.8.8", "localhost", "LOCALHOST.", "a.localhost", "::1", "::", "0.0.0.0", "0"]
ITSELF += ["2130706433", "::ffff:127.0.0.1", "0x7f.0.0.1", "64:ff9b::7f00:1"]


@pytest.mark.parametrize("host", ITSELF)
async def test_nothing_leads_to_the_port_itself(host: str) -> None:
    """Whatever the rules say: the exit that they lead to may stand on this computer."""
    for made in (
        routing(),
        routing(mode="all"),
        routing("tunnel regex:.", "tunnel cidr:::/0", "tunnel cidr:0.0.0.0/0"),
    ):
        made.own_ports = {1080}
        chosen = made.choose(Address.make(host, 1080))
        assert chosen.route == "block"
        with pytest.raises(OpenError) as caught:
            await chosen.open(Address.make(host, 1080))
        assert caught.value.reason is Reason.FORBIDDEN
        assert "own port" in str(caught.value)
        assert made.choose(Address.make(host, 1081)).route != "block"


@pytest.mark.parametrize("host", ["laptop", "Laptop.", "laptop.home.example", "laptop.local"])
async def test_the_name_of_this_computer_leads_to_the_port_itself(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its hosts file that is 127.0.1.1 or so, also for an exit on this computer, which may have been told to allow that."""
    monkeypatch.setattr(socket, "gethostname", lambda: "Laptop.home.example")
    made = routing(mode="all")
    made.own_ports = {1080}
    assert made.choose(Address.make(host, 1080)).route == "block"
    assert made.choose(Address.make(host, 1081)).route == "tunnel"
    assert made.choose(Address.make("desk.home.example", 1080)).route == "tunnel"


async def test_other_hosts_have_such_ports_too() -> None:
    made = routing(mode="all")
    made.own_ports = {1080}
    for host in ("192.0.2.1", "example.com", "localhost.example", "notlocalhost"):
        assert made.choose(Address(host, 1080)).route == "tunnel"

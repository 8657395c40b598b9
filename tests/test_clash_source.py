"""What dashboards for Clash are shown: exits, rules and connections as they are, and nothing that is not known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import trio

from proxy import clash_source
from proxy.connections import AppProtocol
from tests.clash import ruleset, shown
from tests.memory import ECHO

if TYPE_CHECKING:
    import pytest
    from trio.testing import MockClock

    from proxy.clash_source import ClashSource
    from tests.memory import Identity


def plain(view: object) -> object:
    return json.loads(msgspec.json.encode(view))


async def test_exits_are_a_group(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there:
        proxies = there.source.proxies()
        assert list(proxies) == ["GLOBAL", "Ropeway", "one", "two", "DIRECT", "REJECT"]
        for name in ("GLOBAL", "Ropeway"):
            assert plain(proxies[name]) == {
                "name": name,
                "type": "Selector",
                "alive": True,
                "udp": True,
                "history": [],
                "now": "one",
                "all": ["one", "two"],
            }
        assert plain(proxies["two"]) == {"name": "two", "type": "Ropeway", "alive": True, "udp": True, "history": []}
        await there.one.block()
        assert not there.source.proxies()["one"].alive
        assert there.source.leaves().now == "one"


async def test_another_exit_is_used(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there:
        await there.one.block()
        await there.source.used("two")
        assert there.source.proxies()["Ropeway"].now == "two"
        await there.source.used("gone")  # there is nothing to wait for


async def test_delays_are_kept_of_exits_that_are_there(
    server: Identity, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shown(server) as there:
        there.source.note_delay("gone", 5)
        for delay in range(20):
            there.source.note_delay("one", delay)
        proxies = there.source.proxies()
        assert [each.delay for each in proxies["one"].history] == list(range(10, 20))
        assert proxies["Ropeway"].history == proxies["one"].history
        assert proxies["one"].history[0].time.endswith("Z")
        assert list(there.source._delays) == ["one"]


async def test_an_exit_is_connected_before_anything_is_measured(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there:
        assert there.two.attempts == 0
        way = await there.source.way(there.source.leaves().exits["two"])
        assert there.source.proxies()["two"].alive
        async with await way.open(ECHO) as stream:
            assert there.two.streams == 1
            assert stream.exit == "two"


async def test_the_configuration(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there:
        found = plain(there.source.configuration())
        assert isinstance(found, dict)
        assert (found["mode"], found["mode-list"], found["mixed-port"]) == ("global", ["rule", "global"], 1080)
        assert found["log-level"] in ("debug", "info", "warning", "error")
        assert found["tun"] == {"enable": False}
        there.router.change(ruleset(mode="home-direct"))
        assert there.source.configuration().mode == "rule"


async def test_rules_in_their_order_with_their_hits(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there:
        there.opened("www.example.org")
        there.opened("www.example.org")
        rules = there.source.rules().rules
        assert [(each.index, each.type, each.payload, each.proxy) for each in rules] == [
            (0, "DomainSuffix", "example.org", "DIRECT"),
            (1, "Domain", "by.example", "two"),
            (2, "AND", "DomainKeyword,ads && DstPort,443 && Network,tcp", "REJECT"),
            (3, "Match", "", "Ropeway"),
        ]
        assert [each.extra.hit_count for each in rules] == [2, 0, 0, 0]
        assert [bool(each.extra.hit_at) for each in rules] == [True, False, False, False]
        assert plain(rules[1]) == {
            "index": 1,
            "type": "Domain",
            "payload": "by.example",
            "proxy": "two",
            "size": -1,
            "extra": {"hitCount": 0, "disabled": False},
        }


async def listed(source: ClashSource) -> list[dict[str, object]]:
    return list(json.loads(await source.connections())["connections"])


async def test_a_connection(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there:
        connection = there.opened("www.example.com", protocol=AppProtocol.CONNECT)
        connection.reached("one")
        connection.traffic.up(10, trio.current_time())
        connection.traffic.down(200, trio.current_time())
        connection.process = "/usr/lib/browser/browser"
        (found,) = await listed(there.source)
        start = found.pop("start")
        assert isinstance(start, str)
        assert start.endswith("Z")
        assert found == {
            "id": "1",
            "upload": 10,
            "download": 200,
            "chains": ["one", "Ropeway"],
            "rule": "Match",
            "rulePayload": "",
            "metadata": {
                "network": "tcp",
                "type": "HTTPS",
                "host": "www.example.com",
                "destinationIP": "",
                "destinationPort": "443",
                "sourceIP": "",
                "sourcePort": "",
                "dnsMode": "normal",
                "process": "browser",
                "processPath": "/usr/lib/browser/browser",
                "remoteDestination": "",
                "sniffHost": "",
            },
        }
        whole = json.loads(await there.source.connections())
        assert (whole["uploadTotal"], whole["downloadTotal"]) == (10, 200)
        connection.close(trio.current_time())
        assert await listed(there.source) == []


async def test_a_call_is_of_another_network(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there:
        call = there.opened("198.51.100.1", protocol=AppProtocol.UDP)
        call.reached("one")
        (found,) = await listed(there.source)
        metadata = found["metadata"]
        assert isinstance(metadata, dict)
        assert (metadata["network"], metadata["type"], metadata["destinationIP"]) == ("udp", "Socks5", "198.51.100.1")
        assert found["chains"] == ["one", "Ropeway"]


async def test_chains_say_by_which_exit_each_goes(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there:
        there.opened("a.example.org").reached()
        there.opened("by.example").reached("two")
        there.opened("other.example")  # on its way: by which exit is not known yet
        there.opened("ads.example")
        there.opened("192.0.2.1").reached("one")
        there.connections.opened(
            AppProtocol.SOCKS4, there.connections.all_open()[0].address, 0
        )  # nobody has chosen yet
        found = await listed(there.source)
        assert [each["chains"] for each in found] == [
            ["one", "Ropeway"],
            ["REJECT"],
            ["Ropeway"],
            ["two"],
            ["DIRECT"],
        ]
        metadata = found[0]["metadata"]
        assert isinstance(metadata, dict)
        assert (metadata["host"], metadata["destinationIP"]) == ("", "192.0.2.1")
        assert (found[3]["rule"], found[3]["rulePayload"]) == ("Domain", "by.example")


async def test_a_rule_that_is_gone_is_still_named(server: Identity, autojump_clock: MockClock) -> None:
    async with shown(server) as there:
        there.opened("a.example.org").reached()
        there.router.change(ruleset())
        (found,) = await listed(there.source)
        assert (found["rule"], found["rulePayload"]) == ("rule 1: direct suffix:example.org", "")


async def test_many_connections_leave_time_for_others(
    server: Identity, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clash_source, "SLICE", 2)
    async with shown(server) as there, trio.open_nursery() as nursery:
        for _ in range(10):
            there.opened("www.example.com").reached("one")
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        nursery.start_soon(other)
        assert len(await listed(there.source)) == 10
        assert turns >= 3
        nursery.cancel_scope.cancel()


async def test_memory_is_a_number(server: Identity, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with shown(server) as there:
        monkeypatch.setattr("proxy.heap.resident", lambda: 1234)
        assert plain(there.source.memory()) == {"inuse": 1234, "oslimit": 0}
        monkeypatch.setattr("proxy.heap.resident", lambda: None)
        assert plain(there.source.memory()) == {"inuse": 0, "oslimit": 0}

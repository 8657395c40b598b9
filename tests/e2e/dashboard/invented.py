"""A program with connections that nobody has: what the interface says of it (docs/api.md), and how that goes on from second to second."""

from __future__ import annotations

import math
import random
import threading
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from proxy.finding import Finding, Text

Json: TypeAlias = dict[str, Any]

LONG = 60.0
STEPS = 720
MOST_CLOSED = 200

#: App, host, port, route, rule, and how many bytes come down and go up a second while it is busy.
KINDS: list[tuple[str, str, int, str, str, int, int]] = [
    ("whatsapp", "g{}.chat.example.com", 443, "tunnel", "app:whatsapp", 900, 400),
    ("whatsapp", "192.0.2.{}", 3478, "tunnel", "app:whatsapp", 12_000, 11_000),
    ("telegram", "dc{}.messages.example.net", 443, "tunnel", "app:telegram", 1200, 500),
    ("youtube", "video-{}.example.com", 443, "tunnel", "app:youtube", 620_000, 6000),
    ("signal", "chat{}.example.org", 443, "tunnel", "app:signal", 700, 300),
    ("wechat", "short{}.weixin.example", 443, "direct", "app:wechat", 1500, 900),
    ("instagram", "pictures-{}.example.com", 443, "tunnel", "app:instagram", 45_000, 2000),
    ("google", "search{}.example.com", 443, "tunnel", "", 8000, 900),
    ("", "www{}.example.org", 443, "tunnel", "", 22_000, 1200),
    ("", "static-{}.example.net", 443, "tunnel", "", 30_000, 700),
    ("", "news{}.example.cn", 443, "direct", "home", 9000, 600),
]
WEIGHTS = [14, 3, 12, 4, 8, 10, 8, 8, 16, 12, 6]
UDP_PORT = 3478
#: Source, text, route and hits.
RULES = [
    ("rule 1", "block list:adverts", "block", 1284),
    ("rule 2", "direct app:wechat", "direct", 3120),
    ("rule 3", "tunnel app:telegram", "tunnel", 1490),
    ("rule 4", "direct suffix:example.cn", "direct", 655),
    ("rule 5", "direct port:22", "direct", 4),
    ("rule 6", "tunnel suffix:bank.example", "tunnel", 0),
    ("mode home-direct", "private", "direct", 71),
    ("mode home-direct", "suffix:cn", "direct", 2083),
]
OWN_RULES = 6
LINES = [
    ("info", "listening at 127.0.0.1:1080"),
    ("info", "connected to the exit tokyo.example.com:443"),
    ("warning", "the connection to the exit was reset; another one takes over"),
    ("info", "connected to the exit tokyo.example.com:443 after 0.31 s; 148 streams go on"),
    ("info", "the configuration was read again: 6 rules"),
    ("error", "the list adverts.txt cannot be read: there is no such file"),
    ("info", "the list adverts.txt was read: 48211 entries"),
]
_FOUND = [
    Finding.ok("configuration", Text("{path}: mode {mode}, by way of {exits}", path="ropeway.toml", mode="home-direct", exits="tokyo.example.com:443")),
    Finding.ok("tunnel", Text("Ropeway is connected: an answer from the exit took {n} ms", n=91)),
    Finding.ok("clock", Text("the clock agrees with the exit's")),
    Finding.note(
        "name",
        Text("{name} resolves to {found}, and was found at {old} before", name="tokyo.example.com", found="203.0.113.9", old="192.0.2.7"),
        Text("the exit has moved, or this network lies about its name; the certificate tells which"),
    ),
    Finding.fault(
        "system proxy",
        Text("{states}", states=Text("{desktop}: on, at {place}", desktop="GNOME", place="127.0.0.1:1081")),
        Text("programs that follow the system's settings reach nothing"),
        Text("start Ropeway, or `ropeway system-proxy off` brings back what was set before"),
    ),
    Finding.ok("round trip", Text("{tcp} ms for TCP, {greeted} ms for the exit to answer", tcp=84, greeted=85)),
]  # fmt: skip
FINDINGS: list[Json] = [{**finding.plain(), "words": finding.words} for finding in _FOUND]
#: No code that means anything, and looks like one.
LINK = "ropeway://0123456789abcdef0123456789abcdef@tokyo.example.com:443"


class Invented:
    """With as many open connections as were asked for. Its methods may be called from any thread."""

    def __init__(self, count: int, *, now: float, seed: int = 1, names: list[str] | None = None) -> None:
        self.lock = threading.Lock()
        self.now = now
        self.started = now - 11_520
        self.mode = "home-direct"
        self.log = [
            {"at": self.started + 1000.0 * i, "level": level, "text": text} for i, (level, text) in enumerate(LINES)
        ]
        self.calls: list[str] = []
        self.counts = self.kept = True
        self.shown_rules = list(RULES)
        self._chance = random.Random(seed)
        self._names = list(names or ())
        self._next = 0
        self._preferred = 0
        self.label = "home"
        self.open: dict[int, Json] = {}
        self.closed: list[Json] = []
        for i in range(count):
            self._begin(now - (count - i) / count * self._chance.choice([40, 900, 7200]))
        for _ in range(20):
            self._begin(now - 300)
            self._finish(self._next - 1, "")

    def _begin(self, at: float) -> Json:
        (kind,) = self._chance.choices(KINDS, WEIGHTS)
        app, host, port, route, rule, down, up = kind
        name = self._names.pop() if self._names else host.format(self._chance.randrange(1, 40))
        busy = self._chance.random() * min(self.now - at, 200)
        entry = {
            "id": self._next, "app": app, "process": "", "protocol": "udp" if port == UDP_PORT else self._chance.choice(["socks5", "socks5", "connect"]), "host": name,
            "port": port, "route": route, "rule": rule, "state": "open", "reason": "", "opened": at, "closed": None,
            "up": int(up * busy) + 512, "down": int(down * busy) + 1890, "last_up": self.now - busy / 4,
            "last_down": self.now - busy / 5, "waiting_since": None, "long": self.now - at > LONG,
        }  # fmt: skip
        if entry["long"] and port != UDP_PORT and self._chance.random() < 0.04:
            entry["waiting_since"] = self.now - self._chance.choice([2, 8, 41])
        if self._chance.random() < 0.02:
            entry["state"] = self._chance.choice(["opening", "half-closed"])
        self.open[self._next] = entry
        self._next += 1
        return entry

    def _finish(self, number: int, reason: str) -> Json:
        entry = self.open.pop(number)
        entry.update(state="closed", closed=self.now, reason=reason)
        self.closed = [entry, *self.closed][:MOST_CLOSED]
        return entry

    def end(self, number: int) -> bool:
        with self.lock:
            if number not in self.open:
                return False
            self._finish(number, "it was closed by hand")
            return True

    def end_all(self) -> None:
        with self.lock:
            for number in list(self.open):
                self._finish(number, "it was closed by hand")

    def prefer(self, name: str) -> bool:
        names = [each["name"] for each in self.exits()]
        if name not in names:
            return False
        self._preferred = names.index(name)
        return True

    def go_on(self, now: float) -> None:
        """A twentieth of the connections moves, and some come and go."""
        with self.lock:
            self.now = now
            for number in self._chance.sample(sorted(self.open), len(self.open) // 20):
                entry = self.open[number]
                entry["up"] += self._chance.randrange(3000)
                entry["down"] += self._chance.randrange(60_000)
                entry["last_down"] = now
                if entry["waiting_since"] is None:
                    entry["last_up"] = now
                elif self._chance.random() < 0.2:
                    entry["waiting_since"] = None
            for number in sorted(self.open)[len(self.open) // 2 :: 500]:
                self._finish(number, "")
                self._begin(now)

    def exits(self) -> list[Json]:
        names = [
            ("tokyo.example.com:443", ["tokyo.example.com:443", "192.0.2.7:443"]),
            ("frankfurt.example.net:443", ["frankfurt.example.net:443"]),
        ]
        return [
            {
                "name": name, "label": "" if i else self.label, "addresses": addresses, "state": "up" if i == self._preferred else "idle", "preferred": i == self._preferred,
            }
            for i, (name, addresses) in enumerate(names)
        ]  # fmt: skip

    def state(self) -> Json:
        opened = list(self.open.values())
        return {
            "version": "0.1.0", "started": self.started, "now": self.now, "listen": ["127.0.0.1:1080"], "mode": self.mode,
            "carrier": {
                "exit": self.exits()[self._preferred]["name"], "state": "up", "since": self.started + 4.0, "rtt_ms": 84.1, "carriers": 3,
                "last_loss": {"at": self.now - 1500, "reason": "the connection was reset"},
            },
            "exits": self.exits(), "rate": {"up": 46_200.0, "down": 1_913_000.0},
            "total": {"up": sum(each["up"] for each in opened) * 9, "down": sum(each["down"] for each in opened) * 9},
            "open": len(opened), "connections": 14 * len(opened) + 331, "memory": 61_400_000,
        }  # fmt: skip

    def history(self) -> Json:
        chance = random.Random(7)
        down, up, trips = [], [], []
        for i in range(STEPS):
            film = 1.6e6 if 130 < i < 290 or i > 560 else 0.0
            page = 9e5 if chance.random() < 0.05 else 0.0
            level = max(
                film * (0.85 + 0.2 * math.sin(i / 7) + chance.random() / 5) + page + chance.random() * 30_000, 0
            )
            lost = 418 < i < 422
            down.append(0.0 if lost else level)
            up.append(0.0 if lost else level / 40 + chance.random() * 20_000 + (2.2e5 if 330 < i < 362 else 0))
            trips.append(None if lost else 82 + chance.random() * 5 + level / 1.6e6 * 14)
        return {"end": self.now, "step": 5.0, "up": up, "down": down, "rtt_ms": trips}

    def rules(self) -> Json:
        rules = [
            {
                "source": source,
                "text": text,
                "route": route,
                "hits": hits,
                "last": self.now - 17 * i - 3 if hits else None,
            }
            for i, (source, text, route, hits) in enumerate(self.shown_rules)
        ]
        default = {"route": "tunnel", "hits": 5210, "last": self.now - 1}
        return {"mode": self.mode, "count": OWN_RULES, "default": default, "rules": rules}

    def usage(self) -> Json:
        if not self.kept:
            return {"kept": self.counts, "days": []}
        chance, today = random.Random(3), datetime.fromtimestamp(self.now, UTC).date()
        sizes = [
            ("youtube", 2.1e9),
            ("", 8e8),
            ("instagram", 3.4e8),
            ("telegram", 9e7),
            ("whatsapp", 6e7),
            ("wechat", 5e7),
            ("signal", 8e6),
        ]
        days = []
        for i in range(9):
            apps = []
            for app, size in sizes:
                down = int(size * (0.3 + chance.random()))
                apps.append({"app": app, "up": down // 14, "down": down, "connections": chance.randrange(20, 900)})
            days.append({"day": (today - timedelta(days=i)).isoformat(), "apps": apps})
        return {"kept": self.counts, "days": days}

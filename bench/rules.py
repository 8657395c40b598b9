"""Rules and lists: how long a look-up takes, and how long loading them, with how much memory; and how long the event loop waits meanwhile.

python bench/rules.py [--short] [--number N]
"""

from __future__ import annotations

import gc
import random
import statistics
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from figures import Figure, Goal, Result
from options import INTEGER, show_measured

from proxy.address import Address
from proxy.presets import load_presets
from proxy.rule_files import RuleFiles
from proxy.rule_terms import Network
from proxy.rules import RuleSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.ruleset import Ruleset

TITLE = "Rules"
NUMBER, SHORT_NUMBER = 100_000, 2_000
LOOK_UPS = 20_000
MOST_LOAD, MOST_LOOK_UP = 1.0, 20e-6
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def words(seed: int) -> Iterator[str]:
    """Different ones, of the lengths that labels have."""
    chance, seen = random.Random(seed), set()
    while True:
        word = "".join(chance.choices(_LETTERS, k=chance.randint(6, 16)))
        if not word.isdigit() and word not in seen:
            seen.add(word)
            yield word


def networks(seed: int) -> Iterator[str]:
    """Of IPv4, and every fourth of IPv6."""
    chance = random.Random(seed)
    while True:
        for length in (chance.randint(12, 24), chance.randint(16, 28), 32):
            yield f"{chance.randint(1, 223)}.{chance.randint(0, 255)}.{chance.randint(0, 255)}.0/{length}"
        yield f"2{chance.randint(0x400, 0xFFF):x}:{chance.randint(0, 0xFFFF):x}::/{chance.randint(24, 48)}"


# A list of each kind, as text, and the rules that use it.


def domains(number: int) -> list[str]:
    return [f"{word}.{top}" for word, top in zip(words(1), ("com", "net", "org", "example") * number, strict=False)][
        :number
    ]


def _take(source: Iterator[str], number: int) -> list[str]:
    return [next(source) for _ in range(number)]


def mixed_rules(number: int) -> list[str]:
    """A rule of its own for each, of all kinds that have many."""
    word, network = words(2), networks(3)
    kinds: list[Callable[[int], str]] = [
        lambda _: f"direct suffix:{next(word)}.com",
        lambda _: f"tunnel domain:www.{next(word)}.net",
        lambda _: f"block cidr:{next(network)}",
        lambda n: f"direct suffix:{next(word)}.org port:{n % 60_000 + 1}",
        lambda _: f"block keyword:{next(word)} network:udp",
        lambda n: f"tunnel cidr:{next(network)} port:{n % 50_000 + 1}-{n % 50_000 + 999}",
    ]
    rules = [kinds[n % len(kinds)](n) for n in range(number)]
    rules[::100] = [f"direct regex:^{next(word)}\\.[a-z]+$" for _ in rules[::100]]
    return rules


CASES: dict[str, Callable[[int], tuple[list[str], list[str]]]] = {
    "domains": lambda n: (["direct list:list"], domains(n)),
    "networks": lambda n: (["direct list:list"], _take(networks(4), n)),
    "YAML": lambda n: (["direct list:list"], ["payload:", *(f"  - '+.{name}'" for name in domains(n))]),
    "keywords": lambda n: (["direct list:list"], [f"keyword:{word}" for word in _take(words(5), n)]),
    "expressions": lambda n: (
        ["direct list:list"],
        [rf"regexp:^{word}\d*\.[a-z]+$" for word in _take(words(6), n // 100)],
    ),
    "rules": lambda n: (mixed_rules(n), []),
}


def asked(number: int) -> list[Address]:
    """What apps ask for: half of it stands in the lists of names or networks, somewhere."""
    chance = random.Random(7)
    names = domains(number)
    places = [f"www.cdn.{chance.choice(names)}" for _ in range(250)]
    places += [f"{word}.{word}.example" for word in _take(words(8), 250)]
    places += [".".join(str(chance.randint(1, 223)) for _ in range(4)) for _ in range(400)]
    places += [f"2{chance.randint(0x400, 0xFFF):x}:{chance.randint(0, 0xFFFF):x}::1" for _ in range(100)]
    chance.shuffle(places)
    return [Address.make(place, 443) for place in places]


def seconds_each(ruleset: Ruleset, addresses: list[Address]) -> float:
    """The median of rounds over all of them; the first is not counted."""
    rounds = []
    for _ in range(1 + max(3, LOOK_UPS // len(addresses))):
        began = time.perf_counter()
        for address in addresses:
            ruleset.decide(address, Network.TCP)
        rounds.append((time.perf_counter() - began) / len(addresses))
    return statistics.median(rounds[1:])


def settings(rules: list[str], folder: Path) -> RuleSettings:
    return RuleSettings.parse(rules, "home-direct", "cn", "tunnel", folder=folder)


def load(rules: list[str], folder: Path) -> Ruleset:
    return RuleFiles(settings(rules, folder), load_presets()).read()


def seconds_to_load(rules: list[str], folder: Path) -> float:
    rounds = []
    for _ in range(3):
        gc.collect()
        began = time.perf_counter()
        load(rules, folder)
        rounds.append(time.perf_counter() - began)
    return statistics.median(rounds)


def bytes_of(rules: list[str], folder: Path) -> int:
    """What stays in memory."""
    gc.collect()
    tracemalloc.start()
    kept = load(rules, folder)
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return size


def longest_wait(rules: list[str], folder: Path) -> float:
    """Of a task that only yields, while the rules are read again beside it."""
    longest = 0.0

    async def measure() -> None:
        nonlocal longest
        files = RuleFiles(settings([], folder), load_presets())
        files.read()
        chosen = settings(rules, folder)
        async with trio.open_nursery() as nursery:

            async def tick() -> None:
                nonlocal longest
                while True:
                    began = time.perf_counter()
                    await trio.sleep(0.001)
                    longest = max(longest, time.perf_counter() - began - 0.001)

            nursery.start_soon(tick)
            await trio.sleep(0.05)
            longest = 0.0
            await files.change(chosen)
            nursery.cancel_scope.cancel()

    trio.run(measure)
    return longest


def figures_of(name: str, number: int, folder: Path, command: str) -> list[Figure]:
    rules, lines = CASES[name](number)
    (folder / "list").write_text("\n".join(lines) + "\n")
    goal = Goal(most=MOST_LOAD) if name in ("domains", "rules") else None
    figures = [Figure(f"{name}: load", "s", seconds_to_load(rules, folder), command, goal=goal)]
    each = seconds_each(load(rules, folder), asked(number))
    goal = Goal(most=MOST_LOOK_UP * 1e6)
    figures.append(Figure(f"{name}: look-up", "µs", each * 1e6, command, goal=goal))
    figures.append(Figure(f"{name}: loop waits", "ms", longest_wait(rules, folder) * 1e3, command))
    figures.append(Figure(f"{name}: memory", "MB", bytes_of(rules, folder) / 1e6, command))
    return figures


def measure(short: bool = False, *, number: int = 0) -> Result:
    number = number or (SHORT_NUMBER if short else NUMBER)
    command = f"python bench/rules.py --number {number}"
    with tempfile.TemporaryDirectory() as folder:
        figures = [figure for name in CASES for figure in figures_of(name, number, Path(folder), command)]
    return Result(f"{TITLE}, {number:,} of each kind", figures)


def main() -> None:
    show_measured(__doc__, measure, number=INTEGER)


if __name__ == "__main__":
    main()

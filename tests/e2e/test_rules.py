"""Rules whose lists are broken while the program runs: the log says file, line and reason, and the rules stay as they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps import connect_by_socks
from tests.e2e.pairs import start_exit, start_local

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.machine import Programs
    from tests.e2e.pairs import Local

pytestmark = pytest.mark.e2e

#: Files are looked at every 2 s, and read when two looks see the same; the rest is for a busy machine.
SECONDS = 15
STAY = "the rules stay as they were, as a list cannot be used: rules.rules: rule"
FORBIDDEN, NO_SUCH_NAME = 2, 4  # RFC 1928, section 6


@dataclass(frozen=True)
class Kind:
    """A list of a kind that people have, with NAME for what it blocks; the same when it is broken, and what is said of that."""

    file: str
    content: str
    broken: bytes
    complaint: str

    def write(self, local: Local, name: str) -> None:
        (local.config.parent / self.file).write_text(self.content.replace("NAME", name))

    def break_it(self, local: Local) -> None:
        (local.config.parent / self.file).write_bytes(self.broken)


KINDS = [
    Kind("names.txt", "# ads\nNAME\n", b"# ads\nfirst.invalid\n-broken-\n", "line 3: '-broken-' is no name"),
    Kind(
        "clash.yaml",
        "payload:\n  - DOMAIN,NAME\n",
        b"payload:\n  - DOMAIN,first.invalid\n  - DOMAIN,-broken-\n",
        "line 3: '-broken-' is no name",
    ),
    Kind(
        "sing-box.json",
        '{"version": 1,\n "rules": [{"domain": ["NAME"]}]}\n',
        b'{"version": 1,\n "rules": [{"domain": ["first.invalid"}]}\n',
        "line 2: it is no JSON: Expecting ',' delimiter",
    ),
    Kind(
        "bytes.txt",
        "NAME\n",
        b"first.invalid\n\n\xff\xfe.invalid\n",
        "line 3: it is neither text in UTF-8 nor a kind of list that is known here",
    ),
]


@pytest.fixture
def local(programs: Programs) -> Iterator[Local]:
    """Each list blocks a name of its own, below `old.invalid`."""
    there = start_exit(programs)
    local = start_local(programs, there.link)
    local.program.stop()
    rules = ", ".join(f'"block list:{kind.file}"' for kind in KINDS)
    local.config.write_text(local.config.read_text().replace("[rules]\n", f"[rules]\nrules = [{rules}]\n"))
    for kind in KINDS:
        kind.write(local, f"{kind.file}.old.invalid")
    running = programs.start_ropeway("local", "run", "--config", local.config)
    running.wait_for("ready")
    yield type(local)(running, local.config, local.port)
    running.stop()
    there.program.stop()


def blocked(local: Local, word: str) -> list[bool]:
    """Whether the name of each list is: those that are not blocked do not exist."""
    found = []
    for kind in KINDS:
        reply, connection = connect_by_socks(local.port, f"{kind.file}.{word}.invalid", 80)
        connection.close()
        assert reply in (FORBIDDEN, NO_SUCH_NAME)
        found.append(reply == FORBIDDEN)
    return found


def complaints(local: Local) -> list[str]:
    return [line.partition("error ")[2] for line in local.program.text().splitlines() if "error" in line]


def test_a_broken_list_changes_nothing_and_one_that_is_mended_is_taken(local: Local) -> None:
    assert (set(blocked(local, "old")), set(blocked(local, "new"))) == ({True}, {False})
    for kind in KINDS:
        kind.break_it(local)
    for number, kind in enumerate(KINDS, 1):  # the first that is broken is told of
        local.program.wait_for(f"rule {number}: ", seconds=SECONDS)
        assert (set(blocked(local, "old")), set(blocked(local, "new"))) == ({True}, {False})
        kind.write(local, f"{kind.file}.new.invalid")
    local.program.wait_for("the lists of the rules were read again", seconds=SECONDS)
    assert (set(blocked(local, "old")), set(blocked(local, "new"))) == ({False}, {True})
    # One line each, with file, line and reason.
    folder = local.config.parent
    expected = [f"{STAY} {number}: {folder / kind.file}, {kind.complaint}" for number, kind in enumerate(KINDS, 1)]
    assert complaints(local) == expected


def test_with_a_broken_list_the_program_does_not_start_and_says_the_same(programs: Programs, local: Local) -> None:
    local.program.stop()
    for number, kind in enumerate(KINDS, 1):
        kind.break_it(local)
        done = programs.run_ropeway("run", "--config", local.config)
        assert done.returncode == 1
        (said,) = (done.stdout + done.stderr).splitlines()
        assert f"rule {number}: {local.config.parent / kind.file}, {kind.complaint}" in said
        kind.write(local, f"{kind.file}.new.invalid")

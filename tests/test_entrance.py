"""Who is let into the dashboard by a code, and what stays of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
import pytest
import trio
import trio.testing

from proxy.entrance import PREFIX, Entrance
from proxy.entry_codes import LIFE, MOST
from proxy.entry_files import EntryFiles

if TYPE_CHECKING:
    from pathlib import Path

#: What Chromium and Firefox say where a file of the user leads them here.
FROM_FILE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EntryFiles:
    made = EntryFiles(tmp_path)
    monkeypatch.setattr(EntryFiles, "of_user", lambda: made)
    return made


def request(path: str, method: str = "GET", **fields: str) -> h11.Request:
    names = {"Host": "127.0.0.1:1080"} | {name.replace("_", "-"): value for name, value in fields.items()}
    return h11.Request(method=method, target=path, headers=list(names.items()))


async def admitted(entrance: Entrance, asked: h11.Request) -> bool:
    stream, _ = trio.testing.memory_stream_pair()
    return await entrance.admits(asked, stream)


async def test_a_code_lets_in_once(nursery: trio.Nursery, files: EntryFiles) -> None:
    entrance = Entrance(nursery)
    path = entrance.open()
    assert not await admitted(entrance, request(path, "POST"))
    assert not await admitted(entrance, request(f"{path}x"))
    assert not await admitted(entrance, request(PREFIX))
    assert await admitted(entrance, request(path))
    assert not await admitted(entrance, request(path))


async def test_a_file_may_lead_there_with_a_code_that_is_good(nursery: trio.Nursery, files: EntryFiles) -> None:
    entrance = Entrance(nursery)
    path = entrance.open()
    for _ in range(2):  # asking uses nothing up
        assert entrance.knows(request(path, **FROM_FILE))
    assert entrance.knows(request(path, Origin="null", **FROM_FILE))
    await admitted(entrance, request(path))
    assert not entrance.knows(request(path, **FROM_FILE))


@pytest.mark.parametrize(
    "fields",
    [
        {"Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "file://"},
        {"Referer": "https://evil.example/"},
    ],
)
async def test_pages_of_others_are_known_by_what_they_say(
    fields: dict[str, str], nursery: trio.Nursery, files: EntryFiles
) -> None:
    entrance = Entrance(nursery)
    assert not entrance.knows(request(entrance.open(), **FROM_FILE | fields))


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS"])
async def test_nothing_but_get_comes_from_a_file(method: str, nursery: trio.Nursery, files: EntryFiles) -> None:
    entrance = Entrance(nursery)
    assert not entrance.knows(request(entrance.open(), method, **FROM_FILE))


async def test_a_code_that_is_none_is_nothing(nursery: trio.Nursery, files: EntryFiles) -> None:
    entrance = Entrance(nursery)
    path = entrance.open()
    for wrong in (f"{path}x", f"{path}?", PREFIX, PREFIX[:-1], "/", path.replace("enter", "x"), path[1:]):
        assert not entrance.knows(request(wrong, **FROM_FILE))


async def test_a_code_ends(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, files: EntryFiles) -> None:
    entrance = Entrance(nursery)
    path = entrance.open()
    await trio.sleep(LIFE)
    assert not entrance.knows(request(path, **FROM_FILE))
    assert not await admitted(entrance, request(path))


async def test_its_file_goes_with_it(nursery: trio.Nursery, files: EntryFiles) -> None:
    entrance = Entrance(nursery)
    path = entrance.open()
    file = files.write("http://127.0.0.1:1080" + path, path.removeprefix(PREFIX))
    await admitted(entrance, request(f"{path}x"))
    assert file.exists()
    await admitted(entrance, request(path))
    assert not file.exists()


async def test_files_that_nobody_used_are_swept_by_one_task(
    files: EntryFiles, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[trio.Event] = [trio.Event() for _ in range(3)]
    left = [True, False, False]
    count = iter(range(3))

    def sweep(_files: EntryFiles) -> bool:
        number = next(count)
        trio.from_thread.run_sync(swept[number].set)
        return left[number]

    monkeypatch.setattr(EntryFiles, "sweep", sweep)
    with trio.fail_after(1e6):
        async with trio.open_nursery() as nursery:
            entrance = Entrance(nursery)
            for _ in range(MOST * 2):
                entrance.open()
            assert len(nursery.child_tasks) == 1
            for event in swept[:2]:
                await trio.testing.wait_all_tasks_blocked()
                mock_clock.jump(LIFE)
                await event.wait()
        # Nothing was left, and the task has ended; another code has another one.
        async with trio.open_nursery() as nursery:
            entrance._nursery = nursery
            entrance.open()
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(LIFE)
            await swept[2].wait()

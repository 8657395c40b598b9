"""The programs that the end-to-end tests share. All of it is on loopback, on ports that were free."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import pytest

from tests.e2e.chat import SILENCE_SECONDS, Chat
from tests.e2e.machine import Program, Programs
from tests.e2e.pairs import Pair, start_pair
from tests.e2e.servers import SIZES, Authority, Body, Mosquitto, Nginx, make_body, start_mosquitto, start_nginx
from tests.e2e.stall import Stall, stall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """At the end of the session everything is stopped, and no log may hold a traceback."""
    started = Programs(tmp_path_factory.mktemp("programs"))
    yield started
    started.stop_all()
    assert not started.complaints()


@pytest.fixture(scope="session", autouse=True)
def long_waits(request: pytest.FixtureRequest) -> None:
    """Begin now what the tests marked `last` collect, so that their minutes pass beside the other tests."""
    for item in request.session.items:
        marker = item.get_closest_marker("last")
        for name in marker.args if marker else ():
            # What goes wrong here is kept by pytest, and shown by the test that collects.
            with contextlib.suppress(Exception, pytest.skip.Exception, pytest.fail.Exception):
                request.getfixturevalue(name)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def nginx(programs: Programs, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Nginx:
    return start_nginx(programs, tmp_path_factory.mktemp("nginx"), authority)


@pytest.fixture(scope="session")
def bodies(nginx: Nginx) -> Iterator[dict[int, Body]]:
    """A file for each size, under its size as a name in nginx's site."""
    made = {size: make_body(nginx.site / str(size), size) for size in SIZES}
    yield made
    for body in made.values():
        body.path.unlink()


@pytest.fixture(scope="session")
def mosquitto(programs: Programs, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Mosquitto:
    return start_mosquitto(programs, tmp_path_factory.mktemp("mosquitto"), authority)


@pytest.fixture(scope="session")
def pair(programs: Programs) -> Pair:
    """One for all tests that disturb nobody; its exit may connect to loopback and has the built-in page."""
    return start_pair(programs)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture(scope="session")
def chat(programs: Programs, pair: Pair, mosquitto: Mosquitto, authority: Authority) -> Chat:
    return Chat(programs, pair, mosquitto, authority)


@pytest.fixture(scope="session")
def silence(chat: Chat) -> Iterator[tuple[Program, threading.Event]]:
    """Somebody to whom nothing is said, and what is set when that has been so for long enough."""
    listening, over = chat.listen("carol"), threading.Event()
    timer = threading.Timer(SILENCE_SECONDS, over.set)
    timer.start()
    yield listening, over
    timer.cancel()


@pytest.fixture(scope="session")
def stalled(programs: Programs, nginx: Nginx, bodies: dict[int, Body]) -> Iterator[tuple[Stall, threading.Thread]]:
    """Its own pair: the memory is measured."""
    pair, seen = start_pair(programs), Stall()
    thread = threading.Thread(target=stall, args=(pair, nginx, seen), daemon=True)
    thread.start()
    yield seen, thread
    for program in pair.programs:
        program.stop()

"""Packets like KakaoTalk's: how they look, and a talk of two that find their server by asking two others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps.interruption import NAMES, beats
from tests.e2e.apps.loco import Document, bson, document_of
from tests.e2e.machine import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.apps.interruption import Way


def test_a_document() -> None:
    """The first is the example of bsonspec.org, the others have each kind."""
    hello = {"hello": "world"}
    assert bson(hello) == b"\x16\x00\x00\x00\x02hello\x00\x06\x00\x00\x00world\x00\x00"
    assert document_of(bson(hello)) == hello
    documents: tuple[Document, ...] = ({}, {"a": 1, "b": -1, "c": 1 << 31, "d": "你好", "e": ""})
    for document in documents:
        assert document_of(bson(document)) == document
    with pytest.raises(ValueError, match="no BSON"):
        document_of(bson(hello)[:-1])


@pytest.mark.e2e
def test_a_talk(way: Way, folder: Path) -> None:
    way.authority.give(folder)
    ports = [free_port() for _ in range(3)]
    server = way.start("loco_server", *map(str, ports), folder)
    for port in ports:
        server.wait_for_port(port)
    people = [way.join("loco_client", me, ports[0]) for me in NAMES]
    way.finish(people)
    assert min(map(beats, people)) > 3

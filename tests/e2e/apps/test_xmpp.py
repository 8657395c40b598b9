"""XMPP, as WhatsApp speaks underneath: prosody with TLS, slixmpp, and finch as people have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps.interrupted import NAMES
from tests.e2e.apps.servers import Server, start_prosody
from tests.e2e.apps.xmpp import PASSWORD

if TYPE_CHECKING:
    from tests.e2e.apps.interrupted import Way

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def prosody(way: Way, tmp_path_factory: pytest.TempPathFactory) -> Server:
    return start_prosody(way.programs, tmp_path_factory.mktemp("prosody"), (*NAMES, "carol"), PASSWORD, way.authority)


def test_slixmpp(way: Way, prosody: Server) -> None:
    people = [
        way.join("xmpp", me, prosody.port, f"--scheme={scheme}")
        for me, scheme in zip(NAMES, ("socks5", "http"), strict=True)
    ]
    way.finish(people)
    for me, other, person in zip(NAMES, reversed(NAMES), people, strict=True):
        assert person.program.lines(f"{me} sees {other}")
        assert person.program.lines(f"{me} sees that {other} is away")

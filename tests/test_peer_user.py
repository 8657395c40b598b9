"""Who is at the other end of a connection over loopback."""

from __future__ import annotations

import sys

import pytest
import trio

from proxy import peer_user
from proxy.peer_user import is_of_another_user, user_in

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say it")

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0438 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 7150608 1 00000000fbab04d5 100 0 0 10 0
   1: 0100007F:0438 0100007F:A0C7 01 00000000:00000000 00:00000000 00000000  1000        0 7150609 1 00000000fbab04d5 100 0 0 10 0
   2: 0100007F:A0C7 0100007F:0438 01 00000000:00000000 00:00000000 00000000  1001        0 7150610 1 00000000fbab04d5 100 0 0 10 0
   3: 0100007F:A0C8 0100007F:0438 01 00000000:00000000 00:00000000 00000000  none
   4: 0100007F:A0C9 0100007F:0438
"""


def test_the_user_stands_at_the_other_end() -> None:
    lines = TABLE.splitlines()
    assert user_in(lines, "0100007F:A0C7", "0100007F:0438") == 1001
    assert user_in(lines, "0100007F:0438", "0100007F:A0C7") == 1000
    for unknown in ("0100007F:A0C8", "0100007F:A0C9", "0200007F:A0C7"):
        assert user_in(lines, unknown, "0100007F:0438") is None


@linux
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_connection_is_of_its_user(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host=host)
    async with listener, await trio.open_tcp_stream(*listener.socket.getsockname()[:2]):
        assert peer_user.is_known()
        stream = await listener.accept()
        async with stream:
            assert not is_of_another_user(stream.socket)
            another = peer_user.own_user() + 1
            monkeypatch.setattr(peer_user, "own_user", lambda: another)
            assert is_of_another_user(stream.socket)
            monkeypatch.setattr(peer_user, "_TABLES", {})
            assert not is_of_another_user(stream.socket)
        assert not is_of_another_user(stream.socket)

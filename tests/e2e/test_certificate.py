"""A certificate of a public authority: Pebble, the test server of Let's Encrypt, looks at a running exit."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from tests.e2e.machine import ENVIRONMENT, free_port, program, wait_until
from tests.e2e.pairs import Exit, folder_for, start_exit, start_local
from tests.test_authority import ending_soon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.machine import Programs
    from tests.e2e.servers import Authority, Nginx

pytestmark = pytest.mark.e2e

DOMAIN = "exit.example.com"


@dataclass(frozen=True)
class Signer:
    """Pebble, and an exit that is where it looks."""

    directory: str
    trust: Path
    exit: Exit

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "proxy", "exit", "certificate", *arguments, "--config", str(self.exit.config)]
        env = ENVIRONMENT | {"REQUESTS_CA_BUNDLE": str(self.trust)}
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)

    @property
    def get(self) -> list[str]:
        return ["--acme", DOMAIN, "--directory", self.directory, "--agree"]

    def shown(self) -> x509.Certificate:
        """What a visitor sees."""
        return x509.load_pem_x509_certificate(ssl.get_server_certificate(("127.0.0.1", self.exit.port)).encode())


@pytest.fixture(scope="module")
def signer(programs: Programs, authority: Authority) -> Iterator[Signer]:
    pytest.importorskip("acme")
    pebble, names = program("pebble"), program("pebble-challtestsrv")
    folder = folder_for(programs, "pebble")
    authority.give(folder)
    there = start_exit(programs)
    ports = {name: free_port() for name in ("acme", "management", "names", "control")}
    settings = {
        "listenAddress": f"127.0.0.1:{ports['acme']}",
        "managementListenAddress": f"127.0.0.1:{ports['management']}",
        "certificate": str(folder / "server.pem"),
        "privateKey": str(folder / "server.pem"),
        "httpPort": 1,
        "tlsPort": there.port,
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
    # All names are on this machine.
    silent = [word for kind in ("http01", "https01", "tlsalpn01") for word in (f"-{kind}", "")]
    where = ["-dns01", f"127.0.0.1:{ports['names']}", "-management", f"127.0.0.1:{ports['control']}"]
    dns = programs.start("names", [names, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", *where, *silent])
    dns.wait_for_port(ports["control"])
    # It looks at once, takes nothing of the time before for proven, and takes every nonce: the client tries twice only.
    argv = ["env", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0", "PEBBLE_WFE_NONCEREJECT=0", pebble]
    server = programs.start(
        "pebble", [*argv, "-config", folder / "pebble.json", "-dnsserver", f"127.0.0.1:{ports['names']}"]
    )
    server.wait_for_port(ports["acme"])
    yield Signer(f"https://localhost:{ports['acme']}/dir", folder / "authority.pem", there)
    server.stop()
    dns.stop()


def test_the_exit_gets_a_certificate_and_all_links_go_on(programs: Programs, signer: Signer, nginx: Nginx) -> None:
    before = signer.shown()
    local = start_local(programs, signer.exit.link)
    done = signer.ask(*signer.get)
    assert done.returncode == 0, done.stderr
    assert "signed by CN=Pebble" in done.stdout
    assert DOMAIN in done.stdout
    wait_until(lambda: "Pebble" in signer.shown().issuer.rfc4514_string(), "the exit shows it")
    assert signer.shown().public_key() == before.public_key()
    folder = signer.exit.config.parent
    assert not (folder / "acme-challenge.pem").exists()
    assert (folder / "acme-account.json").stat().st_mode & 0o077 == 0
    (nginx.site / "certificate").write_text("hello")
    for each in (local, start_local(programs, signer.exit.link)):  # one that ran all the time, and a new one
        argv = [program("curl"), "-sS", "-x", each.url("socks5h"), nginx.url("http", "certificate")]
        assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "hello"


def test_it_is_renewed_when_it_is_time(signer: Signer) -> None:
    assert signer.ask(*signer.get).returncode == 0
    done = signer.ask("--renew")
    assert (done.returncode, "not yet time" in done.stderr) == (0, True)
    certificate = signer.exit.config.parent / "exit-cert.pem"
    key = (signer.exit.config.parent / "exit-key.pem").read_bytes()
    certificate.write_bytes(ending_soon(key))
    done = signer.ask("--renew")
    assert done.returncode == 0, done.stderr
    assert "signed by CN=Pebble" in done.stdout


def test_what_the_authority_says_is_told(signer: Signer) -> None:
    for arguments, word in (
        (["--acme", DOMAIN, "--directory", signer.directory], "--agree"),
        ([*signer.get, "--email", "nobody"], "the authority refuses"),
        (["--acme", "127.0.0.1", "--agree"], "not an IP address"),
        (["--acme", DOMAIN, "--agree", "--directory", "https://127.0.0.1:1/dir"], "cannot be reached"),
    ):
        done = signer.ask(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()[-1:]
        assert word in line
        assert "Traceback" not in done.stderr


def test_an_exit_that_does_not_run_proves_nothing(programs: Programs, signer: Signer) -> None:
    before = (signer.exit.config.parent / "exit-cert.pem").read_bytes()
    signer.exit.program.stop()
    done = signer.ask(*signer.get)
    assert done.returncode == 1
    assert "could not see that the name is yours" in done.stderr
    assert (signer.exit.config.parent / "exit-cert.pem").read_bytes() == before
    assert not (signer.exit.config.parent / "acme-challenge.pem").exists()

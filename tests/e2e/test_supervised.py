"""Both services under a real systemd: installed, used, killed, hung, started again and taken away."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.booted import PACKAGE, PYTHON, USER, boot
from tests.e2e.machine import program, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.e2e.booted import Booted

pytestmark = pytest.mark.e2e

#: The exit is a website to those who have no key.
PAGE = ("curl", "-sSk", "--max-time", "10", "--socks5-hostname", "127.0.0.1:1080", "https://127.0.0.1:443/")
SECURITY = 2.0  # of systemd-analyze, which counts from 0 to 10


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    """With an exit, and a user who has joined it."""
    program("curl")
    room = tmp_path_factory.mktemp("booted") / "room"
    room.mkdir()
    with boot(room) as booted:
        made = booted.ropeway("exit", "init", "--host", "127.0.0.1", "--listen", "127.0.0.1:443", "--allow-private")
        assert made.returncode == 0, made.stderr
        assert booted.ropeway("exit", "install").returncode == 0
        assert booted.ropeway("join", made.stdout.splitlines()[0], user=USER).returncode == 0
        yield booted


@pytest.fixture
def local(booted: Booted) -> Iterator[Booted]:
    """The user's service runs, and is gone afterwards."""
    said(booted, "service", "install")
    yield booted
    said(booted, "service", "uninstall")
    assert booted.run("test", "-e", f"/home/{USER}/.config/systemd/user/ropeway.service").returncode != 0


def said(booted: Booted, *words: str) -> str:
    done = booted.ropeway(*words, user=USER)
    assert done.returncode == 0, done.stderr
    return done.stderr


def failed(done: subprocess.CompletedProcess[str]) -> str:
    """The one line."""
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def main_pid(booted: Booted, unit: str, user: str = "") -> int:
    words = ["--user"] if user else []
    return int(booted.succeed("systemctl", *words, "show", "--property=MainPID", "--value", unit, user=user))


def started_again(booted: Booted, unit: str, before: int, user: str = "") -> None:
    def is_back() -> bool:
        state = booted.run("systemctl", *(["--user"] if user else []), "is-active", unit, user=user).stdout.strip()
        return state == "active" and main_pid(booted, unit, user) not in (0, before)

    wait_until(is_back, f"{unit} is started again")


def listen_at(booted: Booted, place: str) -> None:
    path = f"/home/{USER}/.config/ropeway/config.toml"
    booted.succeed("sed", "-i", f's/^.*listen = .*/listen = "{place}"/', path, user=USER)


def open_files(booted: Booted, pid: int) -> int:
    """The hard limit."""
    found = re.search(r"Max open files +\d+ +(\d+)", booted.succeed("cat", f"/proc/{pid}/limits"))
    assert found is not None
    return int(found[1])


# ---- the exit


def test_the_exit_s_unit_is_clean_and_tight(booted: Booted) -> None:
    verified = booted.run("systemd-analyze", "verify", "ropeway-exit.service")
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    text = booted.succeed("systemd-analyze", "security", "--no-pager", "ropeway-exit.service")
    exposure = re.search(r"Overall exposure level for ropeway-exit.service: ([\d.]+)", text)
    assert exposure is not None
    assert float(exposure[1]) <= SECURITY


def test_the_exit_is_nobody_and_cannot_change_its_own_files(booted: Booted) -> None:
    pid = main_pid(booted, "ropeway-exit")
    status = dict(
        line.split(":\t", 1) for line in booted.succeed("cat", f"/proc/{pid}/status").splitlines() if ":\t" in line
    )
    assert int(status["Uid"].split()[0]) >= 61184  # systemd's range for such users
    assert int(status["CapEff"], 16) == 1 << 10  # CAP_NET_BIND_SERVICE, linux/capability.h
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")
    mounts = booted.succeed("cat", f"/proc/{pid}/mountinfo").splitlines()
    (options,) = {line.split()[5] for line in mounts if line.split()[4] == "/var/lib/private/ropeway-exit"}
    assert "ro" in options.split(",")
    modes = booted.succeed("sh", "-c", "stat -c %a /var/lib/ropeway-exit/*").split()
    assert set(modes) == {"600"}
    assert open_files(booted, pid) == min(65536, open_files(booted, 1))  # systemd itself may have no more to give


def test_a_user_who_is_added_is_known_without_a_restart(booted: Booted) -> None:
    pid = main_pid(booted, "ropeway-exit")
    added = booted.ropeway("exit", "user", "add", "bert")
    assert added.returncode == 0
    known = lambda: "read again, for 2 users" in booted.succeed("journalctl", "--unit=ropeway-exit", "--no-pager")  # noqa: E731
    wait_until(known, "the exit has read its file")
    assert main_pid(booted, "ropeway-exit") == pid
    assert "for 2 users" in booted.succeed("systemctl", "show", "--property=StatusText", "ropeway-exit")


def test_the_exit_installed_again_is_left_alone_and_an_older_one_replaced(booted: Booted) -> None:
    pid = main_pid(booted, "ropeway-exit")
    again = booted.ropeway("exit", "install")
    assert (again.returncode, main_pid(booted, "ropeway-exit")) == (0, pid)
    assert "nothing had to change" in again.stderr
    booted.succeed(
        "sed",
        "-i",
        "s/of Ropeway [0-9.]*/of Ropeway 0.0.1/; /LockPersonality/d",
        "/etc/systemd/system/ropeway-exit.service",
    )
    newer = booted.ropeway("exit", "install")
    assert newer.returncode == 0
    assert (
        "Replaced, as it was another version: /etc/systemd/system/ropeway-exit.service\nStarted again." in newer.stderr
    )
    assert main_pid(booted, "ropeway-exit") not in (0, pid)


def test_the_exit_is_started_again_when_it_is_killed_and_when_it_hangs(booted: Booted) -> None:
    pid = main_pid(booted, "ropeway-exit")
    booted.succeed("kill", "-KILL", str(pid))
    started_again(booted, "ropeway-exit", pid)
    # The watchdog's half minute, shortened: a stopped process is as silent as a loop that hangs.
    booted.succeed("mkdir", "-p", "/run/systemd/system/ropeway-exit.service.d")
    booted.succeed(
        "sh", "-c", "printf '[Service]\\nWatchdogSec=1\\n' > /run/systemd/system/ropeway-exit.service.d/test.conf"
    )
    booted.succeed("systemctl", "daemon-reload")
    booted.succeed("systemctl", "restart", "ropeway-exit")
    pid = main_pid(booted, "ropeway-exit")
    time.sleep(3)  # it is the real systemd that must not find it hung
    assert main_pid(booted, "ropeway-exit") == pid
    booted.succeed("kill", "-STOP", str(pid))
    started_again(booted, "ropeway-exit", pid)
    assert "Watchdog timeout" in booted.succeed("journalctl", "--unit=ropeway-exit", "--no-pager")


def test_an_exit_with_a_program_that_services_cannot_read_is_refused(booted: Booted) -> None:
    booted.succeed("mkdir", "-p", "/home/venv/bin")
    for each in ("lib", "pyvenv.cfg", "bin/python"):
        booted.succeed("ln", "-s", f"/opt/ropeway/{each}", f"/home/venv/{each}")
    line = failed(booted.run("/home/venv/bin/python", "-P", "-m", "proxy", "exit", "install"))
    assert (
        "cannot run /home/venv/bin/python: /home is hidden from it; install Ropeway where services can read it" in line
    )
    assert "needs root" in failed(booted.ropeway("exit", "install", user=USER))


# ---- the local side


def test_it_runs_says_so_and_carries(local: Booted) -> None:
    status = local.ropeway("service", "status", user=USER)
    assert (status.returncode, status.stderr) == (0, "")
    assert status.stdout.startswith("Running since ")
    assert "Coming soon" in local.succeed(*PAGE, user=USER)
    assert "ready: SOCKS and HTTP proxy on 127.0.0.1:1080" in local.ropeway("service", "logs", user=USER).stdout
    verified = local.run("systemd-analyze", "--user", "verify", "ropeway.service", user=USER)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_again_nothing_happens_and_an_older_version_is_replaced(local: Booted) -> None:
    pid = main_pid(local, "ropeway", USER)
    assert "nothing had to change" in said(local, "service", "install")
    assert main_pid(local, "ropeway", USER) == pid
    unit = f"/home/{USER}/.config/systemd/user/ropeway.service"
    local.succeed("sed", "-i", "s/WatchdogSec=.*/WatchdogSec=5/", unit, user=USER)
    assert f"Replaced, as it was another version: {unit}\nStarted again." in said(local, "service", "install")
    assert main_pid(local, "ropeway", USER) not in (0, pid)


def test_it_is_started_again_when_it_is_killed(local: Booted) -> None:
    pid = main_pid(local, "ropeway", USER)
    local.succeed("kill", "-KILL", str(pid))
    started_again(local, "ropeway", pid, USER)
    assert "Coming soon" in local.succeed(*PAGE, user=USER)


def test_it_reads_its_file_again(local: Booted) -> None:
    pid = main_pid(local, "ropeway", USER)
    local.succeed("systemctl", "--user", "reload", "ropeway", user=USER)
    read = lambda: "was read again" in local.ropeway("service", "logs", user=USER).stdout  # noqa: E731
    wait_until(read, "the file is read again")
    assert main_pid(local, "ropeway", USER) == pid


def test_stopped_started_and_another_port(local: Booted) -> None:
    assert said(local, "service", "stop") == "Stopped.\n"
    repaired = local.succeed("systemctl", "--user", "show", "--property=ExecStopPost", "ropeway", user=USER)
    assert "system-proxy repair" in repaired
    assert "status=0" in repaired
    assert local.ropeway("service", "status", user=USER).stdout.startswith("Stopped;")
    assert said(local, "service", "start") == "Started.\n"
    listen_at(local, "127.0.0.1:1081")
    try:
        assert "Started again." in said(local, "service", "install")
        assert "Coming soon" in local.succeed(*(word.replace("1080", "1081") for word in PAGE), user=USER)
    finally:
        listen_at(local, "127.0.0.1:1080")


def test_a_configuration_whose_path_needs_quotes(booted: Booted) -> None:
    odd = f'/home/{USER}/it\'s 100% "$HOME" \\ é.toml'
    booted.succeed("cp", f"/home/{USER}/.config/ropeway/config.toml", odd, user=USER)
    said(booted, "service", "install", "--config", odd)
    command = booted.succeed("cat", f"/proc/{main_pid(booted, 'ropeway', USER)}/cmdline")
    assert command.split("\0")[-2] == odd
    assert "Coming soon" in booted.succeed(*PAGE, user=USER)
    said(booted, "service", "uninstall")


def test_a_port_in_use_is_found_before_and_its_holder_named(booted: Booted) -> None:
    booted.succeed(
        "systemd-run",
        "--user",
        "--unit=squatter",
        PYTHON,
        "-m",
        "http.server",
        "--bind",
        "127.0.0.1",
        "1080",
        user=USER,
    )
    taken = ("curl", "-s", "--noproxy", "*", "-o", "/dev/null", "http://127.0.0.1:1080/")
    wait_until(lambda: booted.run(*taken).returncode == 0, "somebody at the port")
    line = failed(booted.ropeway("service", "install", user=USER))
    pid = main_pid(booted, "squatter", USER)
    assert re.fullmatch(
        rf"ropeway: local.listen: 127.0.0.1:1080 is in use by python\S* \(process {pid}\); stop it, .*", line
    )
    assert booted.ropeway("service", "status", user=USER).stdout.startswith("Not installed")
    booted.succeed("systemctl", "--user", "stop", "squatter", user=USER)


def test_another_ropeway_is_named(booted: Booted) -> None:
    booted.succeed(
        "systemd-run",
        "--user",
        "--unit=byhand",
        f"--setenv=PYTHONPATH={PACKAGE}",
        PYTHON,
        "-P",
        "-m",
        "proxy",
        "run",
        user=USER,
    )
    ready = lambda: "ready" in booted.run("journalctl", "--user", "--unit=byhand", "--no-pager", user=USER).stdout  # noqa: E731
    wait_until(ready, "it runs")
    assert "is in use by Ropeway (process" in failed(booted.ropeway("service", "install", user=USER))
    booted.succeed("systemctl", "--user", "stop", "byhand", user=USER)


def test_what_cannot_start_says_why_and_status_shows_it(booted: Booted) -> None:
    listen_at(booted, "127.0.0.1:80")
    try:
        line = failed(booted.ropeway("service", "install", user=USER))
        assert "it does not start, and is tried again: local.listen: cannot listen on 127.0.0.1:80" in line
        seen: list[str] = []

        def is_down() -> bool:
            """While it is being tried again it runs, for as long as it takes to fail."""
            status = booted.ropeway("service", "status", user=USER)
            seen.append(status.stdout)
            return status.returncode == 1

        wait_until(is_down, "it has failed")
        assert "exit-code 1" in seen[-1]
        assert "cannot listen on 127.0.0.1:80" in seen[-1]
    finally:
        listen_at(booted, "127.0.0.1:1080")
    # What was mended holds at the next try, with nobody there.
    started_again(booted, "ropeway", 0, USER)
    said(booted, "service", "uninstall")


def test_with_the_port_held_by_systemd_apps_wait_for_a_start(booted: Booted) -> None:
    said(booted, "service", "install", "--socket-activation")
    try:
        assert "Coming soon" in booted.succeed(*PAGE, user=USER)
        pid = main_pid(booted, "ropeway", USER)
        booted.succeed("sh", "-c", f"kill -KILL {pid}; exec {' '.join(PAGE)}", user=USER)  # while nobody runs
        assert main_pid(booted, "ropeway", USER) not in (0, pid)
        assert "nothing had to change" in said(booted, "service", "install", "--socket-activation")
        without = said(booted, "service", "install")
        assert "Removed: " in without
        assert "Coming soon" in booted.succeed(*PAGE, user=USER)
    finally:
        said(booted, "service", "uninstall")


def test_the_exit_is_taken_away_and_its_keys_stay(booted: Booted) -> None:
    """The last one."""
    gone = booted.ropeway("exit", "uninstall")
    assert gone.returncode == 0
    assert "Removed: /etc/systemd/system/ropeway-exit.service" in gone.stderr
    assert booted.run("systemctl", "is-active", "ropeway-exit").stdout.strip() == "inactive"
    assert booted.run("test", "-s", "/var/lib/private/ropeway-exit/exit-key.pem").returncode == 0
    again = booted.ropeway("exit", "install")
    assert again.returncode == 0
    assert "Started." in again.stderr


def test_nothing_of_it_is_left_here() -> None:
    assert not Path("/etc/systemd/system/ropeway-exit.service").exists()

"""The texts of units: any path comes through systemd's own reading of them, and what differs is what was asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import systemd_unit
from proxy.errors import ServiceError
from proxy.service_program import Program
from proxy.systemd_unit import command_line, exit_unit, local_unit, quoted, socket_unit

PROGRAM = Program("/opt/ropeway/bin/python", ("run", "--config", "/home/a b/100%/$HOME.toml"), version="1.2.3")


def settings_of(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line and line[0] not in "#["]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


def read_words(text: str, *, command: bool) -> list[str]:
    """As systemd reads a line: words, quotes and escapes (systemd.syntax(7)), then specifiers, then variables of a command from its second word on."""
    words, current, inside, position = [], "", False, 0
    while position < len(text):
        character = text[position]
        if character == "\\":
            if text[position + 1] == "x":
                current += chr(int(text[position + 2 : position + 4], 16))
                position += 4
                continue
            current += text[position + 1]
            position += 2
            continue
        if character == '"':
            inside = not inside
        elif character == " " and not inside:
            words.append(current)
            current = ""
        else:
            current += character
        position += 1
    assert not inside
    words = [word.replace("%%", "\0") for word in [*words, current]]
    assert not any("%" in word for word in words)
    words = [word.replace("\0", "%") for word in words]
    if command:
        others = [word.replace("$$", "\0") for word in words[1:]]
        assert not any("$" in word for word in others)
        words[1:] = [word.replace("\0", "$") for word in others]
    return words


paths = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(paths, st.lists(paths, max_size=3))
def test_whatever_is_in_a_path_comes_through_or_is_refused(first: str, others: list[str]) -> None:
    try:
        line = command_line([first, *others])
    except ServiceError:
        assert any(character in "\"'\\\x7f" or character < " " for character in first)
    else:
        assert "\n" not in line
        assert read_words(line, command=True) == [first, *others]


@pytest.mark.parametrize("path", ["/it's/python", '/"so"/python', "/back\\slash/python", "/line\nbreak/python"])
def test_what_systemd_refuses_to_run_is_one_clear_line(path: str) -> None:
    with pytest.raises(ServiceError, match="systemd runs no program"):
        command_line([path, "run"])


@given(paths)
def test_and_through_the_environment(path: str) -> None:
    assert read_words(quoted(f"PYTHONPATH={path}"), command=False) == [f"PYTHONPATH={path}"]


def test_the_user_s_service() -> None:
    text = local_unit(PROGRAM, "ropeway")
    settings = settings_of(text)
    assert dict(settings) | {"Type": "notify", "Restart": "on-failure", "WantedBy": "default.target"} == dict(settings)
    assert dict(settings)["ExecStart"] == (
        '/opt/ropeway/bin/python -P -m proxy run --config "/home/a b/100%%/$$HOME.toml"'
    )
    assert dict(settings)["ExecStopPost"] == "-/opt/ropeway/bin/python -P -m proxy system-proxy repair"
    assert "of Ropeway 1.2.3" in text
    assert not any(name == "Environment" for name, _ in settings)


def test_a_program_that_is_not_installed_is_found_in_its_folder() -> None:
    settings = settings_of(local_unit(Program("/usr/bin/python3", ("run",), "/home/a b"), "ropeway"))
    assert ("Environment", '"PYTHONPATH=/home/a b"') in settings


@pytest.mark.parametrize(
    ("ports", "right"),
    [
        ([443], {"AmbientCapabilities": "CAP_NET_BIND_SERVICE", "CapabilityBoundingSet": "CAP_NET_BIND_SERVICE"}),
        ([8443, 80], {"AmbientCapabilities": "CAP_NET_BIND_SERVICE", "CapabilityBoundingSet": "CAP_NET_BIND_SERVICE"}),
        ([8443], {"CapabilityBoundingSet": "", "PrivateUsers": "yes"}),
    ],
)
def test_the_exit_has_the_right_that_its_ports_need_and_no_other(ports: list[int], right: dict[str, str]) -> None:
    settings = settings_of(exit_unit(PROGRAM, "ropeway-exit", "ropeway-exit", memory=256_000_000, ports=ports))
    names = ("AmbientCapabilities", "CapabilityBoundingSet", "PrivateUsers")
    assert {name: value for name, value in settings if name in names} == right


def test_the_exit_s_memory_is_the_setting_and_room_for_the_kernel() -> None:
    settings = settings_of(exit_unit(PROGRAM, "ropeway-exit", "ropeway-exit", memory=256_000_000, ports=[443]))
    assert ("MemoryMax", "384000000") in settings
    assert ("DynamicUser", "yes") in settings
    assert ("ReadOnlyPaths", "/var/lib/private/ropeway-exit") in settings


def test_the_watchdog_looks_away_for_longer_than_a_start_or_stop_may_hang() -> None:
    assert systemd_unit.WATCHDOG >= 10  # a loop that is busy for seconds is not one that hangs
    assert systemd_unit.STOP_LIMIT > 5  # of the exit's goodbye


def test_the_socket() -> None:
    assert ("ListenStream", "127.0.0.1:1080") in settings_of(socket_unit(PROGRAM, "127.0.0.1:1080"))

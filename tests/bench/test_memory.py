from __future__ import annotations

import shlex
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("memory is read from /proc", allow_module_level=True)

import memory


@pytest.mark.parametrize("name", [memory.IDLE_STREAMS, *memory.CASES])
@pytest.mark.parametrize("short", [False, True])
def test_a_command_repeats_its_case(name: str, short: bool) -> None:
    words = shlex.split(memory.command_for(name, short=short))
    assert words == ["python", "bench/memory.py", "--only", name, *["--short"] * short]

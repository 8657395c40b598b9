"""The limit of descriptors, in processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")

SOURCE = """
import resource
from proxy import descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
descriptors.allow_many()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def limits(soft: int, hard: int) -> list[int]:
    argv = [sys.executable, "-c", SOURCE.format(soft=soft, hard=hard)]
    return [int(word) for word in subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()]


@pytest.mark.parametrize(("soft", "hard", "after"), [(256, 1000, 1000), (1000, 1000, 1000), (256, 4096, 4096)])
def test_the_soft_limit_is_raised_as_far_as_the_hard_one(soft: int, hard: int, after: int) -> None:
    assert limits(soft, hard) == [after, hard]

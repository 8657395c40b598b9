"""How much is tried where each try is another one: little while somebody waits, more in CI, and as much as is asked for.

`HYPOTHESIS_PROFILE=thorough` in the environment is for a night.
"""

from __future__ import annotations

import os

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "default")
#: Of each property; tests that need more or fewer have a multiple of it.
EXAMPLES = {"default": 25, "ci": 50, "thorough": 5000}[PROFILE]
#: Of each story that a random number tells.
SEEDS = {"default": 3, "ci": 6, "thorough": 100}[PROFILE]

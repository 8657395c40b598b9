"""The programs of bench/ import each other by their names, as they run from their folder."""

from __future__ import annotations

import sys
from pathlib import Path

BENCH = str(Path(__file__).parent.parent.parent / "bench")
if BENCH not in sys.path:
    sys.path.append(BENCH)

#!/usr/bin/env python3
"""What a single file does first, after it has unpacked itself: its libraries are for one version of Python and one kind of machine."""

import sys

WANTED = "@VERSION@"
FOUND = "%d.%d" % sys.version_info[:2]  # noqa: UP031  (an old Python is to get as far as the message)

if FOUND != WANTED:
    sys.exit(
        f"ropeway: this file is for Python {WANTED}, and this is {FOUND}: start it with python{WANTED}, or use pipx or uv (docs/install.md)"
    )

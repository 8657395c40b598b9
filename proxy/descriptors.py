"""How many connections the system lets this process hold."""

from __future__ import annotations

import contextlib
import sys

#: Two for each of 8,192 streams, the most that one device may have, and room; macOS refuses more than 10,240 to some.
WANTED = (32_768, 10_240)


def allow_many() -> None:
    """Raises this process's own limit as far as the system allows: 256 on macOS and 1,024 on most Linux are a browser or two."""
    if sys.platform == "win32":  # it has no such limit
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in WANTED:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft != resource.RLIM_INFINITY and limit > soft:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
                return

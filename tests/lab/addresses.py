"""Who is where in the lab. Every lab has two hosts of its own, so all labs have the same addresses."""

from __future__ import annotations

#: The home host, before and after it has moved to another network.
HOME, HOME_MOVED = "10.77.0.1", "10.77.0.6"
#: The host abroad answers on both.
ABROAD, ABROAD_TOO = "10.77.0.2", "10.77.0.3"
NETWORK = "10.77.0.0/24"
#: Where the exit listens: a web server is nowhere else.
EXIT_PORT = 443

"""`ropeway top`: what goes on, live in a terminal."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from .cli_dashboard import check_is_ours, dashboard_port
from .errors import LocalPortError, RopewayError
from .terminal import ConfigOption, config_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from .api_client import ApiClient
    from .screen import Screen
    from .top_view import TopView

# Our choices.
EVERY = 1.0  # seconds
#: Thousands of connections take longer to say: of the time at most so much is spent on that.
_SHARE = 0.1
_MOST = 16_384  # as many as the local side has in its table


def top(config: ConfigOption = None) -> None:
    """Show live what goes on: the exit and the connections.

    q quits, s sorts in another way, the arrow keys pick a connection, and c closes it. Without a terminal it shows once what there is."""
    from .api_client import ApiClient
    from .config import load
    from .dashboard_token import TokenFile
    from .screen import is_terminal, opened
    from .top_view import TopView

    port = dashboard_port(load(config_path(config)), config)
    file = TokenFile.of_user()
    client = ApiClient(port, file.read)
    view = TopView(lambda number: _closed(client, number))

    def look() -> None:
        if view.trouble or view.is_empty:
            check_is_ours(port, file, config)  # before the secret is said
        state = client.state()
        view.update(state, client.connections(_MOST).open)

    look()
    if not is_terminal():
        print("\n".join(view.snapshot()))
        return
    with opened() as screen, suppress(KeyboardInterrupt):
        _watch(look, view, screen)


def _watch(look: Callable[[], None], view: TopView, screen: Screen) -> None:
    """Until the user ends it."""
    due = time.monotonic() + EVERY
    while True:
        if (now := time.monotonic()) >= due:
            try:
                look()
            except RopewayError as error:  # it may be there again soon
                view.trouble = str(error)
            after = time.monotonic()
            due = after + max(EVERY, (after - now) / _SHARE)
        size = screen.size()
        screen.draw(view.lines(*size), size)
        for key in screen.keys(due - time.monotonic()):
            if not view.press(key):
                return


def _closed(client: ApiClient, number: int) -> str:
    try:
        return "it is closed" if client.close(number) else "it had closed already"
    except LocalPortError as error:
        return str(error)

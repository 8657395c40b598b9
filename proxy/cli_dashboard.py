"""`ropeway dashboard`: opens the page in the browser, and hands it the secret that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .errors import ConfigError
from .terminal import ConfigOption, command, config_path, fixed_port, say

if TYPE_CHECKING:
    from pathlib import Path

    from .address import Address
    from .settings import Config

_PATIENCE = 5.0  # seconds; it is on this computer

NewTokenOption = Annotated[
    bool, typer.Option("--new-token", help="Make another secret first: whoever has the old one is shut out.")
]
PrintOption = Annotated[
    bool,
    typer.Option(
        "--print", help="Print the address instead, for a browser elsewhere. Whoever has it can change things here."
    ),
]


def dashboard(new_token: NewTokenOption = False, print_it: PrintOption = False, config: ConfigOption = None) -> None:
    """Show in the browser what goes on."""
    import webbrowser

    from .config import load
    from .dashboard_token import TokenFile

    settings = load(config_path(config))
    port = _port(settings, config)
    file = TokenFile.of_user()
    token = file.renew() if new_token else file.read()
    _check_runs(port, config)
    address = f"http://{port}/#token={token}"
    if print_it:
        print(address)
        return
    if not webbrowser.open(address):
        text = f"no browser could be started; `{command('dashboard --print', config)}` prints the address for one"
        raise ConfigError("", text)
    say(f"The dashboard at http://{port}/ was opened in the browser.")


def _port(settings: Config, config: Path | None) -> Address:
    """Raises ConfigError where there is no dashboard."""
    if not settings.dashboard.enabled:
        raise ConfigError(
            "dashboard.enabled", "it is false, so there is no dashboard; change it, and start Ropeway again"
        )
    if not settings.local.listen.is_loopback:
        text = "other computers can reach the port, so there is no dashboard; listen on 127.0.0.1"
        raise ConfigError("local.listen", text)
    return fixed_port(settings.local, config)


def _check_runs(port: Address, config: Path | None) -> None:
    """Raises ConfigError where nobody is there who has a dashboard. The secret is not said to whoever it is."""
    import http.client

    try:
        connection = http.client.HTTPConnection(port.host, port.port, timeout=_PATIENCE)
        connection.request("GET", "/api/v1/state")
        answer = connection.getresponse()
        ours = answer.status == 401 and answer.getheader("WWW-Authenticate") == "Bearer"
        connection.close()
    except ConnectionError:
        text = f"nothing listens at {port}; `{command('run', config)}` or `ropeway service start` starts it"
        raise ConfigError("", text) from None
    except (OSError, http.client.HTTPException):
        ours = False
    if not ours:
        text = f"what listens at {port} has no dashboard; is it another program, or one that was started with other settings?"
        raise ConfigError("", text)

"""`ropeway dashboard`: opens the page in the browser, and hands it the secret that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .errors import SILENT, ConfigError
from .terminal import ConfigOption, command, config_path, fixed_port, say

if TYPE_CHECKING:
    from pathlib import Path

    from .address import Address
    from .dashboard_token import TokenFile
    from .settings import Config

_LONGEST = 65_536  # bytes of an answer; they have some hundreds

NewTokenOption = Annotated[
    bool, typer.Option("--new-token", help="Make another secret first: whoever has the old one is shut out.")
]
PrintOption = Annotated[
    bool,
    typer.Option(
        "--print",
        help="Print the address instead, for a browser elsewhere. Whoever has it can change things here until Ropeway is started again.",
    ),
]
SecretOption = Annotated[
    bool, typer.Option("--secret", help="Print the secret that dashboards for Clash ask for. It stays good.")
]


def dashboard(
    new_token: NewTokenOption = False,
    print_it: PrintOption = False,
    secret: SecretOption = False,
    config: ConfigOption = None,
) -> None:
    """Show in the browser what goes on."""
    import webbrowser

    from .config import load
    from .dashboard_token import TokenFile

    settings = load(config_path(config))
    port = dashboard_port(settings, config)
    file = TokenFile.of_user()
    token = file.renew() if new_token else file.read()
    if secret:
        print(token)
        return
    check_is_ours(port, file, config)
    path, page_token = _entrance(port, token)
    if print_it:
        print(f"http://{port}/#token={page_token}")
        return
    if not webbrowser.open(_address_for_browser(port, path)):
        text = f"no browser could be started; `{command('dashboard --print', config)}` prints the address for one"
        raise ConfigError("", text)
    say(f"The dashboard at http://{port}/ was opened in the browser.")


def dashboard_port(settings: Config, config: Path | None) -> Address:
    """Raises ConfigError where there is no dashboard."""
    if not settings.dashboard.enabled:
        raise ConfigError(
            "dashboard.enabled", "it is false, so there is no dashboard; change it, and start Ropeway again"
        )
    if not settings.local.listen.is_loopback:
        text = "other computers can reach the port, so there is no dashboard; listen on 127.0.0.1"
        raise ConfigError("local.listen", text)
    return fixed_port(settings.local, config)


def check_is_ours(port: Address, file: TokenFile, config: Path | None) -> None:
    """The token is for nobody else who listens there. Raises ConfigError."""
    import hmac
    import secrets

    nonce = secrets.token_hex(16)
    try:
        found = _ask(port, "GET", f"proof?nonce={nonce}")
    except ConnectionRefusedError:
        text = f"nothing listens at {port}; `{command('run', config)}` or `ropeway service start` starts it"
        raise ConfigError("", text) from None
    except TimeoutError:
        raise ConfigError("", f"what listens at {port} {SILENT}") from None
    if not hmac.compare_digest(str(found.get("proof")).encode(), file.proof(port.port, nonce).encode()):
        text = f"what listens at {port} is no Ropeway of yours with a dashboard; is it another program, or one started with other settings?"
        raise ConfigError("", text)


def _entrance(port: Address, token: str) -> tuple[str, str]:
    """The path of a browser that is to have the page's token, and that one itself. Raises ConfigError."""
    found = _ask(port, "POST", "entries", token)
    path, page_token = (str(found.get(name, "")) for name in ("path", "token"))
    if not path.startswith("/") or not page_token:
        raise ConfigError("", f"what listens at {port} lets no browser in; is it of another version?")
    return path, page_token


def _address_for_browser(port: Address, entrance: str) -> str:
    """What it is started with, which others can read: where nobody sees whether it is the user's browser that comes, a file. Raises ConfigError."""
    from . import peer_user
    from .entry_files import EntryFiles

    address = f"http://{port}{entrance}"
    if peer_user.is_known():
        return address
    return EntryFiles.of_user().write(address, entrance.rpartition("/")[2]).as_uri()


def _ask(port: Address, method: str, path: str, token: str = "") -> dict[str, object]:
    """What the interface answers; nothing where it is no answer of it. Raises ConnectionRefusedError where nobody listens, and TimeoutError."""
    import http.client
    import json

    from .api_client import exchange

    try:
        _, content = exchange(port, method, path, token, _LONGEST)
        found = json.loads(content)
        return found if isinstance(found, dict) else {}
    except (ConnectionRefusedError, TimeoutError):
        raise
    except (OSError, ValueError, http.client.HTTPException):
        return {}

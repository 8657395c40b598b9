"""`ropeway route`: what the rules say of a destination."""

from __future__ import annotations

from typing import Annotated

import typer

from .errors import ConfigError
from .terminal import ConfigOption, config_path

DestinationArgument = Annotated[
    str, typer.Argument(metavar="HOST[:PORT]", help="A name or an address; the port is 443 where it is not said.")
]
UDPOption = Annotated[bool, typer.Option("--udp", help="For datagrams in place of connections.")]


def route(destination: DestinationArgument, udp: UDPOption = False, config: ConfigOption = None) -> None:
    """Say which way a destination goes, and by which rule. Nothing is looked up or connected to."""
    from .address import Address
    from .config import load
    from .presets import load_presets
    from .routing import OWN_PORT, leads_to_port
    from .rule_files import RuleFiles
    from .rule_terms import Network

    settings = load(config_path(config))
    try:
        address = Address.parse(destination, 443)
    except ValueError as error:
        raise ConfigError("HOST[:PORT]", str(error)) from None
    if not udp and leads_to_port(address, {settings.local.listen.port}):
        print(f"{address} over TCP is blocked\nby {OWN_PORT}: what it answers is for who comes to it without the proxy")
        return
    ruleset = RuleFiles(settings.rules, load_presets()).read()
    for line in ruleset.explain(address, Network.UDP if udp else Network.TCP):
        print(line)

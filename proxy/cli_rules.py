"""`ropeway route`: what the rules say of a destination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .terminal import ConfigOption, DestinationArgument, config_path, destination

if TYPE_CHECKING:
    from .ruleset import Ruleset
    from .settings import Config

UDPOption = Annotated[bool, typer.Option("--udp", help="For datagrams in place of connections.")]


def route(where: DestinationArgument, udp: UDPOption = False, config: ConfigOption = None) -> None:
    """Say which way a destination goes, and by which rule. Nothing is looked up or connected to."""
    from .config import load
    from .routing import OWN_PORT, leads_to_port
    from .rule_terms import Network

    settings = load(config_path(config))
    address = destination(where)
    if not udp and leads_to_port(address, {settings.local.listen.port}):
        print(f"{address} over TCP is blocked\nby {OWN_PORT}: what it answers is for who comes to it without the proxy")
        return
    for line in ruleset_of(settings).explain(address, Network.UDP if udp else Network.TCP):
        print(line)


def ruleset_of(settings: Config) -> Ruleset:
    """As a Ropeway has it that runs with these settings. Raises ConfigError where it would not start with its rules."""
    from .local_side import check_exits
    from .presets import load_presets
    from .rule_files import RuleFiles

    if settings.local.exits:
        check_exits(settings)
    return RuleFiles(settings.rules, load_presets()).read()

"""The commands that look: what is wrong and how to mend it, where one destination ends, whether it runs."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import reduce
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import RopewayError, ServiceError
from .terminal import (
    ConfigOption,
    DestinationArgument,
    config_path,
    destination,
    fixed_port,
    say,
    until_interrupted,
    width,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .api_client import ApiClient, Carrier
    from .destination_walk import Step
    from .finding import Finding
    from .settings import Config


JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]


def add_to(program: typer.Typer) -> None:
    """Makes them part of the program."""
    program.command("doctor")(doctor)
    program.command("test")(walk_to)
    program.command("status")(status)


def doctor(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Look for what is wrong, and say how to mend it. Ends with 1 where there is a fault."""
    import trio

    from .address_book import AddressBook
    from .doctor import Surroundings, examine
    from .finding import has_fault

    findings: list[Finding] = []
    around = Surroundings(ask_program=ask_program, looks=LOOKS)
    tell = _teller(findings, silent=as_json)
    until_interrupted(trio.run, examine, config_path(config), AddressBook.of_user(), tell, around)
    if as_json:
        print(json.dumps({"findings": [finding.plain() for finding in findings]}, indent=1))
    faults = sum(finding.kind.value == "fault" for finding in findings)
    if not as_json:
        say(f"{faults} fault{'s' * (faults > 1)}; each says how to mend it." if faults else _no_fault(findings))
    if has_fault(findings):
        raise typer.Exit(1)


def _no_fault(findings: Sequence[Finding]) -> str:
    """A note may be that Ropeway does not run."""
    notes = sum(finding.kind.value == "note" for finding in findings)
    return f"No fault, {notes} note{'s' * (notes > 1)}." if notes else "Nothing is wrong."


def walk_to(where: DestinationArgument, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Go an app's way to one destination, and say where it ends."""
    import trio

    from .cli_rules import ruleset_of
    from .config import load
    from .destination_walk import DestinationWalk

    settings = load(config_path(config))
    address, ruleset = destination(where), ruleset_of(settings)
    walk = DestinationWalk(fixed_port(settings.local, config), settings.local.credentials, ruleset)
    steps: list[Step] = []

    def tell(step: Step) -> None:
        steps.append(step)
        if not as_json:
            print(_line(step), flush=True)

    until_interrupted(trio.run, walk.run, address, tell)
    if as_json:
        print(json.dumps({"steps": [step.plain() for step in steps]}, indent=1))
    if not steps or not steps[-1].good:
        raise typer.Exit(1)


def _line(step: Step) -> str:
    took = "" if step.seconds is None else f"  ({step.seconds * 1000:.0f} ms)"
    mend = f"\n{'':12}mend: {step.mend}" if step.mend else ""
    return f"{'ok' if step.good else 'END':<4}{step.name:<8}{step.text}{took}{mend}"


def status(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Say whether it runs, and is connected to its exit."""
    import trio

    from .config import load
    from .doctor import Surroundings, is_connected, look_at_port

    settings = load(config_path(config))
    findings: list[Finding] = []
    around = Surroundings(ask_program=ask_program, looks=(look_at_service, look_at_system_proxy))
    until_interrupted(trio.run, look_at_port, settings, _teller(findings, silent=as_json), around)
    connected = is_connected(findings)
    if as_json:
        print(json.dumps({"connected": connected, "findings": [each.plain() for each in findings]}, indent=1))
    if not connected:
        raise typer.Exit(1)


def _teller(findings: list[Finding], *, silent: bool) -> Callable[[Finding], None]:
    """Keeps each finding, and prints it as soon as it is there."""
    from .finding import lines_of

    columns = width()

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if not silent:
            print("\n".join(lines_of(finding, columns)), flush=True)

    return tell


def look_at_service(settings: Config) -> Sequence[Finding]:
    """What the system's supervisor says of ours, where it was installed."""
    from .finding import Finding, Text
    from .local_check import SERVICE
    from .service import local_service, reason

    with suppress(ServiceError):
        found = local_service(config_path(None), settings.local.listen)
        state = found.state()
        if not state.installed:
            return []
        if state.running:
            what = Text("runs since {time}", time=state.since) if state.since else Text("runs")
            return [Finding.ok(SERVICE, what)]
        if state.failure:
            what = Text("does not run: {failure}", failure=state.failure)
            why = Text("{reason}", reason=reason(found) or Text("its log says why"))
            mend = Text("mend that, then `ropeway service start`; `ropeway service logs` shows more")
            return [Finding.fault(SERVICE, what, why, mend)]
        mend = Text("`ropeway service start` starts it")
        return [Finding.note(SERVICE, Text("is installed and stopped"), mend=mend)]
    return []


def look_at_system_proxy(_settings: Config) -> Sequence[Finding]:
    """Whether the desktop's programs are sent here, or to a port at which nobody listens."""
    from .finding import Finding, Text
    from .local_check import SYSTEM
    from .system_proxy import listens, memory_of_this_user, of_this_user

    try:
        proxy = of_this_user(memory_of_this_user())
        what = reduce(lambda one, other: Text("{one}; {other}", one=one, other=other), proxy.status(listens))
        lines = Text("{states}", states=what)
        if proxy.is_dead(listens):
            why = Text("programs that follow the system's settings reach nothing")
            mend = Text("start Ropeway, or `ropeway system-proxy off` brings back what was set before")
            return [Finding.fault(SYSTEM, lines, why, mend)]
    except RopewayError as error:
        return [Finding.note(SYSTEM, Text("its state is not known: {error}", error=error))]
    return [Finding.ok(SYSTEM, lines)]


def look_at_speed(settings: Config) -> Sequence[Finding]:
    """What has gone through a Ropeway that runs, where it has a dashboard."""
    from .local_check import judge_speed

    with suppress(RopewayError):
        found = _running(settings).history()
        with suppress(ValueError):  # of an answer that makes no sense
            return [judge_speed(found.up, found.down, found.rtt_ms)]
    return []


def ask_program(settings: Config) -> Carrier | None:
    """How a Ropeway that runs is connected, by what it says; None where it has no dashboard, or no exit yet."""
    with suppress(RopewayError):
        return _running(settings).state().carrier
    return None


def _running(settings: Config) -> ApiClient:
    """Raises RopewayError where nobody listens who has proved to be ours: before the secret is said."""
    from .api_client import ApiClient
    from .cli_dashboard import check_is_ours, dashboard_port
    from .dashboard_token import TokenFile

    port, file = dashboard_port(settings, None), TokenFile.of_user()
    check_is_ours(port, file, None)
    return ApiClient(port, file.read)


#: What the doctor looks at on this system.
LOOKS = (look_at_service, look_at_system_proxy, look_at_speed)

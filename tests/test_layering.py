"""Who imports whom, read from the source: downwards only, and the protocols stay pure (docs/architecture.md)."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "proxy").rglob("*.py"))

# The layers, lowest first. A module imports from lower layers, and from its own layer where ALLOWED_BESIDE says so.
LAYERS: list[set[str]] = [
    {"proxy", "proxy.errors", "proxy.address", "proxy.telemetry", "proxy.heap"},
    {
        "proxy.protocol",
        "proxy.protocol.budget",
        "proxy.protocol.frame",
        "proxy.protocol.handshake",
        "proxy.protocol.replay",
        "proxy.protocol.stream",
        "proxy.protocol.marks",
        "proxy.protocol.schedule",
        "proxy.protocol.liveness",
        "proxy.protocol.netlink",
        "proxy.protocol.event",
        "proxy.protocol.flight",
        "proxy.protocol.rates",
        "proxy.protocol.inbox",
        "proxy.protocol.outbox",
        "proxy.protocol.crossing",
        "proxy.protocol.heads",
        "proxy.protocol.holdings",
        "proxy.protocol.datagrams",
        "proxy.protocol.associations",
        "proxy.protocol.mux",
        "proxy.protocol.socks",
        "proxy.protocol.socks_client",
        "proxy.protocol.http_proxy",
        "proxy.protocol.error_page",
        "proxy.protocol.fault_answer",
        "proxy.protocol.own_answer",
        "proxy.protocol.dns_message",
        "proxy.protocol.dns_answer",
        "proxy.protocol.dns_cache",
    },
    {
        "proxy.config",
        "proxy.config_file",
        "proxy.config_tables",
        "proxy.settings",
        "proxy.share",
        "proxy.keys",
        "proxy.preference",
        "proxy.exit_links",
        "proxy.address_book",
        "proxy.dashboard_token",
        "proxy.entry_codes",
        "proxy.peer_process",
        "proxy.entry_files",
        "proxy.peer_user",
        "proxy.app_names",
        "proxy.usage_file",
        "proxy.name_verdict",
        "proxy.presets",
        "proxy.countries",
        "proxy.rule_expression",
        "proxy.rule_terms",
        "proxy.rule_tables",
        "proxy.rule_index",
        "proxy.rule_ports",
        "proxy.rules",
        "proxy.ruleset",
        "proxy.pac",
        "proxy.rule_entries",
        "proxy.rule_clash",
        "proxy.rule_text",
        "proxy.rule_singbox",
        "proxy.rule_dat",
        "proxy.rule_mmdb",
        "proxy.rule_lists",
        "proxy.finding",
        "proxy.clock",
        "proxy.certificate",
        "proxy.portal",
        "proxy.exit_name",
    },
    {
        "proxy.local_port",
        "proxy.exit_lookup",
        "proxy.exit_walk",
        "proxy.exit_check",
        "proxy.acceptor",
        "proxy.association",
        "proxy.challenge",
        "proxy.tls",
        "proxy.tls_records",
        "proxy.session",
        "proxy.session_stream",
        "proxy.session_association",
        "proxy.udp",
        "proxy.turns",
        "proxy.strangers",
        "proxy.carrier",
        "proxy.greeting",
        "proxy.ways",
        "proxy.network",
        "proxy.backoff",
        "proxy.idleness",
        "proxy.connections",
        "proxy.traffic",
        "proxy.conversation",
        "proxy.history",
        "proxy.usage",
        "proxy.log_memory",
        "proxy.exchange",
        "proxy.opener",
        "proxy.processes",
        "proxy.known_good",
        "proxy.openings",
        "proxy.relay",
        "proxy.shortcut",
        "proxy.tcp",
        "proxy.dialer",
        "proxy.name_cache",
        "proxy.dns_pipeline",
        "proxy.far_resolvers",
        "proxy.nameservers",
        "proxy.socks_client",
        "proxy.probe",
        "proxy.watchers",
        "proxy.web_socket",
        "proxy.url_delay",
    },
    {
        "proxy.router",
        "proxy.rule_files",
        "proxy.tunnel",
        "proxy.succession",
        "proxy.tunnel_news",
        "proxy.exits",
        "proxy.listener",
        "proxy.forward",
        "proxy.own_site",
        "proxy.entrance",
        "proxy.api_request",
        "proxy.dashboard_page",
        "proxy.ui_folder",
        "proxy.udp_relay",
        "proxy.destination_walk",
        "proxy.exit",
        "proxy.served_session",
        "proxy.waiting_room",
        "proxy.website",
        "proxy.names",
        "proxy.dns",
    },
    {
        "proxy.app",
        "proxy.activation",
        "proxy.start",
        "proxy.listening",
        "proxy.demo",
        "proxy.exit_program",
        "proxy.local_program",
        "proxy.local_side",
        "proxy.observation",
        "proxy.control",
        "proxy.api",
        "proxy.api_views",
        "proxy.dashboard_site",
        "proxy.live",
        "proxy.live_feed",
        "proxy.clash_api",
        "proxy.clash_feeds",
        "proxy.clash_source",
        "proxy.clash_views",
        "proxy.routing",
        "proxy.sd_notify",
        "proxy.supervisor",
        "proxy.service",
        "proxy.service_exit",
        "proxy.service_launchd",
        "proxy.service_program",
        "proxy.service_systemd",
        "proxy.service_windows",
        "proxy.systemd_unit",
        "proxy.port_holder",
        "proxy.log_file",
        "proxy.desktop",
        "proxy.desktop_gnome",
        "proxy.desktop_kde",
        "proxy.desktop_macos",
        "proxy.desktop_windows",
        "proxy.environment",
        "proxy.cli_top",
        "proxy.api_client",
        "proxy.screen",
        "proxy.top_view",
        "proxy.app_program",
        "proxy.app_setup",
        "proxy.browser_profile",
        "proxy.login_repair",
        "proxy.system_proxy",
        "proxy.cli_system",
        "proxy.reload",
        "proxy.cli",
        "proxy.cli_exit",
        "proxy.cli_service",
        "proxy.cli_rules",
        "proxy.cli_apps",
        "proxy.cli_exits",
        "proxy.cli_certificate",
        "proxy.authority",
        "proxy.manual",
        "proxy.completion",
        "proxy.exit_setup",
        "proxy.qr_picture",
        "proxy.questions",
        "proxy.cli_dashboard",
        "proxy.cli_doctor",
        "proxy.doctor",
        "proxy.local_check",
        "proxy.talks",
        "proxy.guide",
        "proxy.terminal",
        "proxy.descriptors",
        "proxy.qr",
        "proxy.__main__",
    },
]
ALLOWED_BESIDE = {
    "proxy.protocol.budget": {"proxy.protocol.frame"},
    "proxy.protocol.stream": {"proxy.protocol.budget", "proxy.protocol.frame"},
    "proxy.protocol.schedule": {"proxy.protocol.stream"},
    "proxy.protocol.flight": {"proxy.protocol.frame", "proxy.protocol.liveness", "proxy.protocol.rates"},
    "proxy.protocol.event": {"proxy.protocol.datagrams", "proxy.protocol.stream"},
    "proxy.protocol.datagrams": {f"proxy.protocol.{name}" for name in ("budget", "frame", "schedule", "stream")},
    "proxy.protocol.associations": {
        f"proxy.protocol.{name}" for name in ("budget", "datagrams", "event", "frame", "holdings", "stream")
    },
    "proxy.protocol.inbox": {"proxy.protocol.frame"},
    "proxy.protocol.outbox": {
        f"proxy.protocol.{name}"
        for name in ("budget", "datagrams", "event", "flight", "frame", "marks", "replay", "schedule", "stream")
    },
    "proxy.protocol.replay": {"proxy.protocol.budget", "proxy.protocol.frame"},
    "proxy.protocol.crossing": {
        f"proxy.protocol.{name}" for name in ("budget", "handshake", "inbox", "liveness", "outbox")
    },
    "proxy.protocol.heads": {"proxy.protocol.budget"},
    "proxy.protocol.holdings": {
        f"proxy.protocol.{name}" for name in ("budget", "crossing", "event", "frame", "stream")
    },
    "proxy.protocol.mux": {
        f"proxy.protocol.{name}"
        for name in ("associations", "budget", "crossing", "event", "frame", "holdings", "stream")
    },
    "proxy.protocol.dns_answer": {"proxy.protocol.dns_message"},
    "proxy.protocol.dns_cache": {"proxy.protocol.dns_message"},
    "proxy.protocol.socks_client": {"proxy.protocol.socks"},
    "proxy.protocol.fault_answer": {"proxy.protocol.error_page", "proxy.protocol.http_proxy"},
    "proxy.config": {
        f"proxy.{name}" for name in ("config_file", "config_tables", "keys", "preference", "rules", "settings", "share")
    },
    "proxy.config_file": {"proxy.config_tables"},
    "proxy.settings": {f"proxy.{name}" for name in ("config_tables", "keys", "preference", "rules", "share")},
    "proxy.preference": {"proxy.share"},
    "proxy.rule_terms": {"proxy.rule_expression"},
    "proxy.rule_index": {"proxy.rule_tables", "proxy.rule_terms"},
    "proxy.rule_ports": {"proxy.rule_terms"},
    "proxy.rule_entries": {"proxy.rule_terms"},
    "proxy.rule_clash": {"proxy.countries", "proxy.rule_entries", "proxy.rule_terms"},
    "proxy.rule_text": {
        f"proxy.{name}" for name in ("rule_clash", "rule_entries", "rule_expression", "rule_tables", "rule_terms")
    },
    "proxy.rule_singbox": {"proxy.rule_clash", "proxy.rule_entries", "proxy.rule_terms"},
    "proxy.rule_dat": {"proxy.rule_entries", "proxy.rule_terms"},
    "proxy.rule_mmdb": {"proxy.rule_entries", "proxy.rule_terms"},
    "proxy.rule_lists": {
        f"proxy.{name}"
        for name in (
            "rule_clash",
            "rule_dat",
            "rule_entries",
            "rule_mmdb",
            "rule_singbox",
            "rule_terms",
            "rule_text",
            "rules",
        )
    },
    "proxy.clock": {"proxy.finding"},
    "proxy.certificate": {"proxy.finding", "proxy.share"},
    "proxy.exit_name": {"proxy.finding"},
    "proxy.dialer": {"proxy.tcp"},
    "proxy.exit_lookup": {"proxy.dialer", "proxy.nameservers"},
    "proxy.exit_walk": {"proxy.dialer", "proxy.greeting", "proxy.tls", "proxy.ways"},
    "proxy.exit_check": {"proxy.exit_walk", "proxy.greeting"},
    "proxy.local_check": {"proxy.api_client", "proxy.local_side", "proxy.port_holder"},
    "proxy.talks": {"proxy.local_check", "proxy.port_holder"},
    "proxy.doctor": {"proxy.api_client", "proxy.local_check", "proxy.port_holder", "proxy.talks"},
    "proxy.cli_doctor": {
        f"proxy.{name}"
        for name in (
            "api_client",
            "cli_dashboard",
            "cli_rules",
            "doctor",
            "local_check",
            "service",
            "system_proxy",
            "terminal",
        )
    },
    "proxy.rules": {"proxy.countries", "proxy.preference", "proxy.rule_terms"},
    "proxy.ruleset": {f"proxy.{name}" for name in ("countries", "rule_index", "rule_ports", "rule_terms", "rules")},
    "proxy.own_site": {"proxy.forward"},
    "proxy.dashboard_page": {"proxy.forward", "proxy.own_site"},
    "proxy.ui_folder": {"proxy.forward", "proxy.own_site"},
    "proxy.url_delay": {"proxy.opener"},
    "proxy.clash_source": {"proxy.clash_views", "proxy.heap"},
    "proxy.clash_feeds": {"proxy.clash_source", "proxy.clash_views"},
    "proxy.clash_api": {f"proxy.{name}" for name in ("clash_feeds", "clash_source", "clash_views", "control")},
    "proxy.app_names": {f"proxy.{name}" for name in ("presets", "rule_index", "rule_terms", "ruleset")},
    "proxy.control": {"proxy.local_side"},
    "proxy.api": {f"proxy.{name}" for name in ("api_views", "control", "heap", "observation", "qr")},
    "proxy.live": {"proxy.api", "proxy.live_feed"},
    "proxy.live_feed": {"proxy.api", "proxy.api_views"},
    "proxy.dashboard_site": {
        f"proxy.{name}" for name in ("api", "cli_doctor", "control", "doctor", "live", "local_side", "observation")
    }
    | {"proxy.clash_api", "proxy.clash_feeds", "proxy.clash_source"},
    "proxy.pac": {"proxy.rule_tables", "proxy.rule_terms", "proxy.rules"},
    "proxy.connections": {"proxy.idleness", "proxy.traffic"},
    "proxy.conversation": {"proxy.connections"},
    "proxy.usage": {"proxy.connections"},
    "proxy.exchange": {"proxy.connections", "proxy.opener", "proxy.relay"},
    "proxy.opener": {"proxy.connections", "proxy.relay", "proxy.shortcut"},
    "proxy.peer_process": {"proxy.peer_user"},
    "proxy.processes": {"proxy.connections"},
    "proxy.probe": {"proxy.opener"},
    "proxy.relay": {"proxy.connections", "proxy.session_stream", "proxy.shortcut", "proxy.tcp"},
    "proxy.shortcut": {"proxy.tcp"},
    "proxy.tls": {"proxy.shortcut", "proxy.tcp", "proxy.tls_records"},
    "proxy.share": {"proxy.keys"},
    "proxy.address_book": {"proxy.config_file"},
    "proxy.dashboard_token": {"proxy.config_file"},
    "proxy.entry_files": {"proxy.entry_codes"},
    "proxy.exit_links": {f"proxy.{name}" for name in ("config", "config_file", "config_tables", "preference", "share")},
    "proxy.session": {"proxy.session_stream", "proxy.session_association", "proxy.carrier"},
    "proxy.session_association": {"proxy.association", "proxy.session", "proxy.session_stream"},
    "proxy.udp": {"proxy.association", "proxy.dialer", "proxy.session_stream", "proxy.turns"},
    "proxy.openings": {"proxy.session_stream"},
    "proxy.carrier": {"proxy.session_stream", "proxy.shortcut", "proxy.tcp"},
    "proxy.greeting": {"proxy.tls"},
    "proxy.ways": {"proxy.dialer", "proxy.tls"},
    "proxy.name_cache": {"proxy.dialer"},
    "proxy.far_resolvers": {"proxy.dns_pipeline"},
    "proxy.nameservers": {"proxy.dns_pipeline"},
    "proxy.dns": {"proxy.names"},
    "proxy.succession": {"proxy.tunnel_news"},
    "proxy.tunnel": {"proxy.succession", "proxy.tunnel_news"},
    "proxy.exits": {"proxy.tunnel", "proxy.tunnel_news"},
    "proxy.listener": {"proxy.forward"},
    "proxy.udp_relay": {"proxy.forward"},
    "proxy.waiting_room": {"proxy.served_session"},
    "proxy.exit": {"proxy.served_session", "proxy.waiting_room", "proxy.website"},
    "proxy.app": {
        f"proxy.{name}"
        for name in (
            "demo",
            "descriptors",
            "exit_program",
            "local_program",
            "local_side",
            "reload",
            "sd_notify",
            "start",
        )
    },
    "proxy.start": {"proxy.activation", "proxy.sd_notify"},
    "proxy.demo": {"proxy.listening", "proxy.local_program", "proxy.local_side"},
    "proxy.exit_program": {f"proxy.{name}" for name in ("activation", "listening", "reload", "start")},
    "proxy.local_side": {"proxy.routing"},
    "proxy.local_program": {
        f"proxy.{name}"
        for name in (
            "activation",
            "dashboard_site",
            "listening",
            "local_side",
            "observation",
            "start",
            "system_proxy",
        )
    },
    "proxy.listening": {"proxy.port_holder"},
    "proxy.port_holder": {"proxy.supervisor"},
    "proxy.service_launchd": {"proxy.log_file", "proxy.service_program", "proxy.supervisor"},
    "proxy.service_systemd": {"proxy.supervisor"},
    "proxy.service_windows": {"proxy.log_file", "proxy.service_program", "proxy.supervisor"},
    "proxy.systemd_unit": {"proxy.service_program"},
    "proxy.service": {
        f"proxy.{name}"
        for name in ("port_holder", "service_launchd", "service_program", "service_systemd", "service_windows")
    }
    | {"proxy.supervisor", "proxy.systemd_unit"},
    "proxy.service_exit": {
        f"proxy.{name}" for name in ("service", "service_program", "service_systemd", "supervisor", "systemd_unit")
    },
    "proxy.desktop_gnome": {"proxy.desktop", "proxy.supervisor"},
    "proxy.desktop_kde": {"proxy.desktop", "proxy.supervisor"},
    "proxy.desktop_macos": {"proxy.desktop", "proxy.supervisor"},
    "proxy.desktop_windows": {"proxy.desktop"},
    "proxy.system_proxy": {f"proxy.desktop{name}" for name in ("", "_gnome", "_kde", "_macos", "_windows")},
    "proxy.cli_system": {
        f"proxy.{name}"
        for name in ("cli_apps", "environment", "login_repair", "service_program", "system_proxy", "terminal")
    },
    "proxy.cli_service": {
        f"proxy.{name}"
        for name in ("app", "local_side", "log_file", "service", "service_exit", "supervisor", "terminal")
    },
    "proxy.cli": {
        f"proxy.{name}"
        for name in (
            "app",
            "cli_apps",
            "cli_dashboard",
            "cli_doctor",
            "cli_exit",
            "cli_exits",
            "cli_rules",
            "cli_service",
            "cli_system",
            "cli_top",
            "terminal",
        )
    },
    "proxy.terminal": {"proxy.service_exit"},  # where an installed exit is
    "proxy.cli_rules": {"proxy.local_side", "proxy.routing", "proxy.terminal"},
    "proxy.app_setup": {f"proxy.{name}" for name in ("app_program", "browser_profile", "environment", "guide")},
    "proxy.cli_dashboard": {"proxy.api_client", "proxy.terminal"},
    "proxy.top_view": {"proxy.api_client", "proxy.screen"},
    "proxy.cli_top": {f"proxy.{name}" for name in ("api_client", "cli_dashboard", "screen", "terminal", "top_view")},
    "proxy.cli_apps": {f"proxy.{name}" for name in ("app_program", "app_setup", "guide", "system_proxy", "terminal")},
    "proxy.cli_exit": {
        f"proxy.{name}"
        for name in ("app", "cli_certificate", "completion", "exit_setup", "qr", "questions", "terminal")
    },
    "proxy.cli_certificate": {"proxy.authority", "proxy.terminal"},
    "proxy.cli_exits": {"proxy.completion", "proxy.local_side", "proxy.qr_picture", "proxy.terminal"},
    "proxy.completion": {"proxy.terminal"},
    "proxy.questions": {"proxy.terminal"},
    "proxy.manual": {"proxy.cli"},
    "proxy.__main__": {"proxy.cli"},
}
IMPURE = {
    "trio",
    "ssl",
    "utls",
    "socket",
    "time",
    "random",
    "secrets",
    "logging",
    "threading",
    "select",
    "asyncio",
    "os",
    "datetime",
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def imported(path: Path) -> set[str]:
    """Every module that the source imports at run time, anywhere in it, as absolute names."""
    package = module_name(path) if path.stem == "__init__" else module_name(path).rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            found |= {
                f"{stem}.{alias.name}" if (ROOT / stem.replace(".", "/") / "__init__.py").exists() else stem
                for alias in node.names
            }
    return found


def layer(name: str) -> int:
    for number, modules in enumerate(LAYERS):
        if name in modules:
            return number
    raise AssertionError(f"{name} stands in no layer: give it one in {__name__}")


def upwards(name: str, other: str) -> bool:
    return layer(other) >= layer(name) and other not in ALLOWED_BESIDE.get(name, ())


def test_imports_go_downwards() -> None:
    ours = [
        (module_name(path), other) for path in SOURCES for other in imported(path) if other.split(".")[0] == "proxy"
    ]
    assert len(ours) > len(SOURCES)
    assert [f"{name} imports {other}" for name, other in ours if upwards(name, other)] == []


def test_protocols_are_pure() -> None:
    protocols = [path for path in SOURCES if "protocol" in path.parts]
    assert len(protocols) > 20
    assert {name.partition(".")[0] for path in protocols for name in imported(path)} & IMPURE == set()


def test_every_source_file_has_its_test() -> None:
    tested = [path.relative_to(ROOT / "proxy") for path in SOURCES if path.stem not in ("__init__", "__main__")]
    twins = [ROOT / "tests" / path.with_name(f"test_{path.name}") for path in tested]
    assert [str(twin.relative_to(ROOT)) for twin in twins if not twin.exists()] == []

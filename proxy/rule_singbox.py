"""Rule sets of sing-box, in their source form: JSON, versions 1 to 4 (sing-box.sagernet.org, "Source Format" and "Headless Rule")."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .rule_clash import wildcard_of
from .rule_terms import (
    AllOf,
    AnyOf,
    Exact,
    Keyword,
    Not,
    Suffix,
    Term,
    Within,
    carried_of,
    keyword_of,
    name_of,
    network_of,
    pattern_of,
    ports_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .rule_entries import Entries

NEWEST = 4
_DEPTH = 8  # our choice: of rules inside rules


def _suffix(text: str) -> Term:
    return wildcard_of(text) if text.startswith(".") else Suffix(name_of(text))


def _port_range(text: str) -> Term:
    """1000:2000, :3000 or 4000:"""
    first, colon, last = text.partition(":")
    if not colon or text == ":":
        raise ValueError(f"{text!r} is no range of ports, as 1000:2000 is one")
    return ports_of(f"{first or 1}-{last or 65535}")


# Of a rule, one of each group has to hold that it has anything of.
_WHERE: dict[str, Callable[[str], Term]] = {
    "domain": lambda text: Exact(name_of(text)),
    "domain_suffix": _suffix,
    "domain_keyword": lambda text: Keyword(keyword_of(text)),
    "domain_regex": pattern_of,
    "ip_cidr": lambda text: Within(network_of(text)),
}
_PORTS: dict[str, Callable[[str], Term]] = {"port": ports_of, "port_range": _port_range}
_GROUPS = (_WHERE, _PORTS, {"network": carried_of})
_KNOWN = {name: make for group in _GROUPS for name, make in group.items()}


def read_rule_set(text: str, entries: Entries) -> None:
    """Raises ConfigError with the line or the rule, and the reason."""
    entries.no_tag()
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        entries.place = f"line {error.lineno}"
        raise entries.wrong(f"it is no JSON: {error.msg}") from None
    except (ValueError, RecursionError):
        raise entries.wrong("it is no JSON that is of use here: something in it is too deep or too long") from None
    if not isinstance(document, dict):
        raise entries.wrong("it is JSON, but no rule set of sing-box")
    version, rules = document.get("version"), document.get("rules")
    if type(version) is not int or not 1 <= version <= NEWEST:
        raise entries.wrong(f"its version is none of 1 to {NEWEST}, which are known here")
    if not isinstance(rules, list):
        raise entries.wrong("rules is no list")
    for number, rule in enumerate(rules, 1):
        entries.place = f"rule {number}"
        try:
            _add(rule, entries)
        except ValueError as error:
            raise entries.wrong(str(error)) from None


def _add(rule: Any, entries: Entries) -> None:
    """What names only places goes into the columns of the list, as nearly all rule sets do."""
    if isinstance(rule, dict) and rule.keys() <= _WHERE.keys():
        terms = list(_terms(rule, _WHERE))
        if not terms:
            raise ValueError("a rule has no condition")
        for term in terms:
            entries.add(term)
    else:
        entries.add(_term(rule, _DEPTH))


def _term(rule: Any, depth: int) -> Term:
    if not isinstance(rule, dict):
        raise ValueError("a rule is no object")
    if depth == 0:
        raise ValueError(f"rules stand more than {_DEPTH} deep in one another")
    kind, invert = rule.get("type", "default"), rule.get("invert", False)
    if type(invert) is not bool:
        raise ValueError("invert is neither true nor false")
    if kind == "logical":
        term = _logical(rule, depth)
    elif kind in ("default", ""):
        term = _default(rule)
    else:
        raise ValueError(f"there is no type {kind!r} of rules")
    return Not(term) if invert else term


def _logical(rule: Mapping[str, Any], depth: int) -> Term:
    _all_known(rule, {"type", "invert", "mode", "rules"})
    inner = rule.get("rules")
    if not isinstance(inner, list) or not inner:
        raise ValueError("rules is no list with anything in it")
    terms = [_term(each, depth - 1) for each in inner]
    match rule.get("mode"):
        case "and":
            return AllOf(tuple(terms))
        case "or":
            return AnyOf(others=terms)
    raise ValueError("mode is neither and nor or")


def _default(rule: Mapping[str, Any]) -> Term:
    _all_known(rule, {"type", "invert", *_KNOWN})
    groups = []
    for group in _GROUPS:
        any_of = AnyOf()
        for term in _terms(rule, group):
            any_of.add(term)
        if any_of:
            groups.append(any_of)
    if not groups:
        raise ValueError("a rule has no condition")
    return groups[0] if len(groups) == 1 else AllOf(tuple(groups))


def _terms(rule: Mapping[str, Any], group: Mapping[str, Callable[[str], Term]]) -> Iterator[Term]:
    for name, make in group.items():
        value = rule.get(name, [])
        for each in value if isinstance(value, list) else [value]:
            if type(each) is not (int if name == "port" else str):
                raise ValueError(f"{name} has something of the wrong type")
            yield make(str(each))


def _all_known(rule: Mapping[str, Any], known: set[str]) -> None:
    for name in rule:
        if name not in known:
            raise ValueError(f"nothing is known here of {name!r}, so nobody can say whether the rule holds")

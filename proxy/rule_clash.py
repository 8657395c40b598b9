"""Lists of Clash: lines such as `DOMAIN-SUFFIX,example.com`, and rule providers in YAML with lines, names or networks under `payload:`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from . import countries
from .rule_terms import (
    AllOf,
    AnyOf,
    Country,
    Exact,
    Keyword,
    Not,
    Suffix,
    Term,
    Within,
    carried_of,
    country_code_of,
    ip_of,
    keyword_of,
    name_of,
    network_of,
    pattern_of,
    ports_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .rule_entries import Entries

_DEPTH = 8  # our choice: of conditions inside conditions


def wildcard_of(text: str) -> Term:
    """A name in which `*` stands for one label, `+.` for the name and all below it, and a dot in front for all below it.

    Raises ValueError with a text for people.
    """
    if text.startswith("+."):
        return Suffix(name_of(text[2:]))
    if text.startswith("."):
        name = name_of(text[1:])
        return AllOf((Suffix(name), pattern_of(rf".\.{re.escape(name)}$")))
    if "*" not in text:
        return Exact(name_of(text))
    labels = text.rstrip(".").split(".")
    fixed = [label if label == "*" else name_of(label) for label in labels]
    pattern = pattern_of("^" + r"\.".join(r"[^.]+" if label == "*" else re.escape(label) for label in fixed) + "$")
    after = fixed[len(fixed) - fixed[::-1].index("*") :]
    return AllOf((Suffix(".".join(after)), pattern)) if after else pattern


_GLOB = re.compile(r"[a-z0-9_.*?-]{1,255}")
_GLOB_MARKS = {"*": ".*", "?": "."}


def _glob_of(text: str) -> Term:
    """A name in which `*` stands for any characters, dots among them, and `?` for one. Raises ValueError with a text for people."""
    glob = text.lower()
    if not _GLOB.fullmatch(glob):
        raise ValueError(f"{text!r} is no name with * and ?")
    return pattern_of("^" + "".join(_GLOB_MARKS.get(each) or re.escape(each) for each in glob) + "$")


def _ports(text: str) -> Term:
    ports = AnyOf(others=[ports_of(part) for part in text.split("/")])
    return ports.others[0] if len(ports) == 1 else ports


_KINDS: dict[str, Callable[[str], Term]] = {
    "DOMAIN": lambda text: Exact(name_of(text)),
    "DOMAIN-SUFFIX": lambda text: Suffix(name_of(text.removeprefix("."))),
    "DOMAIN-KEYWORD": lambda text: Keyword(keyword_of(text)),
    "DOMAIN-WILDCARD": _glob_of,
    "DOMAIN-REGEX": pattern_of,
    "IP-CIDR": lambda text: Within(network_of(text)),
    "IP-CIDR6": lambda text: Within(network_of(text)),
    "GEOIP": lambda text: Country(country_code_of(text), countries.country_of),
    "DST-PORT": _ports,
    "NETWORK": carried_of,
}
# Other programs' words for the same.
_KINDS |= {f"HOST{kind.removeprefix('DOMAIN')}": make for kind, make in _KINDS.items() if kind.startswith("DOMAIN")}
#: What is known of a connection elsewhere, and not here.
_ELSEWHERE = {
    *("PROCESS-NAME", "PROCESS-PATH", "PROCESS-NAME-REGEX", "PROCESS-PATH-REGEX", "UID", "USER-AGENT", "URL-REGEX"),
    *("PROCESS-NAME-WILDCARD", "PROCESS-PATH-WILDCARD"),
    *("SRC-IP-CIDR", "SRC-PORT", "SRC-GEOIP", "SRC-IP-ASN", "SRC-IP-SUFFIX", "IP-ASN", "IP-SUFFIX", "GEOSITE", "DSCP"),
    *("IN-PORT", "IN-TYPE", "IN-USER", "IN-NAME", "DOMAIN-SET", "RULE-SET"),
}
_LOGICAL: dict[str, Callable[[list[Term]], Term]] = {
    "AND": lambda terms: AllOf(tuple(terms)),
    "OR": lambda terms: AnyOf(others=terms),
    "NOT": lambda terms: Not(terms[0]),
}
_ALL_KINDS = frozenset(_KINDS) | _ELSEWHERE | frozenset(_LOGICAL)
_OPTIONS = {"no-resolve"}  # names are never resolved here


def is_line(text: str) -> bool:
    """Whether it is written as a rule of Clash is."""
    return text.partition(",")[0].strip().upper() in _ALL_KINDS


def add_line(text: str, entries: Entries) -> None:
    """Raises ValueError with a text for people."""
    kind = text.partition(",")[0].strip().upper()
    if kind in _ELSEWHERE or text.replace(" ", "").lower().endswith(",src"):
        entries.left_out[kind] += 1
    else:
        entries.add(_rule(text, _DEPTH))


def _rule(text: str, depth: int) -> Term:
    kind, _, rest = (part.strip() for part in text.partition(","))
    kind = kind.upper()
    if kind in _LOGICAL:
        if depth == 0:
            raise ValueError(f"conditions stand more than {_DEPTH} deep in one another")
        terms = [_rule(part, depth - 1) for part in list(_parts(rest))]
        if not terms or (kind == "NOT" and len(terms) != 1):
            raise ValueError(f"{kind} has not as many conditions as it needs")
        return _LOGICAL[kind](terms)
    if kind not in _KINDS:
        raise ValueError(f"{kind or text!r} is no kind of rule that is known here")
    # A regular expression may have commas; nothing follows it.
    value, *options = [rest] if kind.endswith("-REGEX") else (part.strip() for part in rest.split(","))
    if any(option.lower() not in _OPTIONS for option in options):
        raise ValueError(f"{text!r} has more than a kind and a value; a list says nothing of where it goes")
    return _KINDS[kind](value)


def _parts(text: str) -> Iterator[str]:
    """Of `((A,a),(B,b))`, what stands in each of the inner brackets."""
    if not (text.startswith("(") and text.endswith(")")):
        raise ValueError(f"{text!r} is not written as ((KIND,value),(KIND,value))")
    depth, start = 0, 0
    for position, character in enumerate(inner := text[1:-1]):
        if character == "(":
            start = position + 1 if depth == 0 else start
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                yield inner[start:position]
        elif depth == 0 and character not in ", ":
            raise ValueError(f"{text!r} has something between its brackets")
        if depth < 0:
            break
    if depth:
        raise ValueError(f"{text!r} has brackets that do not match")


# ---- rule providers

# The first line that says something. Each line is looked at once, and alone: a blank one that might belong to this line or to the next makes the time double.
_FIRST_LINE = re.compile(r"^(?![^\S\n]*(?:#|$)|---)[^\n]*", re.MULTILINE)
_PAYLOAD = re.compile(r"payload\s*:")


def is_provider(text: str) -> bool:
    first = _FIRST_LINE.search(text)
    return first is not None and _PAYLOAD.match(first[0]) is not None


def read_provider(text: str, entries: Entries) -> None:
    """Raises ConfigError with the line and the reason."""
    entries.no_tag()
    for line, scalar in _payload(text, entries):
        entries.place = f"line {line}"
        try:
            if is_line(scalar):
                add_line(scalar, entries)
            elif "/" in scalar or ip_of(scalar) is not None:
                entries.add(Within(network_of(scalar)))
            else:
                entries.add(wildcard_of(scalar))
        except ValueError as error:
            raise entries.wrong(str(error)) from None


def _payload(text: str, entries: Entries) -> Iterator[tuple[int, str]]:
    """Each text of the list under `payload`, with its line. It takes the events one by one, so nothing can be nested or referred to."""
    import yaml  # 20 ms that only those wait for who have such a list

    # A mapping with one key, whose value is a sequence of scalars; None is a scalar of the sequence, as often as there are any.
    before = ["StreamStart", "DocumentStart", "MappingStart", "Scalar", "SequenceStart"]
    after = ["SequenceEnd", "MappingEnd", "DocumentEnd", "StreamEnd"]
    try:
        event: Any  # only some have a value
        for event in yaml.parse(text, Loader=_loader(yaml)):
            name = type(event).__name__.removesuffix("Event")
            entries.place = f"line {event.start_mark.line + 1}"
            if before:
                if name != before.pop(0) or (name == "Scalar" and event.value != "payload"):
                    raise entries.wrong("a rule provider has payload: and a list below it, and nothing else")
            elif name == "Scalar" and len(after) == 4:
                yield event.start_mark.line + 1, event.value
            elif name != after.pop(0):
                raise entries.wrong("a rule provider has a list of texts below payload:, and nothing else")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        entries.place = f"line {mark.line + 1}" if mark is not None else ""
        raise entries.wrong(f"it is no YAML: {getattr(error, 'problem', None) or error}") from None


def _loader(yaml: Any) -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # where libyaml is, it takes a tenth of the time

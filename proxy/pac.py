"""The rules as a PAC file, for browsers that take one (FindProxyForURL, in the JavaScript of 1999, which all of them read).

The proxy decides again about all that it gets, so the file needs to know only what is certainly direct, by TCP and by UDP, as a browser that goes
directly may use QUIC. Where it cannot tell, it sends to the proxy: a rule that may hold counts as one that holds where it is for the tunnel, and
as one that does not where it is for direct. No name is ever looked up, and nothing falls back from the proxy to "direct".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .rule_tables import literal_in
from .rule_terms import (
    AllOf,
    AnyOf,
    Carried,
    Country,
    Exact,
    Keyword,
    Not,
    Pattern,
    PortRange,
    SingleLabel,
    SomeAddresses,
    Suffix,
    Term,
    Within,
)
from .rules import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .address import Address
    from .rule_terms import IPNetwork

#: Chromium takes less than 1 MB (net/docs/proxy.md).
LONGEST = 1_000_000
#: Our choice: networks in one table, which are asked one by one.
MOST_NETWORKS = 1000
CONTENT_TYPE = "application/x-ns-proxy-autoconfig"


def pac_text(rules: Iterable[tuple[Term, Kind]], default: Kind, port: Address) -> str:
    """ASCII. `rules` in the order in which they count; `port` is ours, as the browser reaches it."""
    steps = _steps(rules)
    text = _written(_needed(steps, default), default, port)
    while len(text) > LONGEST:
        # What is direct may be left out: then the proxy finds out that it is.
        largest = max((step for step in steps if step.direct), key=lambda step: step.size, default=None)
        if largest is None or not largest.shrink():
            return _written([], Kind.TUNNEL, port)
        text = _written(_needed(steps, default), default, port)
    return text


@dataclass(slots=True)
class _Step(AnyOf):
    """Rules one after the other that all go directly, or all do not. The order within it does not matter."""

    direct: bool = False

    @property
    def size(self) -> int:
        return sum(map(len, self.exact)) + sum(map(len, self.suffixes)) + 100 * (len(self.keywords) + len(self.others))

    def add(self, term: Term) -> None:
        """A list goes in entry by entry."""
        if not isinstance(term, AnyOf):
            AnyOf.add(self, term)  # a dataclass with slots is another class than the one that super() means
            return
        self.exact += term.exact
        self.suffixes += term.suffixes
        self.keywords += term.keywords
        self.networks += term.networks
        for other in term.others:
            self.add(other)

    def shrink(self) -> bool:
        """Leaves out most of it, the longest names first. Returns whether there was something."""
        some = bool(self)
        self.exact = sorted(self.exact, key=len)[: len(self.exact) // 2]
        self.suffixes = sorted(self.suffixes, key=len)[: len(self.suffixes) // 2]
        if not self.exact and not self.suffixes:
            self.keywords, self.networks, self.others = [], [], []
        return some


def _steps(rules: Iterable[tuple[Term, Kind]]) -> list[_Step]:
    steps: list[_Step] = []
    for term, kind in rules:
        direct = kind is Kind.DIRECT
        if not steps or steps[-1].direct is not direct:
            steps.append(_Step(direct=direct))
        steps[-1].add(term)
    return steps


def _needed(steps: list[_Step], default: Kind) -> list[_Step]:
    """Without the names to the proxy which nothing that comes after them could send directly."""
    later = _Names(everything=default is Kind.DIRECT)
    needed = []
    for step in reversed(steps):
        if step.direct:
            later.add_step(step)
            needed.append(step)
        elif later.everything or later.names or later.addresses:
            exact, suffixes = filter(later.meet, step.exact), filter(later.meet, step.suffixes)
            needed.append(_Step(list(exact), list(suffixes), step.keywords, step.networks, step.others))
    return [step for step in reversed(needed) if step]


class _Names:
    """The names for which something may hold: these and those below them, or everything."""

    def __init__(self, *, everything: bool) -> None:
        self.everything = everything
        self.addresses = False
        self.names: set[str] = set()
        self._above: set[str] = set()

    def add_step(self, step: _Step) -> None:
        self.addresses = self.addresses or bool(step.networks or step.others)
        self._add([*step.exact, *step.suffixes])
        self.everything = self.everything or bool(step.keywords)
        for other in step.others:
            bound = _bound(other)
            self.everything = self.everything or bound is None
            self._add(bound or [])

    def meet(self, name: str) -> bool:
        """Whether there are names that are both below this one, or it, and in here."""
        return self.everything or name in self._above or any(each in self.names for each in _chain(name))

    def _add(self, names: Iterable[str]) -> None:
        for name in names:
            self.names.add(name)
            self._above.update(_chain(name))


def _chain(name: str) -> list[str]:
    """The name, and all that it is below."""
    labels = name.split(".")
    return [".".join(labels[start:]) for start in range(len(labels))]


def _bound(term: Term) -> list[str] | None:
    """Names below which all are for which it certainly holds; None where that says nothing."""
    match term:
        case Exact(name) | Suffix(name):
            return [name]
        case AllOf(terms):
            return next((bound for each in terms if (bound := _bound(each)) is not None), None)
        case AnyOf(keywords=[]):
            bounds = [_bound(other) for other in term.others]
            if None in bounds:
                return None
            return [*term.exact, *term.suffixes, *(name for bound in bounds for name in bound or [])]
        case Within() | Country() | Pattern() | SingleLabel() | Carried() | SomeAddresses():
            return []  # addresses only, or never certain
    return None


# ---- as JavaScript


def _written(steps: list[_Step], default: Kind, port: Address) -> str:
    script = _Script()
    lines = [
        f"if({condition})return {'D' if step.direct else 'P'};" for step in steps if (condition := script.step(step))
    ]
    last = "D" if default is Kind.DIRECT else "P"
    return _TEMPLATE.format(port=port, tables="\n".join(script.tables), rules="\n".join(lines), last=last)


class _Script:
    """Conditions in terms of `h`, a name or "", `v`, an IPv4 address as a number or -1, and `p`, a port. Tables are written once."""

    def __init__(self) -> None:
        self.tables: list[str] = []

    def step(self, step: _Step) -> str:
        terms = AnyOf(step.exact, step.suffixes, step.keywords, step.networks, step.others)
        condition = self._any(terms, may=not step.direct)
        return "" if condition == "0" else condition

    def _term(self, term: Term, *, may: bool) -> str:
        """With `may` the condition holds wherever the term may hold, and else only where it certainly does."""
        match term:
            case Exact() | Suffix() | Keyword() | Within():
                one = AnyOf()
                one.add(term)
                return self._any(one, may=may)
            case AnyOf():
                return self._any(term, may=may)
            case AllOf(terms):
                return "(" + "&&".join(self._term(each, may=may) for each in terms) + ")"
            case Not(inner):
                return f"!{self._term(inner, may=not may)}"
            case PortRange(first, last):
                return f"(p>={first}&&p<={last})"
            case SingleLabel() if may:
                return '(h!="")'
            case Pattern(expression) if may:
                # Expressions of RE2 and of JavaScript are not the same.
                word = literal_in(expression.text)
                return f"k([{_quoted(word)}],h)" if word else '(h!="")'
        return "1" if may else "0"

    def _any(self, term: AnyOf, *, may: bool) -> str:
        parts = []
        if term.exact:
            parts.append(f"e({self._names(term.exact)},h)")
        if term.suffixes:
            parts.append(f"f({self._names(term.suffixes)},h)")
        if term.keywords:
            parts.append(f"k({self._table('[' + ','.join(map(_quoted, sorted(set(term.keywords)))) + ']')},h)")
        if term.networks:
            parts.append(self._networks(term.networks, may=may))
        parts += [self._term(other, may=may) for other in term.others]
        parts = [part for part in dict.fromkeys(parts) if part != "0"]
        return "0" if not parts else "1" if "1" in parts else "(" + "||".join(parts) + ")"

    def _names(self, names: list[str]) -> str:
        """By their last label, which thus stands there once."""
        groups: dict[str, list[str]] = {}
        for name in sorted(set(names)):
            rest, _, last = name.rpartition(".")
            groups.setdefault(last, []).append(rest)
        pairs = [part for last, rests in groups.items() for part in (_quoted(last), _quoted(" ".join(rests)))]
        return self._table(f"t([{','.join(pairs)}])")

    def _networks(self, networks: list[IPNetwork], *, may: bool) -> str:
        """IPv6 goes to the proxy before anything is asked."""
        found = {(int(each.network_address), each.num_addresses) for each in networks if each.version == 4}
        if len(found) > MOST_NETWORKS:
            return "(v>=0)" if may else "0"
        pairs = ",".join(f"{first},{size}" for first, size in sorted(found))
        return f"n({self._table(f'[{pairs}]')},v)" if found else "0"

    def _table(self, expression: str) -> str:
        self.tables.append(f"var T{len(self.tables)}={expression};")
        return f"T{len(self.tables) - 1}"


def _quoted(text: str) -> str:
    return json.dumps(text)


#: `t` makes a table of names, with a dot before each so that none is a word of the language; `e` and `f` find a name in it, and one of those that
#: it is below; an address in another spelling than usual goes to the proxy, where the rules judge it; `k` finds parts of a name, and `n` pairs of a first address and a number of addresses.
_TEMPLATE = """\
var P="PROXY {port}; SOCKS5 {port}",D="DIRECT";
var S={{http:80,https:443,ws:80,wss:443,ftp:21}};
function t(g){{var r={{}},i,j,a;for(i=0;i<g.length;i+=2){{a=g[i+1].split(" ");
for(j=0;j<a.length;j++)r["."+(a[j]?a[j]+".":"")+g[i]]=1;}}return r;}}
function e(r,h){{return r["."+h]===1;}}
function f(r,h){{var i;for(;;){{if(r["."+h]===1)return true;i=h.indexOf(".");if(i<0)return false;h=h.substring(i+1);}}}}
function k(a,h){{for(var i=0;i<a.length;i++)if(h.indexOf(a[i])>=0)return true;return false;}}
function n(a,v){{for(var i=0;i<a.length;i+=2)if(v>=a[i]&&v<a[i]+a[i+1])return true;return false;}}
function ip(h){{var a=h.split("."),v=0,i;if(a.length!==4)return -1;
for(i=0;i<4;i++){{if(!/^(0|[1-9][0-9]{{0,2}})$/.test(a[i])||a[i]>255)return -1;v=v*256+(a[i]-0);}}return v;}}
{tables}
function FindProxyForURL(url,host){{
var h=host.toLowerCase().replace(/[.]+$/,""),m,p,v;
if(!/^[a-z0-9_.-]+$/.test(h)||host.length>255)return P;
m=/^([a-z]+):\\/\\/[^\\/?#]*?(:[0-9]{{1,5}})?([\\/?#]|$)/.exec(url.toLowerCase());
if(!m||typeof S[m[1]]!=="number")return P;
p=m[2]?m[2].substring(1)-0:S[m[1]];
if(p<1||p>65535)return P;
v=ip(h);if(v<0&&/^((0x[0-9a-f]+|[0-9]+)(\\.|$)){{1,4}}$/.test(h))return P;
if(v>=0)h="";
{rules}
return {last};
}}
"""

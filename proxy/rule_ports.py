"""Ports that rules speak of: from one on, a name may go another way than below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .rule_terms import AllOf, AnyOf, Carried, Country, Not, PortRange, SomeAddresses, Within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .rule_terms import Term

_OTHERS = (PortRange, Carried, Within, Country, SomeAddresses)
_LAST = 65_535


def is_about_names(term: Term) -> bool:
    """Whether anything in it asks for a name. What asks for a port alone says nothing of names: it would send all of them the same way."""
    match term:
        case AllOf(terms):
            return any(map(is_about_names, terms))
        case AnyOf():
            return bool(term.exact or term.suffixes or term.keywords) or any(map(is_about_names, term.others))
        case Not(inner):
            return is_about_names(inner)
    return not isinstance(term, _OTHERS)


def borders(term: Term) -> Iterator[int]:
    """The ports from which on it may hold for other destinations than below them."""
    match term:
        case PortRange(first, last):
            yield first
            if last < _LAST:
                yield last + 1
        case AllOf(terms):
            for each in terms:
                yield from borders(each)
        case AnyOf():
            for each in term.others:
                yield from borders(each)
        case Not(inner):
            yield from borders(inner)

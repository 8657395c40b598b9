"""Whether this computer's clock is right, as far as what an exit shows can tell: its website's Date, and the dates of its certificate."""

from __future__ import annotations

import datetime as dt
import email.utils

from .finding import Finding

CHECK = "clock"

# Our choices. Below a minute nothing that people use minds; codes of two-factor apps fail from half a minute to a few, and certificates that
# were made just now, or are about to end, from some minutes on.
NOTED = dt.timedelta(minutes=1)
WRONG = dt.timedelta(minutes=10)

#: This was written later than that: a clock that shows an earlier time is wrong, whatever else is known.
WRITTEN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

_MEND = "set the clock of this computer, or let it be set from the network: `timedatectl set-ntp true` on Linux, the settings for date and time elsewhere"
_WHY = "sites' certificates look expired or not valid yet by a wrong clock, and codes for logging in do not fit"


def read_date(text: str) -> dt.datetime | None:
    """The field Date of HTTP (RFC 9110, section 6.6.1); None where it is none."""
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=dt.UTC)


def judge_clock(here: dt.datetime, there: dt.datetime | None) -> Finding:
    """`there`: what the exit's clock showed at the same time, if it told."""
    if there is None:
        return judge_alone(here)
    apart = abs(here - there)
    way = "slow" if here < there else "fast"
    if apart < NOTED:
        return Finding.ok(CHECK, "the clock agrees with the exit's")
    text = f"this computer's clock is {_span(apart)} {way}, compared with the exit's"
    if apart < WRONG:
        return Finding.note(CHECK, text, _WHY, _MEND)
    return Finding.fault(CHECK, text, _WHY, f"{_MEND}; if this one is right, the exit's is wrong")


def judge_alone(here: dt.datetime) -> Finding:
    """Where nobody tells the time."""
    if here < WRITTEN:
        return Finding.fault(CHECK, f"this computer's clock shows {here:%Y-%m-%d}, which is in the past", _WHY, _MEND)
    return Finding.note(CHECK, "the exit did not tell the time, so the clock was not compared")


def judge_validity(here: dt.datetime, begin: dt.datetime, end: dt.datetime) -> Finding | None:
    """Of the exit's own certificate, where this system's roots have to vouch for it; None where the dates are fine."""
    if here < begin:
        text = f"by this computer's clock, {here:%Y-%m-%d %H:%M} UTC, the exit's certificate is not valid before {begin:%Y-%m-%d}"
        return Finding.fault(CHECK, text, "the clock is slow: the exit made its certificate already", _MEND)
    if here > end:
        text = (
            f"by this computer's clock, {here:%Y-%m-%d %H:%M} UTC, the exit's certificate has expired on {end:%Y-%m-%d}"
        )
        why = "the clock is fast, or the certificate was not renewed, and the link demands one that is vouched for"
        return Finding.fault(CHECK, text, why, f"{_MEND}; if the clock is right, renew the certificate at the exit")
    return None


def _span(apart: dt.timedelta) -> str:
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if apart.total_seconds() >= 2 * size:
            return f"{apart.total_seconds() / size:.0f} {unit}"
    return f"{apart.total_seconds():.0f} seconds"

"""Whether this computer's clock is right, as far as what an exit shows can tell: its website's Date, and the dates of its certificate."""

from __future__ import annotations

import datetime as dt
import email.utils

from .finding import Finding, Text

CHECK = "clock"

# Our choices. Below a minute nothing that people use minds; codes of two-factor apps fail from half a minute to a few, and certificates that
# were made just now, or are about to end, from some minutes on.
NOTED = dt.timedelta(minutes=1)
WRONG = dt.timedelta(minutes=10)

#: This was written later than that: a clock that shows an earlier time is wrong, whatever else is known.
WRITTEN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

_MEND = Text(
    "set the clock of this computer, or let it be set from the network: `timedatectl set-ntp true` on Linux, the settings for date and time elsewhere"
)
_WHY = Text("sites' certificates look expired or not valid yet by a wrong clock, and codes for logging in do not fit")


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
    if apart < NOTED:
        return Finding.ok(CHECK, Text("the clock agrees with the exit's"))
    if here < there:
        text = Text("this computer's clock is {span} slow, compared with the exit's", span=_span(apart))
    else:
        text = Text("this computer's clock is {span} fast, compared with the exit's", span=_span(apart))
    if apart < WRONG:
        return Finding.note(CHECK, text, _WHY, _MEND)
    return Finding.fault(CHECK, text, _WHY, Text("{mend}; if this one is right, the exit's is wrong", mend=_MEND))


def judge_alone(here: dt.datetime) -> Finding:
    """Where nobody tells the time."""
    if here < WRITTEN:
        text = Text("this computer's clock shows {day}, which is in the past", day=f"{here:%Y-%m-%d}")
        return Finding.fault(CHECK, text, _WHY, _MEND)
    return Finding.note(CHECK, Text("the exit did not tell the time, so the clock was not compared"))


def judge_validity(here: dt.datetime, begin: dt.datetime, end: dt.datetime) -> Finding | None:
    """Of the exit's own certificate, where this system's roots have to vouch for it; None where the dates are fine."""
    now = f"{here:%Y-%m-%d %H:%M} UTC"
    if here < begin:
        text = Text(
            "by this computer's clock, {now}, the exit's certificate is not valid before {day}",
            now=now,
            day=f"{begin:%Y-%m-%d}",
        )
        return Finding.fault(CHECK, text, Text("the clock is slow: the exit made its certificate already"), _MEND)
    if here > end:
        text = Text(
            "by this computer's clock, {now}, the exit's certificate has expired on {day}",
            now=now,
            day=f"{end:%Y-%m-%d}",
        )
        why = Text(
            "the clock is fast, or the certificate was not renewed, and the link demands one that is vouched for"
        )
        mend = Text("{mend}; if the clock is right, renew the certificate at the exit", mend=_MEND)
        return Finding.fault(CHECK, text, why, mend)
    return None


def _span(apart: dt.timedelta) -> Text:
    seconds = apart.total_seconds()
    if seconds >= 2 * 86_400:
        return Text("{n} days", n=f"{seconds / 86_400:.0f}")
    if seconds >= 2 * 3600:
        return Text("{n} hours", n=f"{seconds / 3600:.0f}")
    if seconds >= 2 * 60:
        return Text("{n} minutes", n=f"{seconds / 60:.0f}")
    return Text("{n} seconds", n=f"{seconds:.0f}")

"""What a browser shows where a page cannot be had: what failed and what to do, in words.

It stands in for a page of the site, so nothing in it runs, nothing is loaded, and no word of the request is in it but what is escaped.
"""

from __future__ import annotations

import html
import http

#: Nothing but the style below. Nobody may put the page in a frame, and no form may be sent from it.
POLICY = b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 12vh auto; padding: 0 1.5rem; overflow-wrap: anywhere }}
footer {{ margin-top: 3rem; font-size: .9rem; opacity: .75 }}
</style>
<main>
<h1>{title}</h1>
<p>{text}</p>
<p>{mend}</p>
</main>
<footer>This page is from Ropeway on this computer, not from the site. Status {status}.</footer>
</html>
"""

#: For each status of ours: what happened, and what to do.
_WORDS = {
    400: ("This address cannot be used", "Look whether it is spelt right."),
    403: (
        "This connection is not allowed",
        "A rule on this computer or the exit's policy forbids it. `ropeway route HOST` says which rule it is.",
    ),
    407: (
        "The proxy wants a user name and a password",
        "They stand in the configuration of Ropeway; enter them in the settings of this browser's proxy.",
    ),
    431: ("The request is too long", "Delete this site's cookies, and load the page again."),
    502: (
        "The site cannot be reached",
        "Look whether the address is right, and try again later. `ropeway test HOST` shows where it ends.",
    ),
    503: (
        "Ropeway has no connection to the exit just now",
        "It is tried again all the time: wait a little and load the page again. `ropeway doctor` says what is wrong and how to mend it.",
    ),
    504: (
        "The site does not answer",
        "It may be down, or block the exit's address. Try again later. `ropeway test HOST` shows where it ends.",
    ),
}
_OTHERWISE = ("The page cannot be loaded", "Load it again. `ropeway doctor` says whether something is wrong here.")


def error_page(status: int, text: str) -> str:
    """A whole document. `text` is for people and may hold anything."""
    title, mend = _WORDS.get(status, _OTHERWISE)
    phrase = f"{status} {http.HTTPStatus(status).phrase}"
    sentence = text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")
    fields = {"title": title, "text": sentence, "mend": mend, "status": phrase}
    return _PAGE.format(**{name: html.escape(value) for name, value in fields.items()})


def wants_page(accept: bytes) -> bool:
    """Whether a field Accept asks for HTML by its name, as browsers do for pages, and not for images or by programs (RFC 9110, section 12.5.1)."""
    for part in accept.split(b","):
        kind, *parameters = (word.strip().lower() for word in part.split(b";"))
        if kind in (b"text/html", b"application/xhtml+xml"):
            return not any(parameter.replace(b" ", b"") in _NEVER for parameter in parameters)
    return False


_NEVER = {b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"}

"""docs/api.md says what the interface does: its examples have the fields that there are, and its paths and bounds are true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec import Struct

from proxy import (
    api,
    api_request,
    api_views,
    connections,
    entry_codes,
    history,
    live,
    live_feed,
    log_memory,
    router,
    rules,
    watchers,
    web_socket,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = (Path(__file__).parent.parent / "docs" / "api.md").read_text()


def examples() -> Iterator[Any]:
    """In blocks and in lines."""
    for text in re.findall(r"```json\n(.*?)```|`(\{\".*?\})`", TEXT, re.DOTALL):
        yield json.loads("".join(text).replace("[...]", "[]"))


def of_shape(kind: type[Struct], found: Any) -> None:
    """Every field is there and none besides, also further in."""
    assert set(found) == {field.name for field in msgspec.structs.fields(kind)}
    assert msgspec.to_builtins(msgspec.convert(found, kind)) == found


SHAPES: dict[type[Struct], str] = {
    api_views.State: "carrier",
    api_views.History: "step",
    api_views.Connections: "open_count",
    api_views.Rules: "default",
    api_views.Log: "lines",
    api_views.Error: "error",
    api_views.Mode: "mode",
    api_views.UsageKept: "kept",
    live.Hello: "token",
}


@pytest.mark.parametrize("kind", SHAPES)
def test_examples_have_the_fields_that_there_are(kind: type[Struct]) -> None:
    names = {field.name for field in msgspec.structs.fields(kind)}
    (found,) = [each for each in examples() if SHAPES[kind] in each and set(each) <= names | {"?"}]
    of_shape(kind, found)


def test_every_path_is_there() -> None:
    told = {(method, path) for method, path in re.findall(r"`(GET|POST|PUT|DELETE) /api/v1/([^`?]*)", TEXT)}
    told = {(method, re.sub(r"\b(NAME|ID)\b", "*", path)) for method, path in told}
    there = {(method, "/".join(path)) for path, methods in api._ROUTES.items() for method in methods}
    assert told == there | {("GET", "live"), ("GET", "proof")}


@pytest.mark.parametrize(
    "words",
    [
        f"at most {api_request.MOST_CONTENT // 1024} KB of content",
        f"within {api_request.READ_LIMIT:g} s (408)",
        f"at most {watchers.MOST_WATCHERS} WebSockets",
        f"within {live.FIRST_LIMIT:g} s",
        f"at most {connections.MOST_OPEN:,}",
        f"`closed` has the last {connections.MOST_CLOSED}",
        f"at most the last {log_memory.MOST_LINES}",
        f"the first {router.MOST_COUNTED:,} are shown",
        f"steps of {history.STEP:g} s",
        f"for {web_socket.PATIENCE:g} s",
        f"most={connections.MOST_SHOWN}",
        f"closes with code {live.WRONG_TOKEN}",
        f"with {live.NOT_UNDERSTOOD}",
        f"with {live.TOO_SLOW}",
        f"with {live.FULL}",
        f"of at most {live.FIRST_MESSAGE // 1024} KB",
        f"At most {api._LONGEST_NONCE} characters".replace("At most", "at most"),
    ],
)
def test_bounds(words: str) -> None:
    assert words in TEXT


def test_the_rest() -> None:
    assert entry_codes.LIFE == 60  # "for a minute"
    assert connections.LONG == 60  # "for more than a minute"
    assert history.STEP * history.STEPS == 3600
    assert live_feed.PERIOD == 1
    assert live_feed.PARTS == ("state", "connections", "log")
    assert {each.value for each in rules.Mode} >= {"all", "home-direct"}
    assert {each.value for each in connections.State} == {"opening", "open", "half-closed", "closed"}
    for each in connections.AppProtocol:
        assert f"`{each.value}`" in TEXT

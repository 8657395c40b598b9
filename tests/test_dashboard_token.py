"""The secret of the dashboard and its file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from proxy.dashboard_token import RunTokens, TokenFile
from proxy.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "state" / "dashboard.token"
    token = TokenFile(path).read()
    assert len(token) == 43
    assert TokenFile(path).read() == token
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600


def test_it_is_compared(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "token")
    token = file.read()
    assert file.is_right(token)
    for wrong in ("", token[:-1], token + "a", token.swapcase(), "\u20ac", "\ud800"):
        assert not file.is_right(wrong)


def test_a_new_one_makes_the_old_one_useless(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "token")
    old = file.read()
    new = TokenFile(tmp_path / "token").renew()
    assert new != old
    assert not file.is_right(old)
    assert file.is_right(new)


@pytest.mark.parametrize("text", ["", "short", "a" * 42, "a" * 44, "a" * 42 + "!", "\0" * 43])
def test_what_is_no_token_is_replaced(text: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(text)
    (tmp_path / "token").chmod(0o600)
    file = TokenFile(tmp_path / "token")
    assert not file.is_right(text)
    assert file.read() not in ("", text)


@pytest.mark.skipif(sys.platform == "win32", reason="no modes")
def test_what_others_could_read_is_replaced(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "token")
    old = file.read()
    (tmp_path / "token").chmod(0o644)
    assert not file.is_right(old)
    assert file.read() != old


def test_where_none_can_be_made_nobody_is_right(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    file = TokenFile(tmp_path / "file" / "token")
    with pytest.raises(ConfigError):
        file.read()
    assert not file.is_right("")


def test_who_knows_it_can_prove_that(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "token")
    token, proof = file.read(), file.proof(1080, "a")
    assert TokenFile(tmp_path / "token").proof(1080, "a") == proof
    assert token not in proof
    assert file.proof(1080, "b") != proof
    assert file.proof(1081, "a") != proof  # or one who passes the question on would be taken for it
    assert TokenFile(tmp_path / "other").proof(1080, "a") != proof


def test_the_token_of_a_page_is_for_one_run(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "token")
    run, next_run = RunTokens(file, 1080), RunTokens(file, 1080)
    token = run.of_page()
    assert run.of_page() == token
    assert file.read() not in token
    assert run.is_right(token)
    assert not next_run.is_right(token)
    assert not file.is_right(token)  # nor is it the secret for others
    for wrong in ("", token[:-1], token + "a", token.upper() + "A", "\u20ac"):
        assert not run.is_right(wrong)


def test_the_kept_token_is_for_each_run_and_a_new_one_ends_both(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "token")
    run = RunTokens(file, 1080)
    kept, of_page = file.read(), run.of_page()
    assert run.is_right(kept)
    assert run.proof("a") == file.proof(1080, "a")
    file.renew()
    assert not run.is_right(kept)
    assert not run.is_right(of_page)
    assert run.is_right(run.of_page())


def test_where_no_token_can_be_made_no_page_is_right(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = RunTokens(TokenFile(tmp_path / "file" / "token"), 1080)
    with pytest.raises(ConfigError):
        run.of_page()
    assert not run.is_right("")

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import rules

from proxy.rule_terms import Network

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", rules.CASES)
def test_every_case_is_loaded_and_has_hits(name: str, tmp_path: Path) -> None:
    texts, lines = rules.CASES[name](700)
    (tmp_path / "list").write_text("\n".join(lines))
    made = rules.load(texts, tmp_path)
    decided = {made.decide(address, Network.TCP).source for address in rules.asked(700)}
    assert len(decided) > 1
    if name in ("domains", "YAML"):
        assert "rule 1" in decided


def test_as_many_entries_as_are_asked_for() -> None:
    for name, case in rules.CASES.items():
        texts, lines = case(700)
        count = len(lines) - (name == "YAML") if lines else len(texts)
        assert count == (7 if name == "expressions" else 700)
        assert len(set(texts + lines)) == len(texts + lines)


def test_the_figures_of_a_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "LOOK_UPS", 1000)
    names = [figure.name for figure in rules.figures_of("domains", 50, tmp_path, "")]
    assert names == ["domains: load", "domains: look-up", "domains: loop waits", "domains: memory"]

"""How long a function, a class and a module may be, read from the source (docs/architecture.md).

A definition that breaks a budget says why, in a comment inside it that has the word "budget".
"""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path
from typing import TypeAlias

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "proxy").rglob("*.py"))
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

FUNCTION_LINES = 40  # without the docstring
CLASS_LINES = 250
ATTRIBUTES = 12  # that __init__ sets
MODULE_LINES = 400
POSITIONAL = 5  # parameters, without self


def docstring_lines(node: Function) -> int:
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is None or first.end_lineno is None:
        return 0
    return first.end_lineno - first.lineno + 1


def attributes(node: ast.ClassDef) -> int:
    """Names that __init__ sets on self, however often."""
    found = set()
    for init in node.body:
        if isinstance(init, ast.FunctionDef) and init.name == "__init__":
            for child in ast.walk(init):
                if (
                    isinstance(child, ast.Attribute)
                    and isinstance(child.ctx, ast.Store)
                    and isinstance(child.value, ast.Name)
                    and child.value.id == "self"
                ):
                    found.add(child.attr)
    return len(found)


def positional(node: Function) -> int:
    names = [arg.arg for arg in node.args.posonlyargs + node.args.args]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def lines(node: ast.AST) -> range:
    assert isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    assert node.end_lineno is not None
    return range(node.lineno, node.end_lineno + 1)


def costs(node: ast.AST) -> list[tuple[str, int, int]]:
    """What a definition spends and may spend."""
    if isinstance(node, ast.ClassDef):
        return [("lines", len(lines(node)), CLASS_LINES), ("attributes", attributes(node), ATTRIBUTES)]
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        length = len(lines(node)) - docstring_lines(node)
        return [("lines", length, FUNCTION_LINES), ("positional parameters", positional(node), POSITIONAL)]
    return []


def excuses(source: str) -> set[int]:
    """The lines whose comment speaks of a budget."""
    if "budget" not in source:
        return set()
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0] for token in tokens if token.type == tokenize.COMMENT and "budget" in token.string}


def overruns(source: str) -> list[str]:
    """Every budget that is broken without a word about it. A comment counts for the innermost definition around it."""
    tree = ast.parse(source)
    definitions = [node for node in ast.walk(tree) if costs(node)]
    comments = excuses(source)
    excused = set()
    for line in comments:
        around = [node for node in definitions if line in lines(node)]
        if around:
            excused.add(min(around, key=lambda node: len(lines(node))))
    found = [
        f"{getattr(node, 'name', '')}: {spent} {what}, budget {budget}"
        for node in definitions
        for what, spent, budget in costs(node)
        if spent > budget and node not in excused
    ]
    length = len(source.splitlines())
    top_level = {line for line in comments if not any(line in lines(node) for node in definitions)}
    if length > MODULE_LINES and not top_level:
        found.append(f"module: {length} lines, budget {MODULE_LINES}")
    return found


def test_budgets() -> None:
    assert len(SOURCES) > 100
    found = {str(path.relative_to(ROOT)): overruns(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert {path: what for path, what in found.items() if what} == {}


# ---- the ruler itself: each budget kept to the last line, and broken by one


def function(body: int, *, docstring: int = 0, parameters: str = "") -> str:
    text = '    """' + "word\n" * (docstring - 1) + '"""\n' if docstring else ""
    return f"def f({parameters}):\n" + text + "    pass\n" * body


def init(count: int) -> str:
    return "class C:\n    def __init__(self):\n" + "".join(
        f"        self.a{i} = self.a{i} = {i}\n" for i in range(count)
    )


@pytest.mark.parametrize(
    ("kept", "broken", "what"),
    [
        (function(39), function(40), "f: 41 lines, budget 40"),
        (function(39, docstring=20), function(40, docstring=20), "f: 41 lines, budget 40"),
        ("async " + function(39), "async " + function(40), "f: 41 lines, budget 40"),
        ("class C:\n" + "    x = 1\n" * 249, "class C:\n" + "    x = 1\n" * 250, "C: 251 lines, budget 250"),
        (init(12), init(13), "C: 13 attributes, budget 12"),
        ("x = 1\n" * 400, "x = 1\n" * 401, "module: 401 lines, budget 400"),
        (function(1, parameters="a,b,c,d,e,*,f"), function(1, parameters="a,/,b,c,d,e,f"), "f: 6 positional"),
        (function(1, parameters="self,a,b,c,d,e"), function(1, parameters="self,a,b,c,d,e,f"), "f: 6 positional"),
    ],
)
def test_each_budget_has_its_bound(kept: str, broken: str, what: str) -> None:
    assert overruns(kept) == []
    (found,) = overruns(broken)
    assert found.startswith(what)


def test_a_comment_excuses_the_innermost_definition_around_it_and_no_other() -> None:
    comment = "    # over the budget, as the table is one\n"
    broken = function(50)
    excused = broken.replace("\n", "\n" + comment, 1)
    assert overruns(excused) == []
    assert overruns(comment.strip() + "\n" + broken) == ["f: 51 lines, budget 40"]
    assert overruns(excused + broken.replace("f(", "g(")) == ["g: 51 lines, budget 40"]
    assert overruns(broken + "    '# budget'\n") == ["f: 52 lines, budget 40"]
    method = "class C:\n    # over the budget\n    def f(self):\n" + "        pass\n" * 40
    assert overruns(method) == ["f: 41 lines, budget 40"]
    assert overruns("# over the budget\n" + "x = 1\n" * 400) == []

"""Scorers and loaders read model text and data files as data: the published ones of Plot2Code, GUI-R1, OS-Atlas and
GUI-Odyssey call exec or eval on them. Only `vlmrl.sandbox` runs scripts."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {"eval", "exec", "compile", "__import__", "execfile"}
FILES = sorted(
    file
    for folder in ("tasks", "vlmrl/answers", "vlmrl/rewards", "vlmrl/loading", "vlmrl/evaluation")
    for file in (ROOT / folder).rglob("*.py")
    if "samples" not in file.parts
)


def called(source: str) -> set[str]:
    """Names that are called or passed on, builtins' dotted forms included."""
    nodes = list(ast.walk(ast.parse(source)))
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return names | {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "builtins"
    }


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(ROOT)) for file in FILES])
def test_pitfall_no_text_is_evaluated(file: Path) -> None:
    assert not called(file.read_text(encoding="utf-8")) & FORBIDDEN


def test_evaluations_are_found() -> None:
    assert called("import builtins\nx = map(eval, y)\nbuiltins.exec(z)") >= {"eval", "exec"}
    assert not called("re.compile('a')\nmodel.eval()\nspec.loader.exec_module(m)") & FORBIDDEN

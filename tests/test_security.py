"""SECURITY.md promises what is tested: each promise names its tests, and each of them is there."""

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TEXT = (HERE.parent / "SECURITY.md").read_text(encoding="utf-8")
NAMED = re.findall(r"^`([\w/]+\.py)::(\w+)`$", TEXT, re.MULTILINE)


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_what_is_named_is_there(file: str, name: str) -> None:
    tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_promise_names_a_test() -> None:
    """A paragraph of "What is promised" begins with what it is about, and ends with the tests that hold it."""
    promised = TEXT.partition("## What is promised\n")[2].partition("\n## ")[0].strip()
    paragraphs = promised.split("\n\n")
    assert len(paragraphs) > 8
    for paragraph in paragraphs:
        assert re.match(r"\*\*[^*]+\.\*\* ", paragraph), paragraph
        assert re.search(r"^`[\w/]+\.py::\w+`\Z", paragraph, re.MULTILINE), paragraph


def test_each_kind_of_attack_is_named() -> None:
    there = {f"attacks/{file.name}" for file in (HERE / "attacks").glob("test_*.py")}
    assert there <= {file for file, _ in NAMED}

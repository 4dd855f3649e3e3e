"""`__all__` is what a module offers: complete, true, and a tuple, in every module."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT / "btx_core" / "src", *sorted(ROOT.glob("adapters/*/src")))
MODULES = {
    ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
    for source in SOURCES
    for path in sorted(source.rglob("*.py"))
    if path.name != "__main__.py"
}


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_defines_for_others_is_in_its_all(name: str) -> None:
    public = [
        node.name
        for node in ast.parse(MODULES[name].read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]

    exported = getattr(importlib.import_module(name), "__all__", ())

    assert isinstance(exported, tuple)
    assert [each for each in public if each not in exported] == []


@pytest.mark.parametrize("name", MODULES)
def test_what_is_in_all_is_there_once(name: str) -> None:
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", ())

    assert [each for each in exported if not hasattr(module, each)] == []
    assert len(set(exported)) == len(exported)

"""The import contracts name the tree as it is, and they bite."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

Contracts = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def config(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]


@pytest.fixture(scope="module")
def contracts(config: dict[str, Any]) -> Contracts:
    return {contract["id"]: contract for contract in config["contracts"]}


def test_every_module_of_btx_has_a_layer_and_every_layer_a_module(contracts: Contracts, root: Path) -> None:
    entries = [entry.strip() for layer in contracts["layers"]["layers"] for entry in layer.split("|")]
    planned = {entry.strip("()") for entry in entries if entry.startswith("(")}
    present = {
        path.stem
        for path in (root / "btx_core" / "src" / "btx").iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.stem != "__init__"
    }

    assert present - planned == set(entries) - {f"({name})" for name in planned}


def test_every_adapter_is_under_the_contracts(config: dict[str, Any], contracts: Contracts, root: Path) -> None:
    adapters = {path.name for path in root.glob("adapters/*/src/*") if (path / "__init__.py").exists()}

    assert set(config["root_packages"]) == {"btx"} | adapters
    assert set(contracts["core"]["forbidden_modules"]) == adapters
    assert {"btx.bridges"} <= set(contracts["libraries"]["allowed_importers"]) <= {"btx.bridges"} | adapters
    assert set(contracts["adapters"]["layers"][1].split(" | ")) == adapters
    assert {f"{name}.sim" for name in adapters} <= set(contracts["engine"]["allowed_importers"])
    for name in adapters:
        skin = contracts[f"skin-{name.removeprefix('btx_')}"]
        assert (skin["source_modules"], skin["forbidden_modules"]) == ([f"{name}.sim"], [f"{name}.*"])


@pytest.fixture(scope="module")
def copied_tree(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources, to put a stray module into."""
    copy = tmp_path_factory.mktemp("tree")
    for source in (root / "btx_core" / "src", *root.glob("adapters/*/src")):
        shutil.copytree(source, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("btx.stray", "", "layers"),
        ("btx.model.stray", "import btx.rules", "layers"),
        ("btx.runtime.stray", "import btx.bridges", "layers"),
        ("btx.bt.stray", "import btx.sim", "facade"),
        ("btx.sim.stray", "import btx.rules.filters", "oracle"),
        ("btx.rules.stray", "import socket", "pure"),
        ("btx.model.stray", "from time import time_ns", "pure"),
        ("btx.tools.stray", "import backtrader", "backtrader"),
        ("btx_binance.stray", "import backtrader", "backtrader"),
        ("btx.runtime.stray", "import ccxt.pro", "libraries"),
        ("btx.tools.stray", "import sqlalchemy", "database"),
        ("btx.tools.stray", "import btx_binance", "core"),
        ("btx_binance.stray", "import btx.bt", "adapters"),
        ("btx_binance.stray", "import btx", "door"),
        ("btx_binance.stray", "import btx.sim", "engine"),
        ("btx_binance.sim.stray", "import btx_binance.plugin", "skin-binance"),
        ("btx_bybit.stray", "import btx_binance", "adapters"),
    ],
)
def test_an_import_across_the_layers_is_found(
    copied_tree: Path, root: Path, module: str, line: str, contract: str
) -> None:
    stray = copied_tree / f"{module.replace('.', '/')}.py"
    stray.write_text(f"{line}\n", encoding="utf-8")

    try:
        verdict = lint_imports(contract, root=root, tree=copied_tree)
    finally:
        stray.unlink()

    assert "Contracts: 0 kept, 1 broken." in verdict
    assert module in verdict


def lint_imports(contract: str, *, root: Path, tree: Path) -> str:
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run(
        [linter, "--no-logo", "--no-cache", "--config", root / "pyproject.toml", "--contract", contract],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stdout + run.stderr

import tomllib
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def distributions(root: Path) -> dict[str, Path]:
    """Every distribution of this repository: its name and its folder."""
    projects = [root / "btx_core" / "pyproject.toml", *sorted(root.glob("adapters/*/pyproject.toml"))]
    return {
        tomllib.loads(project.read_text(encoding="utf-8"))["project"]["name"]: project.parent for project in projects
    }

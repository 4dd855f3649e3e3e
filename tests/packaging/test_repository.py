import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Written in halves, because this file is tracked too.
REGISTRIES = [
    f"{name}.{top}"
    for name, top in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("pypi", "python.org"),
        ("conda", "io"),
        ("anaconda", "org"),
        ("npmjs", "org"),
        ("crates", "io"),
        ("golang", "org"),
    )
]
INDEX_OPTION = re.compile(r"--?(extra-)?index-url|--find-links|/" + "simple/")
MACHINE_PATH = re.compile(r"(?<![\w.~/-])/(root|work|home/\w+|Users/\w+)/")


@pytest.fixture(scope="module")
def tracked(root: Path) -> dict[str, str]:
    """Every text file that is, or is about to be, in the repository."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip(f"this tree is not a git repository: {listing.stderr.strip()}")
    texts = {}
    for name in filter(None, listing.stdout.split("\0")):
        path = root / name
        if path.is_file() and b"\0" not in path.read_bytes():
            texts[name] = path.read_text(encoding="utf-8")
    return texts


def test_no_tracked_file_names_a_package_registry(tracked: dict[str, str]) -> None:
    naming = {
        name: word
        for name, text in tracked.items()
        for word in (*REGISTRIES, *(match.group() for match in INDEX_OPTION.finditer(text)))
        if word in text and name != "tests/packaging/test_repository.py"
    }

    assert naming == {}


def test_no_tracked_file_contains_a_path_of_this_machine(tracked: dict[str, str], root: Path) -> None:
    # Of one part a folder may be called as one of ours is: /docs, /tmp.
    folders = [str(path) for path in (root, Path.home()) if len(path.parts) > 2]
    own = re.compile("|".join([MACHINE_PATH.pattern, *(rf"(?<![\w.~/-]){re.escape(path)}/" for path in folders)]))

    naming = {name for name, text in tracked.items() if own.search(text)}

    assert naming == set()


def test_constraints_are_bare_pins_in_order(root: Path) -> None:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert lines == sorted(lines, key=str.lower)


def test_every_requirement_of_the_repository_is_pinned(root: Path, distributions: dict[str, Path]) -> None:
    constraints = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in constraints}

    groups = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    wanted = [Requirement(text) for texts in groups.values() for text in texts]
    for folder in distributions.values():
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        extras = project.get("optional-dependencies", {}).values()
        wanted += [Requirement(text) for texts in (project["dependencies"], *extras) for text in texts]

    foreign = [requirement for requirement in wanted if requirement.name not in distributions]

    assert [
        str(requirement)
        for requirement in foreign
        if pins.get(canonicalize_name(requirement.name), "none") not in requirement.specifier
    ] == []


def test_every_distribution_carries_the_licence(root: Path, distributions: dict[str, Path]) -> None:
    licence = (root / "LICENSE").read_bytes()

    for folder in distributions.values():
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]

        assert project["license"] == "GPL-3.0-or-later"
        assert (folder / "LICENSE").read_bytes() == licence


def test_ci_runs_the_command_for_the_tests_that_the_readme_gives(root: Path) -> None:
    command = "python3 -m venv .venv && .venv/bin/pip install nox && .venv/bin/nox -s"
    readme = (root / "README.md").read_text(encoding="utf-8")
    ci = (root / ".ci" / "run").read_text(encoding="utf-8")

    assert f"{command} demo" in readme
    assert f"{command} tests" in readme
    assert f"{command} tests" in ci

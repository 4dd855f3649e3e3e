"""What the pages say is what the code does."""

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from btx import hookspecs
from btx.defaults import open_venue
from btx.tools.venues import matrix_of, page_of

HOOKS: dict[str, Callable[..., Any]] = {name: spec for name, spec in vars(hookspecs).items() if name.startswith("btx_")}


@pytest.fixture(scope="module")
def hook_pages(root: Path) -> dict[str, str]:
    """The pages of the hooks, by hook."""
    folder = root / "docs" / "reference" / "hooks"
    return {page.stem: page.read_text(encoding="utf-8") for page in folder.glob("btx_*.md")}


def test_every_hook_has_a_page_of_its_own_that_begins_with_its_exact_arguments(hook_pages: dict[str, str]) -> None:
    assert set(hook_pages) == set(HOOKS)
    for name, spec in HOOKS.items():
        assert hook_pages[name].startswith(f"# `{name}({', '.join(inspect.signature(spec).parameters)})`\n")


def test_every_hook_is_typed_through_and_through() -> None:
    for name, spec in HOOKS.items():
        signature = inspect.signature(spec)
        assert signature.return_annotation is not inspect.Signature.empty, name
        assert all(each.annotation is not inspect.Parameter.empty for each in signature.parameters.values()), name


@pytest.mark.parametrize("name", HOOKS)
def test_a_page_says_when_on_which_thread_what_of_each_argument_and_shows_it(
    name: str, hook_pages: dict[str, str]
) -> None:
    prose, example = hook_pages[name].split("```python\n")

    assert "Called" in prose
    assert re.search("btx-io|thread", prose)
    assert "Returns" in prose
    for argument in inspect.signature(HOOKS[name]).parameters:
        assert f"`{argument}`" in prose, name
    (shown,) = ast.parse(example.partition("```")[0]).body
    assert isinstance(shown, ast.FunctionDef)
    assert shown.name == name
    assert {argument.arg for argument in shown.args.args} <= set(inspect.signature(HOOKS[name]).parameters)


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_called_by_the_core(name: str, root: Path) -> None:
    core = "".join(path.read_text(encoding="utf-8") for path in (root / "btx_core" / "src" / "btx").glob("*.py"))

    assert re.search(rf"""_ask\("{name}"|\.hook\.{name}\b|plugin\.{name}\(""", core)


def test_the_index_of_the_explanations_is_complete_and_in_order(root: Path) -> None:
    folder = root / "docs" / "explanation"
    index = (folder / "README.md").read_text(encoding="utf-8")

    listed = re.findall(r"^\| \[(\d{4})\]\((\d{4}-[\w-]+\.md)\) \|", index, flags=re.MULTILINE)

    assert [file for _, file in listed] == sorted(path.name for path in folder.glob("0*.md"))
    assert all(file.startswith(f"{number}-") for number, file in listed)
    for number, file in listed:
        assert (folder / file).read_text(encoding="utf-8").startswith(f"# {number} ")


def pages(root: Path) -> list[Path]:
    folders = ("btx_core", "adapters", "benchmarks", "changes", "docs")
    return [*root.glob("*.md"), *(path for folder in folders for path in (root / folder).rglob("*.md"))]


def test_every_link_between_pages_leads_somewhere(root: Path) -> None:
    dead = [
        f"{page.relative_to(root)}: {target}"
        for page in pages(root)
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]

    assert dead == []


def test_every_python_example_in_the_pages_can_be_read(root: Path) -> None:
    for page in pages(root):
        for example in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
            ast.parse(example, filename=str(page))


def test_every_adapter_has_a_page_of_what_its_venue_does_made_of_what_it_says(root: Path) -> None:
    folder = root / "docs" / "reference" / "venues"
    adapters = {path.name.removeprefix("btx_") for path in (root / "adapters").iterdir() if path.is_dir()}

    assert {page.stem for page in folder.glob("*.md")} == adapters
    for name in adapters:
        # Out of date? `btx venues NAME --markdown > docs/reference/venues/NAME.md`
        assert (folder / f"{name}.md").read_text(encoding="utf-8") == page_of(open_venue(name).info)


def test_the_matrix_shows_every_adapter_side_by_side_as_it_says_of_its_venue(root: Path) -> None:
    adapters = sorted(path.name.removeprefix("btx_") for path in (root / "adapters").iterdir() if path.is_dir())

    # Out of date? `btx venues --markdown > docs/reference/matrix.md`
    page = (root / "docs" / "reference" / "matrix.md").read_text(encoding="utf-8")
    assert page == matrix_of([open_venue(name).info for name in adapters])


def test_the_site_builds_without_a_warning(root: Path, tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=root,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert built.returncode == 0, built.stderr
    assert "buy_bracket" in (tmp_path / "site" / "tutorial" / "first-bracket" / "index.html").read_text(
        encoding="utf-8"
    )

"""A stranger's first minute: `btx new`, an environment of its own, and a suite that is green at once."""

import ast
import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest
from click.testing import CliRunner

from btx.cli import cli
from btx.errors import ConfigError
from btx.scaffold.new import new_adapter


@pytest.fixture(scope="module")
def kraken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution that `btx new kraken` writes."""
    into = tmp_path_factory.mktemp("scaffold")
    outcome = CliRunner().invoke(cli, ["new", "kraken", "--into", str(into)], catch_exceptions=False)
    assert outcome.exit_code == 0
    assert f"cd {into / 'btx-kraken'}" in outcome.output
    return into / "btx-kraken"


@pytest.fixture(scope="module")
def perps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution that `btx new perps --margin` writes."""
    into = tmp_path_factory.mktemp("scaffold")
    assert CliRunner().invoke(cli, ["new", "perps", "--margin", "--into", str(into)]).exit_code == 0
    return into / "btx-perps"


def texts_of(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


@pytest.mark.parametrize("written", ["kraken", "perps"])
def test_nothing_of_the_template_s_own_name_is_left(written: str, request: pytest.FixtureRequest) -> None:
    texts = texts_of(request.getfixturevalue(written))

    assert {"toy" in path.lower() for path in texts} == {False}
    assert [path for path, text in texts.items() if "toy" in text.lower()] == []
    assert f"src/btx_{written}/sim/app.py" in texts
    assert ".github/workflows/tests.yml" in texts


def test_an_adapter_without_a_market_on_margin_has_not_a_word_of_one(kraken: Path, perps: Path) -> None:
    spot, both = texts_of(kraken), texts_of(perps)
    sources = [text for path, text in spot.items() if path.endswith(".py")]

    assert [each for each in sources if any(word in each.lower() for word in ("margin", "linear", "perpet"))] == []
    more = {path.replace("perps", "kraken") for path in both} - spot.keys()
    assert more == {f"src/btx_kraken/{name}" for name in ("margin.py", "sim/margin.py", "sim/perpetuals.py")}
    assert "FUT" not in spot["README.md"]
    assert "FUT" in both["README.md"]
    assert [path for path, text in both.items() if "# margin\n" in text or "<!--" in text] == []


def test_what_has_to_be_made_true_of_a_venue_is_at_most_300_lines_of_code(kraken: Path) -> None:
    """Codec, paths, streams, signing, addresses and error table; blank lines, words and imports are none."""
    files = ("api", "broker", "codec", "config", "errors", "feed", "store", "stream")

    assert sum(lines_of_code(kraken / f"src/btx_kraken/{each}.py") for each in files) <= 300


def lines_of_code(path: Path) -> int:
    """How many lines of a module do something: no blank ones, comments, docstrings, imports and `__all__`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    words: set[int] = set()
    for node in ast.walk(tree):
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_export = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if is_docstring or is_export or isinstance(node, ast.Import | ast.ImportFrom):
            words |= set(range(node.lineno, node.end_lineno + 1))
    lines = path.read_text(encoding="utf-8").splitlines()
    return sum(
        number not in words and bool(line.strip()) and not line.strip().startswith("#")
        for number, line in enumerate(lines, start=1)
    )


def test_a_name_of_several_words_is_a_class_a_package_and_a_distribution(tmp_path: Path) -> None:
    new_adapter("my_venue2", tmp_path)

    folder = tmp_path / "btx-my-venue2"
    assert 'my_venue2 = "btx_my_venue2.plugin"' in (folder / "pyproject.toml").read_text()
    assert "class MyVenue2Broker(" in (folder / "src/btx_my_venue2/broker.py").read_text()


def test_the_longest_name_makes_no_line_too_long(tmp_path: Path) -> None:
    files = new_adapter("interactive_brok", tmp_path, margin=True)

    lines = [line for path in files if path.suffix == ".py" for line in path.read_text(encoding="utf-8").splitlines()]
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Kraken", "cannot name a venue"),
        ("2nd", "cannot name a venue"),
        ("a__b", "cannot name a venue"),
        ("../up", "cannot name a venue"),
        ("x" * 17, "at most 16"),
        ("core", "btx-core is a part of btx"),
        ("binance", "btx-binance is a part of btx"),
    ],
)
def test_a_name_that_will_not_do_is_refused_before_anything_is_written(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=why):
        new_adapter(name, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_an_adapter_that_can_be_imported_already_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "btx_known").mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ConfigError, match="installed already"):
        new_adapter("known", tmp_path)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(
        ConfigError, match=r"btx-kraken cannot be written \(.+\): write the adapter elsewhere with --into"
    ):
        new_adapter("kraken", tmp_path / "file")


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "btx-kraken").mkdir()

    with pytest.raises(ConfigError, match="is there already"):
        new_adapter("kraken", tmp_path)

    assert list((tmp_path / "btx-kraken").iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_what_is_generated_is_green_in_an_environment_of_its_own(
    kraken: Path, perps: Path, root: Path, tmp_path: Path
) -> None:
    python = environment(tmp_path)

    for folder in (root / "btx_core", kraken, perps):
        run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", folder, cwd=tmp_path)

    for folder in (kraken, perps):
        for tool in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]):
            run(python, "-m", *tool, cwd=folder)
    # Not all the cards: tests/conformance plays them, with the code that this was copied from.
    assert " passed" in run(python, "-m", "pytest", "-q", "-k", "not FLT and not END", cwd=kraken)


def environment(folder: Path) -> Path:
    """A new virtual environment that sees the libraries of this one behind its own; returns its interpreter."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return python


def run(*command: object, cwd: Path) -> str:
    # Without the working tree's paths: what is imported is what was installed.
    words = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    completed = subprocess.run(
        [str(word) for word in command], env=words, cwd=cwd, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout

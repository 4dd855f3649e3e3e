"""A stranger's first minute: `btx new`, an environment of its own, and a suite that is green at once."""

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


def test_nothing_of_the_template_s_own_name_is_left(kraken: Path) -> None:
    files = [path for path in kraken.rglob("*") if path.is_file()]
    texts = {path.relative_to(kraken): path.read_text(encoding="utf-8") for path in files}

    assert {"toy" in str(path).lower() for path in texts} == {False}
    assert [path for path, text in texts.items() if "toy" in text.lower()] == []
    assert Path("src/btx_kraken/sim/app.py") in texts
    assert Path(".github/workflows/tests.yml") in texts


def test_a_name_of_several_words_is_a_class_a_package_and_a_distribution(tmp_path: Path) -> None:
    new_adapter("my_venue2", tmp_path)

    folder = tmp_path / "btx-my-venue2"
    assert 'my_venue2 = "btx_my_venue2.plugin"' in (folder / "pyproject.toml").read_text()
    assert "class MyVenue2Broker:" in (folder / "src/btx_my_venue2/broker.py").read_text()


def test_the_longest_name_makes_no_line_too_long(tmp_path: Path) -> None:
    files = new_adapter("interactive_brok", tmp_path)

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


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "btx-kraken").mkdir()

    with pytest.raises(ConfigError, match="is there already"):
        new_adapter("kraken", tmp_path)

    assert list((tmp_path / "btx-kraken").iterdir()) == []


@pytest.mark.slow
def test_what_is_generated_is_green_in_an_environment_of_its_own(kraken: Path, root: Path, tmp_path: Path) -> None:
    python = environment(tmp_path)

    for folder in (root / "btx_core", kraken):
        run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", folder, cwd=tmp_path)

    for tool in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]):
        run(python, "-m", *tool, cwd=kraken)
    # Not all the cards: tests/conformance plays them, with the code that this was copied from.
    assert " passed" in run(python, "-m", "pytest", "-q", "-k", "not linear and not FLT and not END", cwd=kraken)


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

"""Each distribution as its users get it: built, and installed into an environment of its own."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheels(distributions: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of every distribution, built by way of its source distribution."""
    built = {}
    for name, folder in distributions.items():
        target = tmp_path_factory.mktemp(name)
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, folder)
        (built[name],) = target.glob("*.whl")
    return built


def test_a_wheel_holds_its_package_its_types_and_the_licence(wheels: dict[str, Path]) -> None:
    for name, wheel in wheels.items():
        package = "btx" if name == "btx-core" else name.replace("-", "_")
        files = zipfile.ZipFile(wheel).namelist()

        assert {file.split("/")[0] for file in files if ".dist-info/" not in file} == {package}
        assert f"{package}/py.typed" in files
        assert [file for file in files if file.endswith(".dist-info/licenses/LICENSE")]


def test_the_core_installs_alone_and_names_the_cure_for_a_missing_venue(
    wheels: dict[str, Path], root: Path, tmp_path: Path
) -> None:
    python = fresh_environment(tmp_path)

    pip_install(python, root, wheels["btx-core"])

    assert "binance" not in run(python, "-c", "import btx; print(*btx.venues())")
    assert "pip install btx-binance" in run(
        python,
        "-c",
        "import btx\ntry: btx.load('binance')\nexcept btx.errors.UnknownVenueError as error: print(error)",
    )
    for command in ([python.with_name("btx")], [python, "-m", "btx"]):
        assert "demo" in run(*command, "--help")


def test_an_adapter_brings_the_core_and_is_found(wheels: dict[str, Path], root: Path, tmp_path: Path) -> None:
    for name in wheels.keys() - {"btx-core"}:
        python = fresh_environment(tmp_path / name)

        pip_install(python, root, wheels[name], wheels["btx-core"])

        assert name.removeprefix("btx-") in run(python, "-c", "import btx; print(*btx.venues())")
        assert "No broken requirements" in run(python, "-m", "pip", "check")


def fresh_environment(folder: Path) -> Path:
    """A new virtual environment; returns its interpreter."""
    venv.create(folder / "venv", with_pip=True)
    return folder / "venv" / "bin" / "python"


def pip_install(python: Path, root: Path, *wheels: Path) -> None:
    run(python, "-m", "pip", "install", "--quiet", "--constraint", root / "constraints.txt", *wheels)


def run(*command: object) -> str:
    # Away from the working tree, and without its paths: what is imported is what was installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    completed = subprocess.run(
        [str(word) for word in command], env=environment, cwd="/", capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout

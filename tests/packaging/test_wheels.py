"""Each distribution as its users get it: built, and installed into an environment of its own."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # what is installed may have to be fetched and compiled


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
        # The kit's pytest plugin is found by pytest at each start, and must not import btx before coverage measures it.
        packages = {package, "btx_pytest"} if name == "btx-core" else {package}
        files = zipfile.ZipFile(wheel).namelist()

        assert {file.split("/")[0] for file in files if ".dist-info/" not in file} == packages
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


BROKEN = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "btx-broken"
version = "9.9"

[project.entry-points."btx.venues"]
broken = "btx_broken.plugin"

[tool.hatch.build.targets.wheel]
packages = ["btx_broken"]
"""


def broken_wheel(folder: Path) -> Path:
    """A third party's adapter that cannot be imported."""
    package = folder / "btx_broken"
    package.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(BROKEN)
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text("import no_such_library\n")
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder, folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_a_wheel_adds_its_venue_and_leaves_no_trace_and_a_broken_one_harms_nobody_else(
    wheels: dict[str, Path], root: Path, tmp_path: Path
) -> None:
    python = fresh_environment(tmp_path)
    pip_install(python, root, wheels["btx-binance"], wheels["btx-core"])
    assert venues(python) == ["binance"]
    (site,) = (tmp_path / "venv" / "lib").glob("python3*/site-packages")
    before = files_of(site, "bybit")
    assert before == set()

    others = [wheels[name] for name in ("btx-bybit", "btx-ctp", "btx-futu")]
    pip_install(python, root, *others, broken_wheel(tmp_path / "broken"))
    assert venues(python) == ["binance", "broken", "bybit", "ctp", "futu"]
    assert "No broken requirements" in run(python, "-m", "pip", "check")
    said = run(python, "-c", LOAD_ALL)
    assert said.splitlines()[0].startswith("broken: PluginError: the adapter 'broken' of btx-broken cannot be imported")
    assert said.splitlines()[1:] == ["binance: loaded", "bybit: loaded", "ctp: loaded", "futu: loaded"]

    run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "btx-bybit", "btx-broken")
    assert venues(python) == ["binance", "ctp", "futu"]
    assert files_of(site, "bybit") | files_of(site, "broken") == set()


LOAD_ALL = """
import btx
for name in ("broken", "binance", "bybit", "ctp", "futu"):
    try:
        btx.load(name, env="sim")
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}")
    else:
        print(f"{name}: loaded")
"""


def venues(python: Path) -> list[str]:
    return run(python, "-c", "import btx; print(*btx.venues())").split()


def files_of(site: Path, name: str) -> set[str]:
    """What an installed adapter has left behind in an environment."""
    return {str(path.relative_to(site)) for path in site.rglob(f"*btx_{name}*")}


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

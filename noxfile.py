"""The repository's chores, each in a virtual environment of its own: `nox -l` lists them."""

import os
import shlex
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests"]
nox.options.reuse_venv = "yes"  # a second run starts at once

ROOT = Path(__file__).parent
ADAPTERS = sorted(str(project.parent.relative_to(ROOT)) for project in ROOT.glob("adapters/*/pyproject.toml"))
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")


@nox.session
def demo(session: nox.Session) -> None:
    """Trade a strategy against the venue in the box. Arguments go to `btx demo`."""
    install(session)

    session.run("btx", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Lint, types and layers, then every test with its coverage. Arguments go to pytest."""
    install(session, *nox.project.dependency_groups(PYPROJECT, "docs", "lint", "test"))

    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("lint-imports", "--no-logo")
    # A chosen few tests say nothing about coverage. All of them wait for sockets and processes more than they compute,
    # so three at a time keep two cores busy; the tests of a file stay together, and files of many short tests run
    # beside those of few long ones. No table of lines nobody reached between a failure and the summary:
    # `coverage report`, in the session's environment, prints it afterwards.
    everything = ["--cov", "--cov-report=", "--tb=short", "--numprocesses=3", "--dist=loadfile", "--timeout=300"]
    session.run("pytest", *(session.posargs or everything))
    if not session.posargs:
        # The values and the rules are pure, so nothing in them is hard to reach. Says something only when it fails.
        pure = "--include=*/btx/model/*,*/btx/rules/*"
        session.run("coverage", "report", pure, "--fail-under=100", silent=True, log=False)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into site/. `nox -s docs -- serve` shows it while it is written."""
    install(session, *nox.project.dependency_groups(PYPROJECT, "docs"))

    session.run("mkdocs", *(session.posargs or ["build"]), env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def wheels(session: nox.Session) -> None:
    """Build every distribution into dist/."""
    session.install("-c", "constraints.txt", "build")

    for distribution in ("btx_core", *ADAPTERS):
        session.run("python", "-m", "build", "--outdir", "dist", distribution)


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks, or those named: `nox -s bench -- benchmarks/latency.py`."""
    install(session, *nox.project.dependency_groups(PYPROJECT, "test", "bench"))

    for script in session.posargs or sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("benchmarks/*.py")):
        session.run("python", script)


def install(session: nox.Session, *requirements: str) -> None:
    """Install every distribution from the working tree, with the versions that were tested together."""
    session.env["PYTHONPATH"] = None  # may be where nox itself lies, and nothing of that is for the session
    if not any(Path(session.virtualenv.location).glob("**/cryptofeed-*.dist-info")):
        if missing := missing_for_cryptofeed():
            session.error(
                f"cryptofeed is compiled where it is installed, and this machine lacks {missing}: run "
                "`sudo apt install build-essential python3-dev` (Debian, Ubuntu), "
                "`sudo dnf install gcc python3-devel` (Fedora) or `xcode-select --install` (macOS), "
                "then this command again"
            )
        session.log("The first time takes about a minute, most of it to compile cryptofeed.")
    sources = [argument for path in ("btx_core[plot]", *ADAPTERS) for argument in ("-e", f"./{path}")]
    session.install("-c", "constraints.txt", *sources, *requirements)


def missing_for_cryptofeed() -> str | None:
    """What this machine lacks to compile cryptofeed, which has no wheel; None if nothing or not known."""
    if os.name != "posix":
        return None
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("")
        if not succeeds(*compiler, "-c", str(source), "-o", f"{source}.o"):
            return f"a C compiler ({compiler[0]})"
        source.write_text("#include <Python.h>\n")
        include = sysconfig.get_path("include")
        if not succeeds(*compiler, f"-I{include}", "-c", str(source), "-o", f"{source}.o"):
            return "the C headers of Python (Python.h)"
    return None


def succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False

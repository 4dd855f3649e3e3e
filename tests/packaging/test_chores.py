"""The noxfile, as someone with a fresh machine meets it."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_missing_compiler_is_one_sentence_that_says_what_to_install(root: Path, tmp_path: Path) -> None:
    demo = nox("-s", "demo", root=root, envdir=tmp_path, CC="no-such-compiler")

    assert demo.returncode != 0
    assert last_line(demo).startswith("nox > Session demo aborted: cryptofeed is compiled")
    for cure in ("(no-such-compiler)", "apt install", "dnf install", "xcode-select --install"):
        assert cure in last_line(demo)
    assert "pip install" not in demo.stdout


def test_missing_headers_of_python_are_named(root: Path, tmp_path: Path) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\ncase "$*" in *-I*) exit 1 ;; esac\n', encoding="utf-8")
    compiler.chmod(0o755)

    demo = nox("-s", "demo", root=root, envdir=tmp_path, CC=str(compiler))

    assert demo.returncode != 0
    assert "lacks the C headers of Python (Python.h)" in last_line(demo)


def nox(*arguments: str, root: Path, envdir: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nox", "--nocolor", "--envdir", str(envdir), *arguments],
        cwd=root,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def last_line(run: subprocess.CompletedProcess[str]) -> str:
    return run.stdout.strip().splitlines()[-1]

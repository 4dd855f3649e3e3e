"""Writes a new adapter: copies of one that works, under another name.

The package is the toy venue of ``btx.testing``, which passes the conformance kit; what stands around it in a
distribution is in ``template``, with ``.in`` after each name, so that no tool takes it for a part of btx.  Both are
read as files: nothing of them is imported here.

The toy venue has a market on margin, which an adapter may begin without.  What it is then written without is marked
in its text: a line that ends with ``# margin``, or in Markdown ``<!-- margin -->``, with all that is indented below
it, and the files of ``_ON_MARGIN``.
"""

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from btx.errors import ConfigError
from btx.plugins import installed_venues

__all__ = ("distribution_name", "new_adapter")

_TEMPLATE = Path(__file__).parent / "template"
_PACKAGE = Path(__file__).parents[1] / "testing" / "toy"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LONGEST = 16
_TAKEN = ("binance", "bybit", "core", "ctp", "futu", "toy")
_MARK = re.compile(r" *(?:# margin|<!-- margin -->)$")
_OPEN, _CLOSING = "([{", (")", "]", "}")
_ON_MARGIN = {Path("margin.py"), Path("sim", "margin.py"), Path("sim", "perpetuals.py")}
_HIDDEN = {"github": ".github", "gitignore": ".gitignore"}  # names that tools pass over, in a package


def new_adapter(name: str, into: Path, *, margin: bool = False) -> tuple[Path, ...]:
    """Write the distribution ``btx-NAME`` into a folder of its own below ``into``; return its files.

    Its venue has a spot market, and with ``margin`` perpetuals, too.

    Raises:
        ConfigError: the name is none, or taken, or the folder is there, and nothing was written; or the disk
            takes no more of it.
    """
    _check(name)
    folder = into / distribution_name(name)
    if folder.exists():
        raise ConfigError(f"{folder} is there already: remove it, or write the adapter elsewhere with --into")
    words = _words(name)
    files = {folder / path: _renamed(text, words) for path, text in _files(name, margin=margin)}
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written ({error.strerror}): write the adapter elsewhere with --into"
        ) from error
    return tuple(files)


def distribution_name(name: str) -> str:
    """Return what the distribution of a venue's adapter is called."""
    return f"btx-{name.replace('_', '-')}"


def _check(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ConfigError(
            f"{name!r} cannot name a venue: write at most {_LONGEST} lower-case letters, digits and single "
            "underscores, a letter first, like 'kraken'"
        )
    if name in _TAKEN:
        raise ConfigError(f"{distribution_name(name)} is a part of btx: choose another name")
    if name in installed_venues() or importlib.util.find_spec(f"btx_{name}") is not None:
        raise ConfigError(f"an adapter {name!r} is installed already: choose another name, or uninstall it first")


def _words(name: str) -> Mapping[str, str]:
    """Return what the template's words become, the longer ones first."""
    title = "".join(part.capitalize() for part in name.split("_"))
    return {
        "btx.testing.toy": f"btx_{name}",
        "btx-toy": distribution_name(name),
        "TOY": name.upper(),
        "Toy": title,
        "toy": name,
    }


def _renamed(text: str, words: Mapping[str, str]) -> str:
    return re.sub("|".join(map(re.escape, words)), lambda found: words[found[0]], text)


def _files(name: str, *, margin: bool) -> Iterator[tuple[Path, str]]:
    """Yield every file of the distribution with its text, not renamed yet."""
    for path in sorted(_TEMPLATE.rglob("*.in")):
        parts = path.relative_to(_TEMPLATE).with_suffix("").parts
        yield Path(*(_HIDDEN.get(part, part).replace("toy", name) for part in parts)), _text(path, margin=margin)
    package = Path("src", f"btx_{name}")
    yield package / "py.typed", ""
    for path in sorted(_PACKAGE.rglob("*.py")):
        inside = path.relative_to(_PACKAGE)
        if margin or inside not in _ON_MARGIN:
            yield package / inside, _text(path, margin=margin)


def _text(path: Path, *, margin: bool) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    chosen = [_MARK.sub("", line) for line in lines] if margin else _unmarked(lines)
    return "".join(f"{line}\n" for line in chosen)


def _unmarked(lines: Sequence[str]) -> list[str]:
    """Return the lines without those that are marked, and without what is indented below such a one."""
    kept: list[str] = []
    left_out: str | None = None  # the marked line, while what belongs to it may follow
    blank: list[str] = []  # lines behind it that belong to it if what follows does
    for line in lines:
        if left_out is not None:
            if not line.strip():
                blank.append(line)
                continue
            if _indent(line) > _indent(left_out):
                blank.clear()
                continue
            if _indent(line) == _indent(left_out) and left_out.endswith(tuple(_OPEN)) and line.strip() in _CLOSING:
                continue
            if kept and kept[-1].strip():  # else there are blank lines before it, and they will do
                kept += blank
            left_out = None
            blank.clear()
        if _MARK.search(line):
            left_out = _MARK.sub("", line)
        else:
            kept.append(line)
    return kept


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())

"""Reads what :mod:`btx.storage.recording` wrote, up to where a killed process left off."""

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from btx.errors import DataError
from btx.model.frames import Frame, FrameKind
from btx.storage.recording import SUFFIX, VERSION

__all__ = ("frame_of", "lines", "market_ns", "parts")

_GZIP = b"\x1f\x8b"  # begins every gzip file
_CHUNK = 1 << 20
_FRAMES = frozenset(kind.value for kind in FrameKind)


def parts(file: Path) -> tuple[Path, ...]:
    """Return the files of a recording in order, of whose parts ``file`` is one; of a folder, of its newest one.

    Raises:
        DataError: there is none, or the first part is not there any more.
    """
    if file.is_dir():
        firsts = sorted(file.glob(f"*-0001{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns)
        if not firsts:
            raise DataError(f"{file} holds no recording: one is made with btx.load(..., record=...)")
        file = firsts[-1]
    if not file.is_file():
        raise DataError(f"there is no file {file}")
    stem, _, number = file.name.removesuffix(SUFFIX).rpartition("-")
    if not file.name.endswith(SUFFIX) or not number.isdigit():
        return (file,)
    found = tuple(sorted(file.parent.glob(f"{stem}-????{SUFFIX}")))
    if not found[0].name.endswith(f"-0001{SUFFIX}"):
        raise DataError(f"{found[0]} is not the first part, which holds what a session starts with")
    return found


def lines(files: tuple[Path, ...]) -> Iterator[dict[str, Any]]:
    """Yield the lines of a recording in order; a part that was not written to its end stops there.

    Raises:
        DataError: a file is damaged in its middle, or is no recording.
    """
    for file in files:
        seen = 0
        for raw in _raw_lines(file):
            try:
                line = json.loads(raw)
                kind = line["k"]
            except (ValueError, LookupError, TypeError) as error:
                raise DataError(f"{file}: line {seen + 1} cannot be read: {raw[:80]!r}") from error
            if not seen and (kind != "header" or line.get("version") != VERSION):
                raise DataError(f"{file} is no recording of this version of btx")
            seen += 1
            yield line
        if not seen:
            raise DataError(f"{file} is empty: the process that wrote it was killed at once")


def frame_of(line: Mapping[str, Any]) -> Frame | None:
    """Return the frame of a line, None when it is of another kind."""
    if line["k"] not in _FRAMES:
        return None
    return Frame(
        kind=FrameKind(line["k"]),
        connection=line["c"],
        text=base64.b64decode(line["b"]) if "b" in line else line.get("t", ""),
        url=line.get("u", ""),
        method=line.get("q", ""),
        code=line.get("s"),
        headers=line.get("h", {}),
    )


def market_ns(line: Mapping[str, Any]) -> int | None:
    """Return the market's time of a line, None where it has no stamp."""
    stamp = line.get("m", line.get("w"))
    return None if stamp is None else int(stamp)


def _raw_lines(file: Path) -> Iterator[bytes]:
    rest = b""
    for text in _unpacked(file):
        *whole, rest = (rest + text).split(b"\n")
        yield from whole


def _unpacked(file: Path) -> Iterator[bytes]:
    """Yield what the members hold; the last may be cut off."""
    with file.open("rb") as source:
        if source.peek(2)[:2] not in {b"", _GZIP}:
            raise DataError(f"{file} is no recording: those end in {SUFFIX}, and btx.load(..., record=...) makes them")
        member, left = zlib.decompressobj(31), b""
        while chunk := left or source.read(_CHUNK):
            try:
                yield member.decompress(chunk)
            except zlib.error as error:
                raise DataError(f"{file} is damaged: {error}") from error
            left = member.unused_data
            if member.eof:
                member = zlib.decompressobj(31)

"""A file of lines that only grows; what a kill leaves of the last one is cut off when it is opened again."""

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ("LineFile", "MemoryLines")


class LineFile:
    """Lines that outlive the process, though not a loss of power. One writer at a time: see to that elsewhere."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def read(self) -> Iterator[str]:
        """Yield every line, with its end.

        Raises:
            OSError: the file is there and cannot be read.
        """
        if self._path.exists():
            with self._path.open(encoding="utf-8", newline="\n") as lines:
                yield from lines

    def write(self, line: str) -> None:
        """Add a line; its end is added here.

        Raises:
            OSError: the disk did not take it.
        """
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._cut_torn_end(self._file)
        os.write(self._file, f"{line}\n".encode())

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    @staticmethod
    def _cut_torn_end(file: int) -> None:
        """Go to the end of the last whole line, and let the file end there."""
        end = os.lseek(file, 0, os.SEEK_END)
        while end and os.pread(file, 1, end - 1) != b"\n":
            end -= 1
        os.ftruncate(file, end)
        os.lseek(file, end, os.SEEK_SET)


class MemoryLines:
    """The same without a file: for what ends with the run."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def read(self) -> Iterator[str]:
        """Yield every line, with its end."""
        yield from self._lines

    def write(self, line: str) -> None:
        """Add a line; its end is added here."""
        self._lines.append(f"{line}\n")

    def close(self) -> None:
        """Nothing to let go of."""

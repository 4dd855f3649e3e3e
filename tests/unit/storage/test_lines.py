"""A file of lines: it grows by whole lines, and forgets half of one."""

from pathlib import Path

import pytest

from btx.storage.lines import LineFile, MemoryLines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "lines"


def test_lines_come_back_in_their_order_after_the_file_was_closed(path: Path) -> None:
    lines = LineFile(path)
    lines.write("one")
    lines.close()
    lines.write("two")
    lines.close()
    lines.close()

    assert list(LineFile(path).read()) == ["one\n", "two\n"]


def test_there_is_nothing_to_read_before_the_first_line(path: Path) -> None:
    assert list(LineFile(path).read()) == []
    assert not path.exists()


@pytest.mark.parametrize("torn", ["", "two and a ha", "x"])
def test_half_a_line_is_gone_when_the_next_is_written(path: Path, torn: str) -> None:
    path.parent.mkdir()
    path.write_text(f"one\n{torn}", encoding="utf-8")
    lines = LineFile(path)

    lines.write("three")
    lines.close()

    assert path.read_text(encoding="utf-8") == "one\nthree\n"


def test_a_file_that_is_half_a_line_begins_anew(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("half", encoding="utf-8")

    LineFile(path).write("one")

    assert path.read_text(encoding="utf-8") == "one\n"


def test_what_lies_in_memory_reads_the_same() -> None:
    lines = MemoryLines()

    lines.write("one")
    lines.close()

    assert list(lines.read()) == ["one\n"]

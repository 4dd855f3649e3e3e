"""Disks that are full, locked, damaged, missing, and processes that are killed."""

import asyncio
import os
import queue
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from btx.errors import ConfigError, JournalError
from btx.model.journal import Note
from btx.ports import Journal
from btx.storage.journal import open_journal, read_journal
from tests.unit.storage.samples import WAIT_S, append, journal_threads, numbers, sent, written

BUSY_S = 0.02


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def faults() -> "queue.SimpleQueue[str]":
    return queue.SimpleQueue()


@pytest.fixture
def journal(path: Path, faults: "queue.SimpleQueue[str]") -> Iterator[Journal]:
    journal = open_journal(path, on_fault=faults.put, busy_timeout_s=BUSY_S, retry_s=BUSY_S)
    yield journal
    journal.close()


@pytest.fixture
def blocker(path: Path, journal: Journal) -> Iterator[sqlite3.Connection]:
    """Another program that has locked the database."""
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    yield blocker
    blocker.close()


# --- locked -------------------------------------------------------------------------------------------


def test_a_locked_database_refuses_the_intent_and_the_next_one_is_written(
    journal: Journal, blocker: sqlite3.Connection
) -> None:
    with pytest.raises(JournalError, match="another program has locked the database"):
        append(journal, sent(0))
    blocker.execute("ROLLBACK")
    append(journal, sent(1))

    assert numbers(written(journal)) == [1]


def test_what_was_posted_meanwhile_is_written_in_its_place(
    journal: Journal, blocker: sqlite3.Connection, faults: "queue.SimpleQueue[str]"
) -> None:
    journal.post(sent(0))
    assert "kept in memory" in faults.get(timeout=WAIT_S)
    journal.post(sent(1))
    with pytest.raises(JournalError):
        append(journal, sent(2))
    assert journal.unwritten == 2

    blocker.execute("ROLLBACK")
    append(journal, sent(3))

    assert "2 records that had waited are on disk" in faults.get(timeout=WAIT_S)
    assert faults.empty()  # told once, not with every try
    assert numbers(written(journal)) == [0, 1, 3]
    assert journal.unwritten == 0


def test_what_was_posted_is_written_though_nothing_follows(
    journal: Journal, blocker: sqlite3.Connection, faults: "queue.SimpleQueue[str]"
) -> None:
    journal.post(sent(0))
    faults.get(timeout=WAIT_S)

    blocker.execute("ROLLBACK")

    assert "1 records that had waited" in faults.get(timeout=WAIT_S)
    assert numbers(written(journal)) == [0]


def test_what_was_never_written_is_told_at_the_end(
    journal: Journal, blocker: sqlite3.Connection, faults: "queue.SimpleQueue[str]"
) -> None:
    journal.post(sent(0))

    journal.close()

    assert "kept in memory" in faults.get(timeout=WAIT_S)
    assert "was closed, 1 records were never written" in faults.get(timeout=WAIT_S)
    assert journal_threads() == []


def test_a_listener_that_breaks_does_not_stop_the_journal(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken(text: str) -> None:
        raise RuntimeError(text)

    journal = open_journal(path, on_fault=broken, busy_timeout_s=BUSY_S)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    journal.post(sent(0))
    with pytest.raises(JournalError):
        append(journal, sent(1))
    blocker.close()
    append(journal, sent(2))
    journal.close()

    assert numbers(written(journal)) == [0, 2]
    assert "the listener to the journal's faults broke" in caplog.text


def test_a_slow_disk_does_not_stall_the_loop(path: Path) -> None:
    journal = open_journal(path, busy_timeout_s=WAIT_S)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    async def trade() -> int:
        intent = asyncio.create_task(journal.append(sent(0), durable=True))
        turns = 0
        while turns < 1000:
            await asyncio.sleep(0)
            journal.post(sent(1))  # a cancel waits for nothing
            turns += 1
        assert not intent.done()
        blocker.execute("ROLLBACK")
        await asyncio.wait_for(intent, WAIT_S)
        return turns

    assert asyncio.run(trade()) == 1000
    blocker.close()
    journal.close()
    assert numbers(written(journal)) == [0] + [1] * 1000


def test_a_database_that_is_locked_for_good_cannot_be_opened(path: Path) -> None:
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")

    with pytest.raises(ConfigError, match="another program has locked the database"):
        open_journal(path, busy_timeout_s=BUSY_S)

    blocker.close()
    open_journal(path).close()


# --- full, read-only, missing -------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small disk; the limit on file sizes is tested all the same")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_refuses_the_intent_and_the_next_one_is_written_when_there_is_room(
    small_disk: Path, faults: "queue.SimpleQueue[str]"
) -> None:
    journal = open_journal(small_disk / "journal.sqlite", on_fault=faults.put)
    append(journal, sent(0))
    fill_up(small_disk / "ballast")
    large = Note(kind="LONG", text="x" * 100_000, time_ns=1)  # a small one may fit where the log was

    for _ in range(3):
        with pytest.raises(JournalError, match="the disk is full"):
            append(journal, large)
    journal.post(large)
    assert "the disk is full" in faults.get(timeout=WAIT_S)
    (small_disk / "ballast").unlink()
    append(journal, sent(2))
    journal.close()

    assert written(read_journal(small_disk / "journal.sqlite")) == [sent(0), large, sent(2)]


def test_a_disk_that_may_only_be_read_is_told_at_the_opening(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)

    with pytest.raises(
        ConfigError,
        match=r"no journal can be written here \(Read-only file system\): name another folder with BTX_HOME=",
    ):
        open_journal(small_disk / "new" / "journal.sqlite")


def fill_up(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def test_a_limit_on_file_sizes_refuses_the_intent_and_the_next_one_is_written_without_it(path: Path) -> None:
    """In a process of its own, because the limit holds for every file of it."""
    program = f"""
        import resource, sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parents[3])!r})
        from btx.errors import JournalError
        from btx.storage.journal import open_journal
        from tests.unit.storage.samples import append, numbers, sent, written

        journal = open_journal(Path({str(path)!r}))
        append(journal, sent(0))
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        try:
            append(journal, *map(sent, range(1, 100)))
        except JournalError as error:
            print("refused:", error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        append(journal, sent(100))
        journal.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)], capture_output=True, text=True, timeout=WAIT_S, check=True
    )

    assert "refused:" in done.stdout
    assert "the disk" in done.stdout
    *before, last = numbers(written(read_journal(path)))
    assert before == list(range(len(before)))
    assert last == 100


def test_a_path_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match="no journal can be written here"):
        open_journal(tmp_path / "file" / "journal.sqlite")


def test_a_file_that_went_away_is_told_and_written_again_when_it_is_back(
    path: Path, journal: Journal, blocker: sqlite3.Connection
) -> None:
    with pytest.raises(JournalError):  # after this it is opened anew
        append(journal, sent(0))
    blocker.close()
    path.rename(path.with_name("away"))
    with pytest.raises(JournalError, match="the file cannot be opened"):
        append(journal, sent(1))
    path.with_name("away").rename(path)

    append(journal, sent(2))

    assert numbers(written(journal)) == [2]


# --- damaged ------------------------------------------------------------------------------------------


def test_a_damaged_page_is_told_and_not_read_as_an_end(path: Path) -> None:
    journal = open_journal(path)
    append(journal, *(Note(kind="LONG", text="x" * 3000, time_ns=number) for number in range(20)), durable=False)
    journal.close()
    with path.open("r+b") as file:
        file.seek(8 * 4096)
        file.write(b"\xff" * 4096 * 4)

    with pytest.raises(JournalError, match=r"journal\.sqlite cannot be read: the file is damaged"):
        list(read_journal(path).records())


def test_a_damaged_record_is_told_with_its_place(path: Path, journal: Journal) -> None:
    append(journal, sent(0), sent(1))
    with sqlite3.connect(path) as database:
        database.execute("UPDATE records SET body = '{' WHERE sequence = 2")
    database.close()

    with pytest.raises(JournalError, match=r"journal\.sqlite, record 2: a record of kind sent is damaged"):
        journal.orders()


def test_a_table_that_somebody_dropped_is_told(path: Path, journal: Journal) -> None:
    database = sqlite3.connect(path)
    database.execute("DROP TABLE records")
    database.close()

    with pytest.raises(JournalError, match="no such table"):
        append(journal, sent(0))


# --- killed -------------------------------------------------------------------------------------------


@pytest.fixture
def child() -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, str(Path(__file__).with_name("writing_child.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        watchdog = threading.Timer(4 * WAIT_S, child.kill)
        watchdog.start()
        yield child
        watchdog.cancel()
        child.kill()


def test_a_killed_writer_leaves_all_it_was_promised_and_no_part_of_a_record(
    child: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    dice = random.Random(3)
    for turn in range(20):
        path = tmp_path / f"{turn}.sqlite"
        promised, lines = run_until_killed(child, path, after=dice.randrange(120))

        journal = open_journal(path)  # the lock died with its holder
        there = numbers(written(journal))
        append(journal, sent(len(there)))
        journal.close()

        assert there == list(range(len(there)))
        assert promised <= set(there), f"round {turn}, {lines} answers"


def run_until_killed(child: "subprocess.Popen[str]", path: Path, *, after: int) -> tuple[set[int], int]:
    """Kill a writer when it has answered ``after`` times; return the numbers it was promised."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(f"{path}\n")
    child.stdin.flush()
    pid = int(child.stdout.readline().removeprefix("pid "))
    with pytest.raises(ConfigError, match=f"is being written by process {pid}: one writer at a time"):
        open_journal(path)
    promised: set[int] = set()
    killed = False
    while True:
        if len(promised) >= after and not killed:
            os.kill(pid, signal.SIGKILL)
            killed = True
        line = child.stdout.readline()
        if line == "end\n":
            return promised, len(promised)
        promised.add(int(line))

"""A journal that works, and what its users may count on."""

import asyncio
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from btx.errors import ConfigError, JournalError
from btx.model.journal import Event, Note, UnknownRecord
from btx.model.order import Status
from btx.ports import Journal
from btx.storage.journal import open_journal, read_journal
from tests.unit.storage.samples import WAIT_S, append, intent, journal_threads, numbers, sent, written
from tests.values import fill


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "toy" / "live" / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = open_journal(path)
    yield journal
    journal.close()


# --- writing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [True, False])
def test_a_record_is_committed_when_append_returns(journal: Journal, path: Path, durable: bool) -> None:
    append(journal, sent(0), durable=durable)

    assert numbers(written(read_journal(path))) == [0]


def test_records_keep_the_order_in_which_they_were_given(journal: Journal) -> None:
    async def appended() -> None:
        waits = []
        for number in range(0, 60, 3):
            waits.append(asyncio.create_task(journal.append(sent(number), durable=number % 2 == 0)))
            await asyncio.sleep(0)
            journal.post(sent(number + 1))
            journal.post(sent(number + 2))
        await asyncio.wait_for(asyncio.gather(*waits), WAIT_S)

    asyncio.run(appended())
    journal.close()

    assert numbers(written(journal)) == list(range(60))


def test_all_that_wait_at_a_time_are_one_transaction(journal: Journal, path: Path) -> None:
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    async def appended() -> None:
        waits = [asyncio.create_task(journal.append(sent(number), durable=True)) for number in range(50)]
        await asyncio.sleep(0)
        blocker.execute("ROLLBACK")
        await asyncio.wait_for(asyncio.gather(*waits), WAIT_S)

    asyncio.run(appended())
    blocker.close()

    assert len({written_ns for _, written_ns, _ in journal.records()}) <= 2  # the first may have gone alone


def test_only_durable_records_are_forced_through_to_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    connect = sqlite3.connect

    def listening(*args: object, **options: object) -> sqlite3.Connection:
        connection = connect(*args, **options)
        connection.set_trace_callback(said.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", listening)
    journal = open_journal(path)
    append(journal, sent(0), durable=False)
    append(journal, sent(1), sent(2), durable=True)
    append(journal, sent(3), durable=False)
    journal.close()

    steps = [line for line in said if "synchronous" in line or line.startswith("INSERT INTO records")]
    assert [line.split()[-1] if "synchronous" in line else "write" for line in steps] == [
        *("NORMAL", "write"),
        *("FULL", "write", "write"),
        *("NORMAL", "write"),
    ]


def test_a_record_that_cannot_be_written_down_is_its_senders_fault_alone(path: Path) -> None:
    faults: list[str] = []
    journal = open_journal(path, on_fault=faults.append)
    impossible = UnknownRecord(kind="dream", client_order_id=None, body="\ud800")

    with pytest.raises(JournalError, match="cannot be written"):
        append(journal, impossible)
    journal.post(impossible)
    append(journal, sent(0))
    journal.close()

    assert len(faults) == 1
    assert numbers(written(journal)) == [0]


def test_a_wait_that_is_cancelled_does_not_take_the_record_back(journal: Journal, path: Path) -> None:
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    async def cancelled_and_then(number: int) -> None:
        wait = asyncio.create_task(journal.append(sent(number), durable=True))
        await asyncio.sleep(0)
        wait.cancel()
        await asyncio.wait({wait})

    async def release() -> None:
        await cancelled_and_then(0)
        blocker.execute("ROLLBACK")
        await journal.append(sent(1), durable=True)

    asyncio.run(release())
    assert numbers(written(journal)) == [0, 1]

    blocker.execute("BEGIN IMMEDIATE")
    asyncio.run(cancelled_and_then(2))  # and the loop ends before the answer comes
    blocker.execute("ROLLBACK")
    blocker.close()
    journal.close()
    assert numbers(written(journal)) == [0, 1, 2]


# --- reading ------------------------------------------------------------------------------------------


def test_every_record_has_its_place_and_its_time(journal: Journal) -> None:
    before_ns = time.time_ns()
    append(journal, sent(0), sent(1))

    (first, first_ns, _), (second, second_ns, _) = journal.records()

    assert (first, second) == (1, 2)
    assert before_ns <= first_ns <= second_ns <= time.time_ns()


def test_the_story_of_one_order_is_found_among_others(journal: Journal) -> None:
    own = [intent("a1"), Note(kind="FAULT", text="late", client_order_id="a1", time_ns=2)]
    append(journal, own[0], intent("b1"), Event(order_event=fill(client_order_id="b1")), own[1])

    assert [record for _, _, record in journal.records(client_order_id="a1")] == own


def test_reading_goes_on_where_it_ended(journal: Journal) -> None:
    append(journal, sent(0), sent(1))
    *_, (last, _, _) = journal.records()
    append(journal, sent(2))

    assert numbers(record for _, _, record in journal.records(since=last)) == [2]


def test_a_long_journal_is_read_in_pages_without_a_seam(journal: Journal) -> None:
    for number in range(2500):
        journal.post(sent(number))
    journal.close()

    assert numbers(written(journal)) == list(range(2500))


def test_what_is_written_while_somebody_reads_is_read_too(journal: Journal) -> None:
    for number in range(1000):
        journal.post(sent(number))
    append(journal, sent(1000))
    reading = journal.records()
    next(reading)
    append(journal, sent(1001))

    assert numbers(record for _, _, record in reading) == list(range(1, 1002))


def test_orders_are_what_the_records_add_up_to(journal: Journal, path: Path) -> None:
    append(journal, intent(), Event(order_event=fill("f1", 2)), Event(order_event=fill("f2", 4)))

    assert journal.orders()["a1"].status is Status.FILLED
    assert read_journal(path).orders() == journal.orders()


def test_a_kind_of_a_newer_btx_does_not_break_reading(journal: Journal) -> None:
    dream = UnknownRecord(kind="dream", client_order_id="a1", body="{}")
    append(journal, intent(), dream, Event(order_event=fill()))

    assert written(journal)[1] == dream
    assert journal.orders()["a1"].filled == 2


# --- one writer ---------------------------------------------------------------------------------------


def test_a_second_writer_is_told_who_the_first_is(journal: Journal, path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"being written by this process \(pid {os.getpid()}\)"):
        open_journal(path)

    append(journal, sent(0))  # and the first goes on


def test_a_writer_that_has_not_said_its_name_yet_is_respected(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with path.with_name("journal.sqlite.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(ConfigError, match="being written by another process: one writer"):
            open_journal(path)


def test_an_opening_that_failed_holds_no_lock(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(ConfigError, match="the file cannot be opened"):
        open_journal(path)
    path.rmdir()

    open_journal(path).close()

    assert journal_threads() == []


# --- the end ------------------------------------------------------------------------------------------


def test_closing_writes_what_waits_and_leaves_one_file_and_no_thread(path: Path) -> None:
    journal = open_journal(path)
    for number in range(500):
        journal.post(sent(number))

    journal.close()
    journal.close()

    assert numbers(written(read_journal(path))) == list(range(500))
    assert journal_threads() == []
    assert path.with_name("journal.sqlite.lock").read_bytes() == b""
    open_journal(path).close()


def test_nothing_is_taken_after_the_end(path: Path) -> None:
    faults: list[str] = []
    journal = open_journal(path, on_fault=faults.append)
    journal.close()

    with pytest.raises(JournalError, match="is closed"):
        append(journal, sent(0))
    journal.post(sent(0))

    assert faults == [f"{path} is closed"]


def test_a_reader_holds_nothing(journal: Journal, path: Path) -> None:
    reader = read_journal(path)
    reader.close()
    reader.close()


def test_faults_are_logged_if_nobody_listens(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = open_journal(path)
    journal.close()

    with caplog.at_level(logging.WARNING, "btx.journal"):
        journal.post(sent(0))

    assert caplog.messages == [f"{path} is closed"]

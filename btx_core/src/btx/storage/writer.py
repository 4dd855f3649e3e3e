"""btx-journal: the thread that writes. All that wait at a time are written in one transaction."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable

import attrs
import sqlalchemy as sa

from btx.errors import JournalError
from btx.storage.records import Row
from btx.storage.schema import RECORDS, explained, transaction

__all__ = ("Entry", "Writer")

_log = logging.getLogger("btx.journal")


@attrs.frozen(kw_only=True)
class Entry:
    """A row to write; ``answer`` hears None when it is committed, or why it is not.

    Without an ``answer`` nobody waits: when the disk does not work the row waits
    in memory and is written, before all that came later, when it does.
    """

    row: Row
    durable: bool
    answer: Callable[[str | None], None] | None = None


class Writer:
    """The thread and its connection. ``on_fault`` is called on the thread.

    What waits in memory is tried again with every entry, and every ``retry_s`` without one.
    """

    def __init__(self, *, engine: sa.Engine, name: str, on_fault: Callable[[str], None], retry_s: float) -> None:
        self._engine = engine
        self._name = name
        self._on_fault = on_fault
        self._retry_s = retry_s
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._gate = threading.Lock()  # nothing is put behind the end
        self._closed = False
        self._kept: list[Entry] = []  # what nobody waits for and the disk did not take
        self._connection: sa.Connection | None = None
        self._synchronous = ""
        self._thread = threading.Thread(target=self._run, name="btx-journal", daemon=True)
        self._thread.start()

    @property
    def unwritten(self) -> int:
        """How many rows that nobody waits for the disk did not take so far."""
        return len(self._kept)

    def put(self, entry: Entry) -> None:
        """Write an entry after all that were put before. Any thread; never waits.

        Raises:
            JournalError: the journal is closed.
        """
        with self._gate:
            if self._closed:
                raise JournalError(f"{self._name} is closed")
            self._queue.put(entry)

    def close(self) -> None:
        """Write what was put, and end the thread. Idempotent."""
        with self._gate:
            self._closed = True
            self._queue.put(None)  # one too many after the first call, and nobody takes it
        self._thread.join()

    # --- on the thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        goes_on = True
        while goes_on:
            entries, goes_on = self._take()
            self._write(entries)
        if self._kept:
            self._tell(f"{self._name} was closed, {len(self._kept)} records were never written")
        with contextlib.suppress(Exception):  # the records are safe without it
            self._connected().exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        self._disconnect()

    def _take(self) -> tuple[list[Entry], bool]:
        """Wait for an entry, or for the time to try again; return all there are, and whether more may come."""
        entries: list[Entry] = []
        wait_s: float | None = self._retry_s if self._kept else None
        try:
            while (entry := self._queue.get(timeout=wait_s)) is not None:
                entries.append(entry)
                wait_s = 0
        except queue.Empty:
            return entries, True
        return entries, False

    def _write(self, entries: list[Entry]) -> None:
        were_kept = len(self._kept)
        entries = [*self._kept, *entries]
        if not entries:
            return
        reason = None
        try:
            self._commit(entries)
        except Exception as error:  # noqa: BLE001 -- whatever it is, those who wait hear of it and the next try is a new one
            self._disconnect()
            reason = f"{self._name}: {explained(error)}"
        self._kept = [] if reason is None else [entry for entry in entries if entry.answer is None]
        for entry in entries:
            if entry.answer is not None:
                entry.answer(reason)
        if reason is not None and self._kept and not were_kept:
            self._tell(f"{reason}; what happens to orders is kept in memory until it can be written")
        elif reason is None and were_kept:
            self._tell(f"{self._name} can be written again: {were_kept} records that had waited are on disk")

    def _commit(self, entries: list[Entry]) -> None:
        connection = self._connected()
        synchronous = "FULL" if any(entry.durable for entry in entries) else "NORMAL"
        if synchronous != self._synchronous:
            connection.exec_driver_sql(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous
        now_ns = time.time_ns()
        rows = [{"written_ns": now_ns, **attrs.asdict(entry.row)} for entry in entries]
        with transaction(connection):
            connection.execute(sa.insert(RECORDS), rows)

    def _connected(self) -> sa.Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
            self._connection.exec_driver_sql("PRAGMA fullfsync = ON")  # macOS: through the drive's cache as well
            self._synchronous = ""
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):  # a broken one may break again
                connection.close()

    def _tell(self, text: str) -> None:
        try:
            self._on_fault(text)
        except Exception:  # noqa: BLE001 -- the journal goes on whatever its listener does
            _log.exception("the listener to the journal's faults broke at: %s", text)

"""The order journal: a SQLite file that outlives every crash of the process that writes it.

What ``append`` has returned for is on disk; what follows a torn write is a
prefix of what was appended, never a part of a record.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from btx.errors import ConfigError, JournalError
from btx.model.journal import Record
from btx.model.order import Order
from btx.ports import Journal, JournalReader
from btx.rules.recovery import replay
from btx.storage.lock import writer_lock
from btx.storage.records import Row, decode, encode
from btx.storage.schema import RECORDS, check, engine_for, explained, migrate
from btx.storage.writer import Entry, Writer

__all__ = ("open_journal", "read_journal")

_log = logging.getLogger("btx.journal")
_BUSY_TIMEOUT_S = 1.0
_RETRY_S = 1.0
_PAGE = 1000
_Columns = tuple[int, int, str, str | None, str]


def open_journal(
    path: Path,
    *,
    on_fault: Callable[[str], None] = _log.warning,
    busy_timeout_s: float = _BUSY_TIMEOUT_S,
    retry_s: float = _RETRY_S,
) -> Journal:
    """Open a journal to write, made if need be with its folders; an old one is brought up to date.

    ``on_fault`` hears what ``post`` cannot say, on whatever thread it happens.
    ``busy_timeout_s`` is how long a database that another program has locked is
    waited for, ``retry_s`` how often the disk is tried again while posted records wait.

    Raises:
        ConfigError: somebody else writes it, it is no journal, it is damaged or
            of a newer btx, or the path cannot be written.
    """
    with ExitStack() as resources:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            resources.enter_context(writer_lock(path))
        except OSError as error:
            why = error.strerror or error
            raise ConfigError(
                f"{path}: no journal can be written here ({why}): name another folder with BTX_HOME=..."
            ) from error
        with _opening(path), engine_for(path, mode="rwc", busy_timeout_s=busy_timeout_s).connect() as connection:
            migrate(connection, path)
        engine = engine_for(path, mode="rw", busy_timeout_s=busy_timeout_s)
        writer = Writer(engine=engine, name=str(path), on_fault=on_fault, retry_s=retry_s)
        resources.callback(writer.close)
        return _SqliteJournal(path, writer=writer, on_fault=on_fault, resources=resources.pop_all())


def read_journal(path: Path) -> JournalReader:
    """Open a journal to read, also while another process writes it.

    Raises:
        ConfigError: there is none, or this btx cannot read it.
    """
    if not path.exists():
        raise ConfigError(f"there is no journal at {path}")
    reader = _SqliteReader(path)
    with _opening(path), reader.engine.connect() as connection:
        check(connection, path)
    return reader


@contextlib.contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise ConfigError(f"{path} cannot be opened as a journal: {explained(error)}") from error


class _SqliteReader:
    """Reads page by page, each in a transaction of its own, so that a slow reader does not hold up the writer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = engine_for(path, mode="ro", busy_timeout_s=_BUSY_TIMEOUT_S)

    def records(
        self, *, client_order_id: str | None = None, since: int | None = None
    ) -> Iterator[tuple[int, int, Record]]:
        query = sa.select(RECORDS).order_by(RECORDS.c.sequence).limit(_PAGE)
        if client_order_id is not None:
            query = query.where(RECORDS.c.client_order_id == client_order_id)
        last = since or 0
        while True:
            page = self._page(query.where(RECORDS.c.sequence > last))
            for last, written_ns, kind, order_id, body in page:
                try:
                    record = decode(Row(kind=kind, client_order_id=order_id, body=body))
                except JournalError as error:
                    raise JournalError(f"{self.path}, record {last}: {error}") from error
                yield last, written_ns, record
            if len(page) < _PAGE:
                return

    def _page(self, query: sa.Select[*_Columns]) -> Sequence[sa.Row[*_Columns]]:
        try:
            with self.engine.connect() as connection:
                return connection.execute(query).all()
        except DBAPIError as error:
            raise JournalError(f"{self.path} cannot be read: {explained(error)}") from error

    def orders(self) -> dict[str, Order]:
        return replay(record for _, _, record in self.records()).orders

    def close(self) -> None:
        """Nothing is held between two pages."""


class _SqliteJournal(_SqliteReader):
    """Writes through btx-journal, reads on the caller's thread."""

    def __init__(self, path: Path, *, writer: Writer, on_fault: Callable[[str], None], resources: ExitStack) -> None:
        super().__init__(path)
        self._writer = writer
        self._on_fault = on_fault
        self._resources = resources  # the thread, then the lock

    @property
    def unwritten(self) -> int:
        return self._writer.unwritten

    async def append(self, record: Record, *, durable: bool) -> None:
        loop = asyncio.get_running_loop()
        committed: asyncio.Future[None] = loop.create_future()
        answer = functools.partial(_answer, loop, committed)
        self._writer.put(Entry(row=encode(record), durable=durable, answer=answer))
        await committed

    def post(self, record: Record) -> None:
        try:
            self._writer.put(Entry(row=encode(record), durable=False))
        except JournalError as error:
            self._on_fault(str(error))

    def close(self) -> None:
        self._resources.close()


def _answer(loop: asyncio.AbstractEventLoop, committed: "asyncio.Future[None]", reason: str | None) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
        loop.call_soon_threadsafe(_settle, committed, reason)


def _settle(committed: "asyncio.Future[None]", reason: str | None) -> None:
    if committed.done():  # who waited was cancelled
        return
    if reason is None:
        committed.set_result(None)
    else:
        committed.set_exception(JournalError(reason))

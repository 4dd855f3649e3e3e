"""The journal's tables, how an old database becomes a new one, and what SQLite says in words."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from btx.errors import ConfigError

__all__ = ("RECORDS", "STEPS", "check", "engine_for", "explained", "migrate", "transaction")

_META = sa.Table(
    "meta",
    sa.MetaData(),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
RECORDS = sa.Table(
    "records",
    sa.MetaData(),
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("written_ns", sa.Integer, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("client_order_id", sa.Text),
    sa.Column("body", sa.Text, nullable=False),
)
_VERSION = "btx_journal_schema"  # the key that makes a database a journal


def _step_1(connection: sa.Connection) -> None:
    connection.exec_driver_sql("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
    connection.exec_driver_sql(
        "CREATE TABLE records (sequence INTEGER PRIMARY KEY, written_ns INTEGER NOT NULL, "
        "kind TEXT NOT NULL, client_order_id TEXT, body TEXT NOT NULL)"
    )
    connection.exec_driver_sql("CREATE INDEX records_of_order ON records (client_order_id)")


def _step_2(connection: sa.Connection) -> None:
    """Add tables to look at: views of the records, so that a query needs no btx. Numbers are exact, as text."""
    for name, kind, columns in _VIEWS:
        fields = ", ".join(f"json_extract(body, '$.{path}') AS {column}" for column, path in columns)
        connection.exec_driver_sql(
            f"CREATE VIEW {name} AS SELECT sequence, written_ns, {fields} FROM records WHERE kind = '{kind}'"  # noqa: S608
        )


_VIEWS = (
    (
        "orders",
        "intent",
        (
            ("client_order_id", "leg.client_order_id"),
            ("symbol", "leg.request.instrument.symbol"),
            ("side", "leg.request.side"),
            ("position_side", "leg.request.position_side"),
            ("order_type", "leg.request.order_type"),
            ("quantity", "leg.quantity"),
            ("price", "leg.request.price"),
            ("trigger_price", "leg.request.trigger_price"),
            ("signal_ns", "leg.request.signal_ns"),
            ("run", "run"),
        ),
    ),
    (
        "fills",
        "fill",
        (
            ("time_ns", "time_ns"),
            ("fill_id", "fill_id"),
            ("client_order_id", "client_order_id"),
            ("venue_order_id", "venue_order_id"),
            ("symbol", "symbol"),
            ("side", "side"),
            ("position_side", "position_side"),
            ("quantity", "quantity"),
            ("price", "price"),
            ("fee", "fee"),
            ("fee_asset", "fee_asset"),
            ("realised", "realised"),
            ("origin", "origin"),
        ),
    ),
    (
        "bookings",
        "booking",
        (
            ("time_ns", "booking.time_ns"),
            ("kind", "booking.kind"),
            ("booking_id", "booking.booking_id"),
            ("symbol", "booking.symbol"),
            ("asset", "booking.asset"),
            ("amount", "booking.amount"),
        ),
    ),
    (
        "account_snapshots",
        "account",
        (
            ("time_ns", "time_ns"),
            ("reason", "reason"),
            ("wallet", "wallet"),
            ("equity", "equity"),
            ("positions", "positions"),
        ),
    ),
)

# Step n makes schema n out of schema n - 1. What a step does never changes once it was released.
STEPS: Sequence[Callable[[sa.Connection], None]] = (_step_1, _step_2)


def engine_for(path: Path, *, mode: str, busy_timeout_s: float) -> sa.Engine:
    """Return an engine without a pool; ``mode`` is SQLite's: ``ro``, ``rw`` or ``rwc``.

    Nothing is begun or committed implicitly, see :func:`transaction`.
    """
    address = f"{path.absolute().as_uri()}?mode={mode}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)

    return sa.create_engine("sqlite://", creator=connect, poolclass=NullPool, isolation_level="AUTOCOMMIT")


@contextlib.contextmanager
def transaction(connection: sa.Connection) -> Iterator[None]:
    """Write all of it or nothing."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        yield
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        with contextlib.suppress(DBAPIError):  # SQLite may have rolled it back already
            connection.exec_driver_sql("ROLLBACK")
        raise


def migrate(connection: sa.Connection, path: Path, steps: Sequence[Callable[[sa.Connection], None]] = STEPS) -> None:
    """Bring a database to the newest schema, in one transaction; an empty one becomes a journal.

    Raises:
        ConfigError: it is no journal, or a newer btx wrote it.
    """
    version = _version_of(connection, path)
    _refuse_newer(version, path, newest=len(steps))
    if version < len(steps):
        with transaction(connection):
            for step in steps[version:]:
                step(connection)
            connection.execute(sa.delete(_META).where(_META.c.key == _VERSION))
            connection.execute(sa.insert(_META), {"key": _VERSION, "value": str(len(steps))})
    connection.exec_driver_sql("PRAGMA journal_mode = WAL")


def check(connection: sa.Connection, path: Path, *, newest: int = len(STEPS)) -> None:
    """Make sure that a database can be read as it is.

    Raises:
        ConfigError: it is no journal, or one of another schema.
    """
    version = _version_of(connection, path)
    _refuse_newer(version, path, newest=newest)
    if version == 0:
        raise ConfigError(f"{path} is empty: nothing was ever written to it")
    if version < newest:
        raise ConfigError(f"{path} has the old schema {version}: start the strategy once, that brings it up to date")


def _version_of(connection: sa.Connection, path: Path) -> int:
    """Return the schema's number, 0 for an empty database."""
    if connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one() == 0:
        return 0
    try:
        value = connection.execute(sa.select(_META.c.value).where(_META.c.key == _VERSION)).scalar_one_or_none()
    except DBAPIError as error:
        if _code(error) != sqlite3.SQLITE_ERROR:
            raise
        value = None  # no such table, or no such column
    if not isinstance(value, str) or not value.isdecimal():
        raise ConfigError(f"{path} is a database, but no journal of btx: choose another path")
    return int(value)


def _refuse_newer(version: int, path: Path, *, newest: int) -> None:
    if version > newest:
        raise ConfigError(f"{path} was written by a newer btx (schema {version}, this one knows {newest}): upgrade btx")


# --- what SQLite says, in words -------------------------------------------------------------------------

_WORDS = {
    sqlite3.SQLITE_BUSY: "another program has locked the database",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk does not read or write",
    sqlite3.SQLITE_NOTADB: "the file is no database",
    sqlite3.SQLITE_READONLY: "the file cannot be written",
}


def explained(error: Exception) -> str:
    """Return what is wrong, and how SQLite puts it."""
    if isinstance(error, DBAPIError):
        words = _WORDS.get(_code(error))
        return f"{words} ({error.orig})" if words else str(error.orig)
    return f"{type(error).__name__}: {error}"


def _code(error: DBAPIError) -> int:
    """Return SQLite's result code without its details."""
    return int(getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF

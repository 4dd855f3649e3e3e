"""Old, new, foreign and damaged databases."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from btx.errors import ConfigError
from btx.model.account import Booking, BookingKind
from btx.model.journal import AccountState, Booked, Event, Intent
from btx.model.venue import Environment
from btx.storage.journal import open_journal, read_journal
from btx.storage.records import encode
from btx.storage.schema import RECORDS, STEPS, check, engine_for, explained, migrate
from tests.unit.storage.samples import append, numbers, sent, written
from tests.values import fill, leg

Steps = Sequence[Callable[[sa.Connection], None]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def connection(path: Path) -> Iterator[sa.Connection]:
    with engine_for(path, mode="rwc", busy_timeout_s=1).connect() as connection:
        yield connection


def execute(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as database, database:
        return list(database.execute(statement))


def schema_of(path: Path) -> str:
    ((value,),) = execute(path, "SELECT value FROM meta WHERE key = 'btx_journal_schema'")
    return str(value)


def with_mood(connection: sa.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE records ADD COLUMN mood TEXT DEFAULT 'calm'")


def broken(connection: sa.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE dreams ADD COLUMN mood TEXT")


def test_the_tables_are_those_the_code_asks(path: Path, connection: sa.Connection) -> None:
    migrate(connection, path)

    real = sa.inspect(connection)
    assert [(column["name"], column["nullable"]) for column in real.get_columns("records")] == [
        (column.name, bool(column.nullable) or column.primary_key) for column in RECORDS.columns
    ]
    assert [index["column_names"] for index in real.get_indexes("records")] == [["client_order_id"]]


def test_an_old_database_keeps_its_records_through_the_steps(path: Path, connection: sa.Connection) -> None:
    journal = open_journal(path)
    append(journal, sent(0), sent(1))
    journal.close()

    migrate(connection, path, (*STEPS, with_mood))

    assert execute(path, "SELECT sequence, kind, mood FROM records") == [(1, "sent", "calm"), (2, "sent", "calm")]
    assert schema_of(path) == str(len(STEPS) + 1)


def test_a_journal_of_the_first_schema_opens_and_gets_views_of_what_it_holds(
    path: Path, connection: sa.Connection
) -> None:
    migrate(connection, path, STEPS[:1])
    for record in (
        Intent(leg=leg(), environment=Environment.SIM, session="toy/sim/spot", run="r"),
        Event(order_event=fill("f1", 2, fee=Decimal("0.10"), fee_asset="USDT")),
    ):
        row = encode(record)
        values = {"written_ns": 1, "kind": row.kind, "client_order_id": row.client_order_id, "body": row.body}
        connection.execute(sa.insert(RECORDS), values)
    journal = open_journal(path)
    booking = Booking(
        booking_id="7",
        kind=BookingKind.FUNDING,
        asset="USDT",
        amount=Decimal("-0.50"),
        symbol="BTC/USDT:USDT",
        time_ns=5,
    )
    state = AccountState(reason="HOUR", wallet={"USDT": Decimal("9.90")}, equity={"USDT": Decimal(11)}, time_ns=6)
    append(journal, Booked(booking=booking), state)
    journal.close()

    assert execute(path, "SELECT client_order_id, side, quantity, price FROM orders") == [("a1", "BUY", "6", "100")]
    assert execute(path, "SELECT fill_id, quantity, fee, origin FROM fills") == [("f1", "2", "0.10", "CLIENT")]
    assert execute(path, "SELECT kind, booking_id, amount, symbol FROM bookings") == [
        ("FUNDING", "7", "-0.50", "BTC/USDT:USDT")
    ]
    assert execute(path, "SELECT time_ns, reason, wallet, equity FROM account_snapshots") == [
        (6, "HOUR", '{"USDT":"9.90"}', '{"USDT":"11"}')
    ]


def test_steps_that_were_taken_are_not_taken_again(path: Path, connection: sa.Connection) -> None:
    for _ in range(2):
        migrate(connection, path, (*STEPS, with_mood))

    assert schema_of(path) == str(len(STEPS) + 1)


def test_a_step_that_fails_leaves_the_old_database(path: Path, connection: sa.Connection) -> None:
    migrate(connection, path)
    before = execute(path, "SELECT sql FROM sqlite_master")

    with pytest.raises(OperationalError):
        migrate(connection, path, (*STEPS, with_mood, broken))

    assert execute(path, "SELECT sql FROM sqlite_master") == before
    assert schema_of(path) == str(len(STEPS))


@pytest.mark.parametrize("open_", [open_journal, read_journal])
def test_a_newer_database_is_refused_with_the_cure(path: Path, open_: Callable[[Path], object]) -> None:
    open_journal(path).close()
    execute(path, "UPDATE meta SET value = '99'")

    with pytest.raises(ConfigError, match=r"newer btx \(schema 99, this one knows \d+\): upgrade btx"):
        open_(path)


def test_a_reader_says_how_an_old_database_becomes_a_new_one(path: Path, connection: sa.Connection) -> None:
    migrate(connection, path)

    with pytest.raises(ConfigError, match=f"old schema {len(STEPS)}: start the strategy once"):
        check(connection, path, newest=len(STEPS) + 1)


@pytest.mark.parametrize("open_", [open_journal, read_journal])
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE diary (day TEXT)",
        "CREATE TABLE meta (key INTEGER, text TEXT)",
        "CREATE TABLE meta (key TEXT, value TEXT)",
    ],
)
def test_somebody_elses_database_is_refused_and_not_touched(
    path: Path, open_: Callable[[Path], object], statement: str
) -> None:
    execute(path, statement)
    before = path.read_bytes()

    with pytest.raises(ConfigError, match="no journal of btx: choose another path"):
        open_(path)

    assert path.read_bytes() == before


def test_a_schema_that_is_no_number_is_no_journal(path: Path) -> None:
    open_journal(path).close()
    execute(path, "UPDATE meta SET value = 'many'")

    with pytest.raises(ConfigError, match="no journal of btx"):
        open_journal(path)


@pytest.mark.parametrize("open_", [open_journal, read_journal])
def test_a_file_that_is_no_database_is_refused_and_not_touched(path: Path, open_: Callable[[Path], object]) -> None:
    text = "Dear diary,\n" * 1000
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match="the file is no database"):
        open_(path)

    assert path.read_text(encoding="utf-8") == text


def test_a_damaged_table_of_contents_is_told(path: Path) -> None:
    open_journal(path).close()
    damage(path, first_page=2, pages=1)

    with pytest.raises(ConfigError, match="the file is damaged"):
        open_journal(path)


def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    path.touch()

    journal = open_journal(path)

    append(journal, sent(0))
    assert numbers(written(journal)) == [0]
    journal.close()


def test_there_is_nothing_to_read_before_something_was_written(path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no journal at"):
        read_journal(path)
    path.touch()
    with pytest.raises(ConfigError, match="is empty"):
        read_journal(path)


def test_an_error_that_is_not_sqlites_is_named() -> None:
    assert explained(ValueError("odd")) == "ValueError: odd"


def damage(path: Path, *, first_page: int, pages: int) -> None:
    with path.open("r+b") as file:
        file.seek((first_page - 1) * 4096)
        file.write(b"\xff" * 4096 * pages)

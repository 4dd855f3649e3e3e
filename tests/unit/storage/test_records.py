import typing
from decimal import Decimal

import attrs
import pytest

from btx.errors import JournalError
from btx.model.journal import Event, Intent, Note, Record, RunEnded, RunStarted, Sent, UnknownRecord
from btx.model.order import OrderEvent, Side, Status
from btx.model.venue import Environment
from btx.storage.records import Row, decode, encode
from tests.unit.storage.samples import intent
from tests.values import fill, report


def with_params(**params: object) -> Intent:
    plain = intent()
    return attrs.evolve(plain, leg=attrs.evolve(plain.leg, request=attrs.evolve(plain.leg.request, params=params)))


# --- names and fields ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "kind", "client_order_id"),
    [
        (intent(), "intent", "a1"),
        (Sent(client_order_id="a1", time_ns=1), "sent", "a1"),
        (Event(order_event=fill()), "fill", "a1"),
        (Event(order_event=report(Status.NEW)), "order_report", "a1"),
        (RunStarted(run="a", session="s", environment=Environment.SIM, version="1", time_ns=1), "run_started", None),
        (RunEnded(run="a", time_ns=1), "run_ended", None),
        (Note(kind="FAULT", text="late", time_ns=1), "note", None),
        (Note(kind="FAULT", text="late", client_order_id="a1", time_ns=1), "note", "a1"),
        (UnknownRecord(kind="dream", client_order_id=None, body="{"), "dream", None),
    ],
)
def test_a_record_has_a_name_and_the_order_it_is_about(record: Record, kind: str, client_order_id: str | None) -> None:
    row = encode(record)

    assert (row.kind, row.client_order_id) == (kind, client_order_id)
    assert decode(row) == record


def test_every_record_and_every_event_can_be_written() -> None:
    from btx.storage.records import _EVENTS, _RECORDS

    assert {*_RECORDS.values(), Event, UnknownRecord} == set(typing.get_args(Record))
    assert set(_EVENTS.values()) == set(typing.get_args(OrderEvent))


def test_an_intent_says_what_it_stands_on() -> None:
    assert intent().signal_ns == intent().leg.request.signal_ns


def test_what_a_newer_btx_adds_to_a_record_is_passed_over() -> None:
    row = Row(kind="sent", client_order_id="a1", body='{"client_order_id":"a1","time_ns":7,"mood":"calm"}')

    assert decode(row) == Sent(client_order_id="a1", time_ns=7)


def test_a_kind_of_a_newer_btx_is_kept_as_it_stands() -> None:
    row = Row(kind="dream", client_order_id="a1", body="no JSON at all")

    assert encode(decode(row)) == row


@pytest.mark.parametrize(
    "row",
    [
        Row(kind="sent", client_order_id="a1", body='{"client_order_id":'),
        Row(kind="sent", client_order_id="a1", body='{"client_order_id":"a1"}'),
        Row(kind="fill", client_order_id="a1", body=encode(Event(order_event=fill())).body.replace('"BUY"', '"HOLD"')),
        Row(kind="fill", client_order_id="a1", body=encode(Event(order_event=fill())).body.replace('"100"', '"-1"')),
        Row(kind="intent", client_order_id="a1", body=encode(with_params(x=Decimal(1))).body.replace("$dec", "$oct")),
    ],
)
def test_a_damaged_record_is_never_passed_over(row: Row) -> None:
    with pytest.raises(JournalError, match=f"of kind {row.kind} is damaged"):
        decode(row)


# --- what users pass through --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1.1,
        10**30,
        "x",
        Decimal("1.10"),
        Side.BUY,
        [1, [Decimal(2)]],
        (1, (2,)),
        {"a": {"b": Decimal(3)}},
        {1: "a", (2, 3): "b"},
        {"$decimal": "1"},
        {"$mapping": {"$": 1}},
        {},
    ],
)
def test_params_come_back_as_they_were(value: object) -> None:
    again = decode(encode(with_params(x=value)))

    assert isinstance(again, Intent)
    assert again == with_params(x=value)
    assert repr(again.leg.request.params) == repr({"x": value})


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", Status.NEW])
def test_params_that_could_not_be_read_again_are_refused(value: object) -> None:
    with pytest.raises(JournalError, match="cannot be written to the journal"):
        encode(with_params(x=value))


@pytest.mark.parametrize(
    "record",
    [Sent(client_order_id="\ud800", time_ns=1), UnknownRecord(kind="dream", client_order_id=None, body="\ud800")],
)
def test_text_that_is_no_unicode_is_refused_before_it_reaches_the_disk(record: Record) -> None:
    with pytest.raises(JournalError, match="cannot be written"):
        encode(record)

"""Orders handed over, as a recording has them: what was asked, and what it came to, exactly."""

import asyncio
from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.errors import BtxError, DataError, FilterError, OutcomeUnknownError, RateLimitedError
from btx.model.order import Leg, ListKind, OrderList, Receipt
from btx.storage.handed import RecordingBroker, amendment_id, leg_of, outcome_of
from tests.values import BTC, leg


class _Broker:
    """Answers a placement with what it was given, and says what else was asked."""

    def __init__(self, outcome: Receipt | BtxError) -> None:
        self.outcome = outcome
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def ask(**_: Any) -> Any:
            self.asked.append(name)
            if isinstance(self.outcome, BtxError):
                raise self.outcome
            return self.outcome

        return ask


def _run(outcome: Receipt | BtxError, name: str, **arguments: Any) -> tuple[Any, list[dict[str, Any]]]:
    told: list[dict[str, Any]] = []
    broker = RecordingBroker(_Broker(outcome), told.append)
    try:
        answer = asyncio.run(getattr(broker, name)(**arguments))
    except BtxError as error:
        answer = error
    return answer, told


def _leg(client_order_id: str) -> Leg:
    return attrs.evolve(leg(6), client_order_id=client_order_id, quantity=Decimal("0.10"))


def test_an_order_and_its_receipt_are_read_as_they_were() -> None:
    receipt = Receipt(venue_order_id="77")

    answer, (order, placed) = _run(receipt, "place", leg=_leg("a1"))

    assert answer == receipt
    assert leg_of(order) == _leg("a1")
    assert placed["ids"] == ["a1"]
    assert outcome_of(placed) == receipt


def test_every_leg_of_a_list_is_told_and_of_a_replacement_the_new_one() -> None:
    both = OrderList(list_id="l", kind=ListKind.OCO, legs=(_leg("a1"), _leg("a2")))

    _, listed = _run(Receipt(venue_order_id="1"), "place_list", order_list=both)
    _, replaced = _run(Receipt(venue_order_id="1"), "replace", leg=_leg("a1"), venue_order_id=None, new=_leg("a3"))

    assert [line.get("id", line.get("ids")) for line in listed] == ["a1", "a2", ["a1", "a2"]]
    assert [line.get("id", line.get("ids")) for line in replaced] == ["a3", ["a3"]]


def test_an_amendment_is_told_with_its_answer_which_is_no_answer_to_the_order() -> None:
    _, (amend, placed) = _run(
        OutcomeUnknownError("no answer"), "amend", leg=_leg("a1"), venue_order_id="7", new=_leg("a1")
    )

    assert (amend["k"], leg_of(amend)) == ("amend", _leg("a1"))
    assert placed["ids"] == [amendment_id(_leg("a1"))] != ["a1"]


@pytest.mark.parametrize(
    "error",
    [
        FilterError("too small", code=-1013),
        RateLimitedError("slow", retry_after_s=3.5, code="-1015", scope="account"),
        OutcomeUnknownError("no answer"),
    ],
)
def test_a_refusal_is_raised_again_with_all_it_says(error: BtxError) -> None:
    raised, (_, placed) = _run(error, "place", leg=_leg("a1"))

    again = outcome_of(placed)

    assert raised is error
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cancel", {"leg": _leg("a1"), "venue_order_id": None}),
        ("cancel_all", {"instrument": BTC}),
        ("dead_man", {"instrument": BTC, "after_s": 60.0}),
        ("query", {"leg": _leg("a1")}),
        ("open_orders", {"instruments": (BTC,)}),
        ("fills", {"instrument": BTC, "start_ns": 0}),
    ],
)
def test_what_hands_nothing_over_is_passed_on_and_not_told(name: str, arguments: dict[str, Any]) -> None:
    inner = _Broker(Receipt(venue_order_id=None))
    told: list[dict[str, Any]] = []

    asyncio.run(getattr(RecordingBroker(inner, told.append), name)(**arguments))

    assert inner.asked == [name]
    assert told == []


def test_an_order_whose_params_no_file_can_hold_is_told_without_them() -> None:
    strange = attrs.evolve(_leg("a1"), request=attrs.evolve(_leg("a1").request, params={"x": object()}))

    _, (order, _) = _run(Receipt(venue_order_id="1"), "place", leg=strange)

    assert order["t"] == ""


def test_a_damaged_order_is_a_damaged_recording() -> None:
    with pytest.raises(DataError, match="order a1 of the recording cannot be read"):
        leg_of({"id": "a1", "t": "{}"})

"""What a card that failed says: where in the adapter it went wrong, and what was told meanwhile."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from btx.bridges.answers import Answers
from btx.model.market import Bar
from btx.model.order import Fill, Leg, OrderReport
from btx.model.venue import StreamState, StreamStatus
from btx.ports import StreamEvent
from btx.testing import Outcome, conformance
from btx.testing.broken.variant import AlteredStream, Variant
from btx.testing.card import CardFailedError
from btx.testing.hearing import Heard
from btx.testing.toy.broker import ToyBroker
from btx.testing.toy.feed import ToyFeed


class _ForgetsAwait(ToyBroker):
    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        answer: Any = super().query(leg=leg)
        try:
            return tuple(answer)
        finally:
            answer.close()


def _codec(row: dict[str, Any]) -> tuple[Bar, ...]:
    return row["nothing of this name"]  # type: ignore[no-any-return]


class _MisreadsBars(ToyFeed):
    async def bars(self, **_: Any) -> tuple[Bar, ...]:
        return Answers("Toy").read(_codec, {})


class _MisreadsOrders(AlteredStream):
    def heard(self, event: StreamEvent) -> Iterable[StreamEvent]:
        is_order = isinstance(event, OrderReport | Fill)
        return (StreamStatus(state=StreamState.FAULT, detail="KeyError: 'order'") if is_order else event,)


class _Mine(Variant):
    """An adapter of this package, with a mistake in two of its ports."""


def test_a_card_names_the_adapters_own_line_below_what_it_is_built_on() -> None:
    card = conformance(
        "toy", plugin=_Mine(broker=_ForgetsAwait, feed=_MisreadsBars), market="spot", numbers=("HIS-01", "ORD-08")
    )

    misread, unawaited = card.results
    assert {misread.outcome, unawaited.outcome} == {Outcome.FAILED}
    line = _codec.__code__.co_firstlineno + 1
    assert f"DataError came from {__name__}:{line}: " in misread.reason
    line = _ForgetsAwait.query.__code__.co_firstlineno + 3
    assert f"TypeError came from {__name__}:{line}: 'coroutine' object is not iterable (is an await missing?)" in (
        unawaited.reason
    )


def test_a_card_about_an_order_says_that_the_stream_could_not_be_read() -> None:
    card = conformance("toy", plugin=_Mine(stream=_MisreadsOrders), market="spot", numbers=("ORD-04",), deadline_s=2.0)

    (deaf,) = card.results
    assert ", and it said nothing; the stream told of a fault: KeyError: 'order'; look at " in deaf.reason


def test_who_waits_in_vain_says_what_fault_the_stream_told_meanwhile() -> None:
    async def wait() -> None:
        heard = Heard(0.01)
        heard(StreamStatus(state=StreamState.FAULT, detail="KeyError: 'close'"))
        await heard.until(lambda: False, "a closed bar")

    with pytest.raises(CardFailedError, match=r"a closed bar, .* in 0\.01 s; the stream told of a fault: KeyError: 'c"):
        asyncio.run(wait())

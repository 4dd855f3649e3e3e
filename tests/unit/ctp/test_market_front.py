"""Subscriptions at the front for prices, through a library of a few lines in the vendor's place."""

import asyncio
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from btx.errors import BtxError, RateLimitedError, SubscriptionRefusedError, TransportError
from btx_ctp.front import MarketFront
from tests.unit.ctp.library import (
    LOGIN,
    CThostFtdcRspInfoField,
    CThostFtdcSpecificInstrumentField,
    Library,
    answers,
    binding,
)

LISTED = ("rb2601", "m2601", "ag2512")


def subscribe(
    answer: Callable[[Any, list[str]], None], *symbols: str, answer_s: float = 60.0
) -> tuple[list[str], BtxError | None]:
    """Subscribe to contracts; return what the library was asked for, and what was raised."""
    library = Library(answer)

    async def main() -> BtxError | None:
        front = MarketFront(
            binding(library),
            LOGIN,
            hear=lambda _name, _args: None,
            on_fault=pytest.fail,
        )
        await front.open(LOGIN.market_front)
        front._login = attrs.evolve(LOGIN, answer_s=answer_s)  # to connect may take longer
        try:
            await front.subscribe(symbols, listed=LISTED)
        except BtxError as error:
            return error
        finally:
            await front.close()
        return None

    raised = asyncio.run(main())
    return library.asked, raised


def test_a_subscription_stands_when_the_front_has_answered_for_each_contract() -> None:
    assert subscribe(answers(), *LISTED) == (list(LISTED), None)


def test_contracts_that_the_front_refuses_are_named_when_all_are_answered() -> None:
    _, error = subscribe(answers(rb2601=16, ag2512=16), *LISTED)

    assert type(error) is SubscriptionRefusedError
    assert str(error) == "CTP refuses a subscription of ag2512, rb2601: no such contract (16 )"


def test_a_contract_that_is_not_listed_is_refused_before_the_front_is_asked() -> None:
    asked, error = subscribe(answers(), "rb2601", "RB2601")

    assert type(error) is SubscriptionRefusedError
    assert "CTP lists no RB2601" in str(error)
    assert asked == []


@pytest.mark.parametrize(
    ("error_id", "kind"), [(7, TransportError), (77, SubscriptionRefusedError), (90, RateLimitedError)]
)
def test_a_refusal_without_a_contract_is_one_of_all_that_wait(error_id: int, kind: type[BtxError]) -> None:
    def answer(spi: Any, _names: list[str]) -> None:
        spi.OnRspSubMarketData(CThostFtdcSpecificInstrumentField("m2601"), CThostFtdcRspInfoField(0), 0, False)
        spi.OnRspError(CThostFtdcRspInfoField(error_id), 0, True)

    _, error = subscribe(answer, *LISTED)

    assert type(error) is kind
    assert "a subscription of ag2512, rb2601" in str(error)


def test_a_connection_that_is_lost_before_the_answer_is_no_refusal() -> None:
    _, error = subscribe(lambda spi, _names: spi.OnFrontDisconnected(0x1001), *LISTED)

    assert type(error) is TransportError
    assert "hung up" in str(error)


def test_a_front_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    def answer(spi: Any, names: list[str]) -> None:
        answers()(spi, names[:-1])

    _, error = subscribe(answer, *LISTED, answer_s=0.01)

    assert type(error) is TransportError
    assert "no answer to a subscription of" in str(error)

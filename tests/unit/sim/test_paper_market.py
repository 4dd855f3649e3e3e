"""What a paper order meets: the best price of the newest source, and the book behind it."""

import pytest

from btx.model.market import BookSnapshot, Quote
from btx.model.order import Side
from btx.sim.paper_market import PublicMarket
from tests.values import BTC, d, trade

SYMBOL = BTC.venue_symbol


def book(sequence: int = 10) -> BookSnapshot:
    return BookSnapshot(
        symbol=BTC.symbol,
        bids=((d(99), d(1)), (d(98), d(5))),
        asks=((d(101), d(2)), (d(102), d(6))),
        sequence=sequence,
    )


def quote(bid: int = 100, ask: int = 102, sequence: int | None = 11) -> Quote:
    return Quote(
        symbol=BTC.symbol,
        bid_price=d(bid),
        bid_quantity=d("0.5"),
        ask_price=d(ask),
        ask_quantity=d("0.7"),
        sequence=sequence,
    )


@pytest.fixture
def market() -> PublicMarket:
    market = PublicMarket()
    market.see(BTC)
    return market


def test_a_market_trades_as_the_venue_lists_it(market: PublicMarket) -> None:
    assert market.is_trading(SYMBOL)


def test_without_a_trade_the_price_is_the_middle_of_the_book(market: PublicMarket) -> None:
    market.on_book(SYMBOL, book())

    assert market.last_price(SYMBOL) == 100


def test_without_anything_there_is_no_price(market: PublicMarket) -> None:
    with pytest.raises(LookupError, match="nothing was heard of BTC/USDT"):
        market.last_price(SYMBOL)


def test_the_quote_is_the_top_and_the_book_lies_behind_it(market: PublicMarket) -> None:
    market.on_book(SYMBOL, book())
    market.on_quote(SYMBOL, quote())

    assert list(market.levels(SYMBOL, Side.BUY)) == [(100, d("0.5")), (99, 1), (98, 5)]
    assert list(market.levels(SYMBOL, Side.SELL)) == [(102, d("0.7"))]  # what lay before it is taken
    assert market.quantity_at(SYMBOL, Side.BUY, d(98)) == 5
    assert market.quantity_at(SYMBOL, Side.BUY, d(97)) == 0


def test_a_book_is_newer_than_the_quotes_before_it(market: PublicMarket) -> None:
    market.on_quote(SYMBOL, quote(sequence=9))
    market.on_book(SYMBOL, book())

    assert next(market.levels(SYMBOL, Side.BUY)) == (99, 1)


def test_a_quote_that_is_newer_than_the_book_stays(market: PublicMarket) -> None:
    market.on_quote(SYMBOL, quote(sequence=11))
    market.on_book(SYMBOL, book())

    assert next(market.levels(SYMBOL, Side.BUY)) == (100, d("0.5"))


def test_the_average_is_weighted_by_volume_over_the_minutes_asked_for(market: PublicMarket) -> None:
    for number, (minute, price, quantity) in enumerate([(0, 50, 1), (4, 100, 1), (5, 103, 2)]):
        market.on_trade(SYMBOL, trade(number, minute, price, quantity))

    assert market.average_price(SYMBOL, 2) == 102
    assert market.average_price(SYMBOL, 5) == 89
    assert market.average_price(SYMBOL, 0) == market.last_price(SYMBOL) == 103


def test_trades_leave_the_averages_after_half_an_hour(market: PublicMarket) -> None:
    market.on_trade(SYMBOL, trade(1, 0, 50))
    market.on_trade(SYMBOL, trade(2, 31, 100))

    assert market.average_price(SYMBOL, 60) == 100

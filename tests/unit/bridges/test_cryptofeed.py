"""cryptofeed as a parser."""

import asyncio
import logging
import weakref

import pytest
from cryptofeed.exchanges import Binance
from cryptofeed.symbols import Symbols

from btx.bridges.cryptofeed import Parser


class _BinanceParser(Parser, Binance):  # type: ignore[misc]
    pass


_TRADE = {"e": "aggTrade", "s": "BTCUSDT", "a": 1, "p": "61837.63", "q": "0.02", "T": 1, "m": True}


def test_two_parsers_share_no_symbols_and_leave_none_behind() -> None:
    before = dict(Symbols.data)

    one = _BinanceParser(symbols={"BTCUSDT": "BTC/USDT"})
    other = _BinanceParser(symbols={"BTCUSDT": "XBT/USDT"})

    read = [asyncio.run(parser.parse(parser._trade, _TRADE)).symbol for parser in (one, other)]
    assert read == ["BTC/USDT", "XBT/USDT"]
    assert Symbols.data == before


def test_a_parser_that_is_done_with_is_forgotten() -> None:
    parser = _BinanceParser(symbols={"BTCUSDT": "BTC/USDT"})
    connection = weakref.ref(parser.http_conn)

    del parser
    import gc

    gc.collect()

    assert connection() is None


def test_making_a_parser_changes_nothing_of_the_process() -> None:
    policy, handlers = asyncio.get_event_loop_policy(), list(logging.getLogger("feedhandler").handlers)

    _BinanceParser(symbols={})

    assert asyncio.get_event_loop_policy() is policy
    assert logging.getLogger("feedhandler").handlers == handlers


def test_what_is_not_subscribed_cannot_be_read() -> None:
    parser = _BinanceParser(symbols={})

    with pytest.raises(Exception, match="BTCUSDT"):
        asyncio.run(parser.parse(parser._trade, _TRADE))

"""cryptofeed's parsers and types, under connections of our own.

cryptofeed reads the frames of many venues well and fast, but its connection
layer drops the socket for one bad frame, dials without pause after a clean
close, never notices a stream that stays silent, reads without back-pressure and
keeps every connection it ever made (cryptofeed 2.4).  So only its exchange
classes are used, as parsers, and sockets are ours: see :mod:`btx.bridges.sockets`.

cryptofeed's types keep times as floats of seconds; exact ones are taken from the
raw message.  Its order book is not used: :class:`btx.model.market.BookDelta` goes
to :mod:`btx.rules.book` as it is.
"""

import atexit
import functools
import itertools
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

from cryptofeed.defines import SELL
from cryptofeed.feed import Feed
from cryptofeed.symbols import Symbols

from btx.model.market import Bar, Quote, Trade
from btx.model.order import Side
from btx.model.time import Interval

__all__ = ("Parser", "bar", "quote", "trade")

_serial = itertools.count()
_interval = functools.cache(Interval.parse)  # a dozen texts, in every frame of a bar


class Parser(Feed):
    """Mixed in before a cryptofeed exchange class: its parsers, without its symbols, REST or connections.

    ``symbols`` maps the venue's texts to ours; what is not in it cannot be
    parsed.  Nothing is fetched, and nothing stays in cryptofeed's tables.
    """

    def __init__(self, *, symbols: Mapping[str, str]) -> None:
        self.id = f"{type(self).__name__}-{next(_serial)}"  # cryptofeed shares symbols by this name
        Symbols.set(self.id, {symbol: venue_symbol for venue_symbol, symbol in symbols.items()}, {})
        try:
            super().__init__(config={"uvloop": False}, candle_closed_only=False)
        finally:
            Symbols.data.pop(self.id, None)
        atexit.unregister(self.http_conn.__del__)  # it would keep every parser until the process ends
        self._parsed: Any = None
        self.callbacks: dict[str, list[Any]] = {channel: [self._keep] for channel in self.callbacks}

    def learn(self, symbols: Mapping[str, str]) -> None:
        """Parse these symbols of the venue, too."""
        self.exchange_symbol_mapping.update(symbols)
        self.normalized_symbol_mapping.update({symbol: venue_symbol for venue_symbol, symbol in symbols.items()})

    async def _keep(self, parsed: Any, _receipt_s: float) -> None:
        self._parsed = parsed

    async def parse(self, method: Callable[[Any, float], Awaitable[None]], message: Any) -> Any:
        """Return what one of cryptofeed's parser methods makes of ``message``.

        Raises:
            Exception: whatever cryptofeed raises for a message it cannot read.
        """
        self._parsed = None
        await method(message, 0.0)
        return self._parsed


def trade(parsed: Any, *, trade_id: int | str, time_ns: int, sequence: int | None = None) -> Trade:
    """Return cryptofeed's Trade as ours; its side is the aggressor's too."""
    return Trade(
        symbol=parsed.symbol,
        trade_id=trade_id,
        price=parsed.price,
        quantity=parsed.amount,
        side=Side.SELL if parsed.side == SELL else Side.BUY,
        time_ns=time_ns,
        sequence=sequence,
    )


def quote(
    parsed: Any, *, bid_quantity: Decimal, ask_quantity: Decimal, sequence: int | None, time_ns: int | None
) -> Quote:
    """Return cryptofeed's Ticker as ours; it has no quantities of its own."""
    return Quote(
        symbol=parsed.symbol,
        bid_price=parsed.bid,
        bid_quantity=bid_quantity,
        ask_price=parsed.ask,
        ask_quantity=ask_quantity,
        sequence=sequence,
        time_ns=time_ns,
    )


def bar(parsed: Any, *, open_ns: int, close_ns: int, quote_volume: Decimal | None) -> Bar:
    """Return cryptofeed's Candle as ours; ``close_ns`` is exclusive."""
    return Bar(
        symbol=parsed.symbol,
        interval=_interval(parsed.interval),
        open_ns=open_ns,
        close_ns=close_ns,
        open=parsed.open,
        high=parsed.high,
        low=parsed.low,
        close=parsed.close,
        volume=parsed.volume,
        is_closed=parsed.closed,
        quote_volume=quote_volume,
        trades=parsed.trades,
    )

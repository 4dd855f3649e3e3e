"""What the public sockets say of prints, books, bars and liquidations.  Values in, JSON values out.

docs/v5/websocket/public of github.com/bybit-exchange/docs (2025) and bybit-exchange.github.io (2026), and frames
recorded at the venue between 2024 and 2026.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from btx.model.instrument import Instrument, InstrumentKind
from btx.model.market import BookLevel
from btx.model.order import Side
from btx.model.time import to_ms
from btx.sim.market import BarChange, Market, PublicTrade
from btx.sim.orders import SimOrder
from btx.sim.skin.text import JSON
from btx_bybit.sim.tickers import price_text, quantity_text, tick_direction, turnover
from btx_bybit.sim.trade_ids import public_trade_id
from btx_bybit.sim.wire import plain

__all__ = ("Frames",)

_SIDES = {Side.BUY: "Buy", Side.SELL: "Sell"}
_TURNOVER_GRID = Decimal("0.00000001")


@attrs.frozen(kw_only=True)
class Frames:
    """The frames of one instrument."""

    category: str
    instrument: Instrument

    @property
    def symbol(self) -> str:
        return self.instrument.venue_symbol

    def trade(self, event: PublicTrade, market: Market) -> JSON:
        """``publicTrade.<symbol>``: ``seq`` is the number of the trade, ``L`` not of spot."""
        time_ms = to_ms(event.time_ns)
        row = {
            "T": time_ms,
            "s": self.symbol,
            "S": _SIDES[event.side],
            "v": quantity_text(self.instrument, event.quantity),
            "p": price_text(self.instrument, event.price),
        }
        if self.instrument.kind is not InstrumentKind.SPOT:
            row["L"] = tick_direction(market, self.symbol, event.trade_id)
        row |= {
            "i": public_trade_id(self.category, self.symbol, event.trade_id),
            "BT": False,
            "RPI": False,
            "seq": event.trade_id,
        }
        return self._frame(f"publicTrade.{self.symbol}", "snapshot", time_ms, [row])

    def book(
        self,
        topic: str,
        kind: str,
        sides: tuple[Iterable[BookLevel], Iterable[BookLevel]],
        *,
        update_id: int,
        sequence: int,
        time_ns: int,
    ) -> JSON:
        """``orderbook.<depth>.<symbol>``: ``sides`` are bids and asks, best first."""
        bids, asks = ([self._level(level) for level in side] for side in sides)
        data = {"s": self.symbol, "b": bids, "a": asks, "u": update_id, "seq": sequence}
        return self._frame(topic, kind, to_ms(time_ns), data) | {"cts": to_ms(time_ns)}

    def kline(self, event: BarChange, interval_text: str, last_trade_ns: int) -> JSON:
        """``kline.<interval>.<symbol>``."""
        bar, time_ms = event.bar, to_ms(event.time_ns)
        worth = turnover(self.instrument, bar.volume, bar.quote_volume or Decimal(0))
        row = {
            "start": to_ms(bar.open_ns),
            "end": to_ms(bar.close_ns) - 1,
            "interval": interval_text,
            "open": price_text(self.instrument, bar.open),
            "close": price_text(self.instrument, bar.close),
            "high": price_text(self.instrument, bar.high),
            "low": price_text(self.instrument, bar.low),
            "volume": plain(bar.volume),
            "turnover": plain(worth.quantize(_TURNOVER_GRID)),
            "confirm": bar.is_closed,
            "timestamp": to_ms(last_trade_ns),
        }
        return self._frame(f"kline.{interval_text}.{self.symbol}", "snapshot", time_ms, [row])

    def ticker(self, kind: str, row: Mapping[str, Any], *, sequence: int, time_ns: int) -> JSON:
        """``tickers.<symbol>``."""
        return self._frame(f"tickers.{self.symbol}", kind, to_ms(time_ns), dict(row)) | {"cs": sequence}

    def liquidations(self, orders: Iterable[tuple[SimOrder, int]], time_ns: int) -> JSON:
        """``allLiquidation.<symbol>``: the side is that of the position; the orders come with their times."""
        rows = [
            {
                "T": to_ms(at_ns),
                "s": self.symbol,
                "S": _SIDES[Side.BUY if order.side is Side.SELL else Side.SELL],
                "v": quantity_text(self.instrument, order.executed_quantity),
                "p": price_text(self.instrument, order.price or order.average_price),
            }
            for order, at_ns in orders
        ]
        return self._frame(f"allLiquidation.{self.symbol}", "snapshot", to_ms(time_ns), rows)

    def _level(self, level: BookLevel) -> list[str]:
        price, quantity = level
        return [price_text(self.instrument, price), quantity_text(self.instrument, quantity) if quantity else "0"]

    def _frame(self, topic: str, kind: str, time_ms: int, data: Any) -> JSON:
        return {"topic": topic, "type": kind, "ts": time_ms, "data": data}

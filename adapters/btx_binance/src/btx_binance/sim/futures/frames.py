"""What the market streams of Binance's futures say, from what the simulator knows.  Values in, JSON values out.

``websocket-market-streams`` of USD-M and COIN-M (developers.binance.com/docs/derivatives, 2026-05-28), the
Important-CM-UM-Integration-Notice (2026-06-10: ``st``, ``ps``), and frames recorded at the venue in August 2024 and
September 2026.
"""

from collections.abc import Iterable
from decimal import Decimal

import attrs

from btx.model.instrument import Instrument, InstrumentKind
from btx.model.market import Bar, BookLevel
from btx.model.order import Side
from btx.model.time import to_ms
from btx.sim.margin_events import MarkChange
from btx.sim.market import BarChange, BookChange, PublicTrade, QuoteChange, base_volume
from btx.sim.orders import SimOrder
from btx.sim.skin.text import JSON
from btx.sim.track import TradeFlow
from btx_binance.sim.futures.protocol import Change, Protocol
from btx_binance.sim.futures.wire import pair_of

__all__ = ("Frames",)

_USDM, _COINM = 1, 2  # symbol types
_BLANK = Decimal(0)


@attrs.frozen(kw_only=True)
class Frames:
    """The frames of one instrument."""

    instrument: Instrument
    protocol: Protocol

    @property
    def is_inverse(self) -> bool:
        """Whether quantities are contracts, and money is the base coin."""
        return self.instrument.kind is InstrumentKind.INVERSE

    @property
    def pair(self) -> str:
        """The venue's text of the pair."""
        return pair_of(self.instrument)

    def trade(self, event: PublicTrade) -> JSON:
        """``<symbol>@trade``: not in the manual, but there."""
        time_ms = to_ms(event.time_ns)
        return {
            "e": "trade",
            "E": time_ms,
            "T": time_ms,
            "s": event.venue_symbol,
            "t": event.trade_id,
            "p": self._price(event.price),
            "q": self._quantity(event.quantity),
            "X": "MARKET",
            "m": event.side is Side.SELL,
        }

    def agg_trade(self, event: PublicTrade) -> JSON:
        """``<symbol>@aggTrade``; nobody improves prices for retail here, so ``nq`` is ``q``."""
        time_ms = to_ms(event.time_ns)
        frame: JSON = {
            "e": "aggTrade",
            "E": time_ms,
            "a": event.trade_id,
            "s": event.venue_symbol,
            "p": self._price(event.price),
            "q": self._quantity(event.quantity),
            "f": event.trade_id,
            "l": event.trade_id,
            "T": time_ms,
            "m": event.side is Side.SELL,
        }
        return frame | ({} if self.is_inverse else {"nq": frame["q"]}) | self._type()

    def book_ticker(self, event: QuoteChange) -> JSON:
        """``<symbol>@bookTicker``."""
        quote, time_ms = event.quote, to_ms(event.time_ns)
        frame = {
            "e": "bookTicker",
            "u": event.update_id,
            "s": event.venue_symbol,
            "b": self._price(quote.bid_price),
            "B": self._quantity(quote.bid_quantity),
            "a": self._price(quote.ask_price),
            "A": self._quantity(quote.ask_quantity),
            "T": time_ms,
            "E": time_ms,
        }
        return frame | self._pair() | self._type()

    def depth(self, changes: list[BookChange]) -> JSON:
        """``<symbol>@depth``: one update of several changes, the last word on each level."""
        bids: dict[Decimal, Decimal] = {}
        asks: dict[Decimal, Decimal] = {}
        for change in changes:
            bids.update(change.bids)
            asks.update(change.asks)
        return self._book(changes, sorted(bids.items(), reverse=True), sorted(asks.items())) | (
            {"ps": self.pair} if self.is_inverse else {}
        )

    def levels(self, changes: list[BookChange], bids: Iterable[BookLevel], asks: Iterable[BookLevel]) -> JSON:
        """``<symbol>@depth<levels>``: the best levels as they are after these changes."""
        return self._book(changes, bids, asks) | self._pair() | self._type()

    def kline(self, event: BarChange, interval_text: str) -> JSON:
        """``<symbol>@kline_<interval>``."""
        return {
            "e": "kline",
            "E": to_ms(event.time_ns),
            "s": event.venue_symbol,
            "k": self._bar(event, interval_text, {"s": event.venue_symbol}),
        }

    def continuous_kline(self, event: BarChange, interval_text: str, contract_type: str) -> JSON:
        """``<pair>_<contractType>@continuousKline_<interval>``."""
        return {
            "e": "continuous_kline",
            "E": to_ms(event.time_ns),
            "ps": self.pair,
            "ct": contract_type,
            "k": self._bar(event, interval_text, {}),
        }

    def mark_price(self, event: MarkChange, rate: Decimal | None, next_funding_ns: int | None) -> JSON:
        """``<symbol>@markPrice``; what is delivered has no funding: an empty rate, at 0."""
        mark = f"{event.mark_price:.8f}"
        frame = {
            "e": "markPriceUpdate",
            "E": to_ms(event.time_ns),
            "s": event.venue_symbol,
            "p": mark,
            "P": f"{event.index_price:.8f}",
            "i": f"{event.index_price:.8f}",
            "r": "" if rate is None else f"{rate:.8f}",
            "T": 0 if next_funding_ns is None else to_ms(next_funding_ns),
        }
        return frame | ({} if self.is_inverse else {"ap": mark}) | self._type()

    def index_price(self, event: MarkChange) -> JSON:
        """``<pair>@indexPrice`` of COIN-M; the pair was ``i`` until both markets became one."""
        name = "s" if self.protocol.has(Change.ONE_ARCHITECTURE) else "i"
        return {
            "e": "indexPriceUpdate",
            "E": to_ms(event.time_ns),
            name: self.pair,
            "p": f"{event.index_price:.8f}",
        }

    def ticker(self, bar: Bar, flow: TradeFlow, last_quantity: Decimal | None, now_ns: int) -> JSON:
        """``<symbol>@ticker``: the last 24 hours."""
        average = flow.quote_volume / flow.volume if flow.volume else bar.close
        frame = {
            "e": "24hrTicker",
            "E": to_ms(now_ns),
            "s": self.instrument.venue_symbol,
            "p": self._price(bar.close - bar.open),
            "P": f"{(bar.close - bar.open) / bar.open * 100:.3f}",
            "w": self._price(average),
            "c": self._price(bar.close),
            "Q": self._quantity(last_quantity or _BLANK),
            "o": self._price(bar.open),
            "h": self._price(bar.high),
            "l": self._price(bar.low),
            "v": self._quantity(flow.volume),
            "q": self._turnover(flow),
            "O": to_ms(bar.open_ns),
            "C": to_ms(now_ns),
            "F": flow.first_trade_id,
            "L": flow.last_trade_id,
            "n": flow.trades,
        }
        return frame | ({"ps": self.pair} if self.is_inverse else {}) | self._type()

    def mini_ticker(self, bar: Bar, flow: TradeFlow, now_ns: int) -> JSON:
        """``<symbol>@miniTicker``: the last 24 hours, briefly."""
        frame = {
            "e": "24hrMiniTicker",
            "E": to_ms(now_ns),
            "s": self.instrument.venue_symbol,
            "c": self._price(bar.close),
            "o": self._price(bar.open),
            "h": self._price(bar.high),
            "l": self._price(bar.low),
            "v": self._quantity(flow.volume),
            "q": self._turnover(flow),
        }
        return frame | self._pair() | self._type()

    def force_order(self, order: SimOrder, now_ns: int) -> JSON:
        """``<symbol>@forceOrder``: a liquidation that is over."""
        quantity = self._quantity(order.executed_quantity)
        average = self._price(order.average_price or _BLANK)
        return {
            "e": "forceOrder",
            "E": to_ms(now_ns),
            "o": {
                "s": order.venue_symbol,
                **({"ps": self.pair} if self.is_inverse else {}),
                "S": order.side.value,
                "o": "LIMIT",
                "f": "IOC",
                "q": self._quantity(order.quantity),
                "p": average if order.price is None else self._price(order.price),
                "ap": average,
                "X": order.status.value,
                "l": quantity,
                "z": quantity,
                "T": to_ms(order.updated_ns),
            },
            **self._type(),
        }

    def _book(self, changes: list[BookChange], bids: Iterable[BookLevel], asks: Iterable[BookLevel]) -> JSON:
        time_ms = to_ms(changes[-1].time_ns)
        return {
            "e": "depthUpdate",
            "E": time_ms,
            "T": time_ms,
            "s": self.instrument.venue_symbol,
            "U": changes[0].first_id,
            "u": changes[-1].last_id,
            "pu": changes[0].first_id - 1,
            "b": self._rows(bids),
            "a": self._rows(asks),
        }

    def _rows(self, levels: Iterable[BookLevel]) -> list[list[str]]:
        return [[self._price(price), self._quantity(quantity)] for price, quantity in levels]

    def _bar(self, event: BarChange, interval_text: str, symbol: JSON) -> JSON:
        bar, flow = event.bar, event.flow
        return {
            "t": to_ms(bar.open_ns),
            "T": to_ms(bar.close_ns) - 1,
            **symbol,
            "i": interval_text,
            "f": flow.first_trade_id,
            "L": flow.last_trade_id,
            "o": self._price(bar.open),
            "c": self._price(bar.close),
            "h": self._price(bar.high),
            "l": self._price(bar.low),
            "v": self._quantity(bar.volume),
            "n": flow.trades,
            "x": bar.is_closed,
            "q": self._worth(bar.volume, bar.quote_volume or _BLANK),
            "V": self._quantity(flow.taker_buy_volume),
            "Q": self._worth(flow.taker_buy_volume, flow.taker_buy_quote_volume),
            "B": "0",
        }

    def _turnover(self, flow: TradeFlow) -> str:
        return self._worth(flow.volume, flow.quote_volume)

    def _worth(self, volume: Decimal, quote_volume: Decimal) -> str:
        worth = base_volume(self.instrument, volume, quote_volume) if self.is_inverse else quote_volume
        return f"{worth:.8f}"

    def _price(self, price: Decimal) -> str:
        """Return a price with as many decimals as the contract's prices have."""
        return f"{price.quantize(self.instrument.tick_size):f}"

    def _quantity(self, quantity: Decimal) -> str:
        return f"{quantity.quantize(self.instrument.step_size):f}"

    def _pair(self) -> JSON:
        """Return the pair where it is told: COIN-M always did, USD-M since both markets became one."""
        return {"ps": self.pair} if self.is_inverse or self.protocol.has(Change.ONE_ARCHITECTURE) else {}

    def _type(self) -> JSON:
        if not self.protocol.has(Change.ONE_ARCHITECTURE):
            return {}
        return {"st": _COINM if self.is_inverse else _USDM}

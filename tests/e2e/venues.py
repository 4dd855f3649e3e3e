"""Markets of venues: what tests that hold of any venue are run on."""

import importlib

import attrs
import pytest

from btx.model.market import Trade
from btx.model.venue import Channel, Scenario
from btx.sim.world import World

__all__ = ("BINANCE_SPOT", "BYBIT_LINEAR", "BYBIT_SPOT", "PLACES", "Place", "on_places")


@attrs.frozen(kw_only=True)
class Place:
    """One market of one venue; symbols are the plain names, which mean the perpetual where there are some."""

    venue: str
    market: str
    bar_stream: str  # what a stream of bars is called there, of {symbol} and {interval}
    streams: dict[Channel, str] = attrs.field(factory=dict, eq=False)  # likewise of {symbol}
    orders: tuple[bytes, bytes] = (b"", b"")  # how a request that places an order begins, and one that cancels one
    client_id: bytes = b""  # what stands before a client order id in a request
    announces_end: bool = False  # it says that it will close a connection before it does
    intervals: dict[str, str] = attrs.field(factory=dict, eq=False)  # ours to the venue's, where they differ

    def __str__(self) -> str:
        return f"{self.venue} {self.market}"

    def scenario(self, scenario: Scenario) -> Scenario:
        """Return a world as this market."""
        return attrs.evolve(scenario, market=self.market)

    def world(self, scenario: Scenario) -> World:
        """Return the same world without a wire, to be asked directly."""
        sim = importlib.import_module(f"btx_{self.venue}.sim.{_LISTINGS[self.venue]}")
        scenario = self.scenario(scenario)
        return World(scenario, sim.listings(sim.named(scenario) if hasattr(sim, "named") else scenario))

    @staticmethod
    def number(trade: Trade) -> int:
        """Return what counts the market's trades: where ids are texts the venue has a sequence."""
        return int(trade.trade_id if trade.sequence is None else trade.sequence)

    def venue_symbol(self, symbol: str) -> str:
        """Return what the venue calls a plain name."""
        return symbol.replace("/", "")

    def stream(self, symbol: str, interval: str) -> str:
        """Return what the venue calls a stream of bars."""
        return self.bar_stream.format(symbol=self._named(symbol), interval=self.intervals.get(interval, interval))

    def stream_of(self, channel: Channel, symbol: str) -> str:
        """Return what the venue calls a stream of quotes, a book or trades."""
        return self.streams[channel].format(symbol=self._named(symbol))

    def _named(self, symbol: str) -> str:
        name = self.venue_symbol(symbol)
        return name.lower() if self.venue == "binance" else name


_LISTINGS = {"binance": "exchange_info", "bybit": "listings"}

BINANCE_SPOT = Place(
    venue="binance",
    market="spot",
    bar_stream="{symbol}@kline_{interval}",
    streams={Channel.BOOK: "{symbol}@depth@100ms", Channel.QUOTE: "{symbol}@bookTicker"},
    orders=(b"POST /api/v3/order", b"DELETE /api/v3/order"),
    client_id=b"newClientOrderId=",
    announces_end=True,
)
BYBIT_SPOT = Place(
    venue="bybit",
    market="spot",
    bar_stream="kline.{interval}.{symbol}",
    streams={Channel.BOOK: "orderbook.1000.{symbol}", Channel.QUOTE: "orderbook.1.{symbol}"},
    orders=(b"POST /v5/order/create", b"POST /v5/order/cancel"),
    client_id=b'"orderLinkId":"',
    intervals={f"{count}m": str(count) for count in (1, 3, 5)},
)
BYBIT_LINEAR = attrs.evolve(BYBIT_SPOT, market="linear")
PLACES = (BINANCE_SPOT, BYBIT_SPOT)

on_places = pytest.mark.parametrize("place", PLACES, ids=str)
"""Runs a test on every place of :data:`PLACES`."""

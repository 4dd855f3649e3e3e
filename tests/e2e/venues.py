"""Markets of venues: what tests that hold of any venue are run on."""

import importlib

import attrs
import pytest

from btx.model.market import Trade
from btx.model.venue import Channel, Scenario
from btx.sim.world import World

__all__ = (
    "BINANCE_COINM",
    "BINANCE_SPOT",
    "BINANCE_USDM",
    "BYBIT_INVERSE",
    "BYBIT_LINEAR",
    "BYBIT_SPOT",
    "CONTRACTS",
    "EVERYWHERE",
    "PLACES",
    "Place",
    "on_places",
    "on_places_and_inverse",
    "on_places_and_linear",
    "on_places_everywhere",
)


@attrs.frozen(kw_only=True)
class Place:
    """One market of one venue, and two of its symbols."""

    venue: str
    market: str
    symbols: tuple[str, str] = ("BTC/USDT", "ETH/USDT")
    currency: str = "USDT"  # what orders are paid in, and margin is held in
    bar_stream: str  # what a stream of bars is called there, of {symbol} and {interval}
    streams: dict[Channel, str] = attrs.field(factory=dict, eq=False)  # likewise of {symbol}
    orders: tuple[bytes, bytes] = (b"", b"")  # how a request that places an order begins, and one that cancels one
    client_id: bytes = b""  # what stands before a client order id in a request
    announces_end: bool = False  # it says that it will close a connection before it does
    suffix: str = ""  # what the venue's names of symbols end with
    intervals: dict[str, str] = attrs.field(factory=dict, eq=False)  # ours to the venue's, where they differ

    def __str__(self) -> str:
        return f"{self.venue} {self.market}"

    def scenario(self, scenario: Scenario) -> Scenario:
        """Return a world as this market."""
        return attrs.evolve(scenario, market=self.market)

    def world(self, scenario: Scenario) -> World:
        """Return the same world without a wire, to be asked directly."""
        app = importlib.import_module(f"btx_{self.venue}.sim.app")
        world: World = app.matcher(self.scenario(scenario))._world
        return world

    @staticmethod
    def number(trade: Trade) -> int:
        """Return what counts the market's trades: where ids are texts the venue has a sequence."""
        return int(trade.trade_id if trade.sequence is None else trade.sequence)

    def venue_symbol(self, symbol: str) -> str:
        """Return what the venue calls a pair or a perpetual."""
        return symbol.partition(":")[0].replace("/", "") + self.suffix

    def stream(self, symbol: str, interval: str) -> str:
        """Return what the venue calls a stream of bars."""
        return self.bar_stream.format(symbol=self._named(symbol), interval=self.intervals.get(interval, interval))

    def stream_of(self, channel: Channel, symbol: str) -> str:
        """Return what the venue calls a stream of quotes, a book or trades."""
        return self.streams[channel].format(symbol=self._named(symbol))

    def _named(self, symbol: str) -> str:
        name = self.venue_symbol(symbol)
        return name.lower() if self.venue == "binance" else name


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
LINEAR = ("BTC/USDT:USDT", "ETH/USDT:USDT")
BINANCE_USDM = attrs.evolve(
    BINANCE_SPOT,
    market="usdm",
    symbols=LINEAR,
    orders=(b"POST /fapi/v1/order", b"DELETE /fapi/v1/order"),
    announces_end=False,
)
BINANCE_COINM = attrs.evolve(
    BINANCE_USDM,
    market="coinm",
    symbols=("BTC/USD:BTC", "ETH/USD:ETH"),
    currency="BTC",
    orders=(b"POST /dapi/v1/order", b"DELETE /dapi/v1/order"),
    suffix="_PERP",
)
BYBIT_LINEAR = attrs.evolve(BYBIT_SPOT, market="linear", symbols=LINEAR)
BYBIT_INVERSE = attrs.evolve(BYBIT_LINEAR, market="inverse", symbols=BINANCE_COINM.symbols, currency="BTC")
PLACES = (BINANCE_SPOT, BYBIT_SPOT)
CONTRACTS = (BYBIT_LINEAR, BYBIT_INVERSE)
EVERYWHERE = (*PLACES, *CONTRACTS, BINANCE_USDM, BINANCE_COINM)

on_places = pytest.mark.parametrize("place", PLACES, ids=str)
"""Runs a test on every place of :data:`PLACES`."""

on_places_and_linear = pytest.mark.parametrize("place", [*PLACES, BYBIT_LINEAR], ids=str)
on_places_and_inverse = pytest.mark.parametrize("place", [*PLACES, BYBIT_INVERSE], ids=str)
"""Likewise, and on contracts of the second venue: tests that take seconds take turns with its two kinds."""

on_places_everywhere = pytest.mark.parametrize("place", EVERYWHERE, ids=str)
"""Runs it on every market of either venue: for tests in lockstep, which take no time."""

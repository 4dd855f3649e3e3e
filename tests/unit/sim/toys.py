"""What tests of the simulator are made of: listings, kline files, a market of given levels."""

import gzip
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import attrs

from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import OrderType, Side, TimeInForce
from btx.model.time import NS_PER_MINUTE
from btx.model.venue import Scenario, SimAccount
from btx.sim.exchange import Exchange, ExecutionEvent, Listing, NewOrder
from btx.sim.filters import FilterSet, LotRange, NotionalRange, PriceRange
from btx.sim.world import World
from tests.values import BTC

ETH = attrs.evolve(BTC, symbol="ETH/USDT", venue_symbol="ETHUSDT", base="ETH", step_size=Decimal("0.0001"))
BNB = attrs.evolve(BTC, symbol="BNB/USDT", venue_symbol="BNBUSDT", base="BNB", step_size=Decimal("0.001"))
START_NS = 1_748_736_000_000_000_000  # 2025-06-01T00:00:00Z
KEY, OTHER_KEY = "key", "other-key"


def listing(instrument: Instrument) -> Listing:
    return Listing(
        instrument=instrument,
        filters=FilterSet(
            price=PriceRange(min=Decimal("0.01"), max=Decimal(1_000_000), tick=instrument.tick_size),
            lot=LotRange(min=instrument.step_size, max=Decimal(9000), step=instrument.step_size),
            notional=NotionalRange(min=Decimal(5)),
            max_num_orders=200,
            max_num_algo_orders=5,
        ),
        fees=FeeSchedule(
            maker=Decimal("0.001"), taker=Decimal("0.002"), discount_asset="BNB", source="made up for tests"
        ),
    )


LISTINGS = (listing(BTC), listing(ETH))


def account(api_key: str = KEY, **balances: Decimal | int | str) -> SimAccount:
    owned = {asset: Decimal(quantity) for asset, quantity in balances.items()}
    return SimAccount(api_key=api_key, api_secret=f"secret of {api_key}", balances=owned)


class FixedMarket:
    """A Liquidity whose books, prices and trading state the test sets."""

    def __init__(self) -> None:
        self.bids: list[tuple[Decimal, Decimal]] = [(Decimal(99), Decimal(1)), (Decimal(98), Decimal(5))]
        self.asks: list[tuple[Decimal, Decimal]] = [(Decimal(101), Decimal(1)), (Decimal(102), Decimal(5))]
        self.last = Decimal(100)
        self.is_open = True

    def is_trading(self, venue_symbol: str) -> bool:
        return self.is_open

    def last_price(self, venue_symbol: str) -> Decimal:
        return self.last

    def average_price(self, venue_symbol: str, minutes: int) -> Decimal:
        return self.last

    def levels(self, venue_symbol: str, side: Side) -> Iterator[tuple[Decimal, Decimal]]:
        yield from self.bids if side is Side.BUY else self.asks

    def quantity_at(self, venue_symbol: str, side: Side, price: Decimal) -> Decimal:
        return dict(self.levels(venue_symbol, side)).get(price, Decimal(0))


class Desk:
    """An exchange over a FixedMarket, with everything it has told."""

    def __init__(self, *accounts: SimAccount, listings: Sequence[Listing] = LISTINGS) -> None:
        self.market = FixedMarket()
        self.events: list[ExecutionEvent] = []
        self.exchange = Exchange(
            listings=listings,
            accounts=accounts or (account(USDT=100_000, BTC=10),),
            market=self.market,
            listener=self.events.append,
        )
        self.now_ns = START_NS

    def trade(self, price: str | int, quantity: str | int) -> None:
        """Let a public trade happen, and the market's last price follow it."""
        self.market.last = Decimal(price)
        self.exchange.on_trade(
            venue_symbol="BTCUSDT", price=Decimal(price), quantity=Decimal(quantity), now_ns=self.now_ns
        )

    @property
    def told(self) -> list[str]:
        return [event.kind.value for event in self.events]


def market_order(side: Side, quantity: str | int, **changes: object) -> NewOrder:
    order = NewOrder(venue_symbol="BTCUSDT", side=side, order_type=OrderType.MARKET, quantity=Decimal(quantity))
    return attrs.evolve(order, **changes)


def quote_order(side: Side, quote_quantity: str | int) -> NewOrder:
    """Return a market order sized in quote units."""
    return attrs.evolve(market_order(side, 0), quantity=None, quote_quantity=Decimal(quote_quantity))


def limit_order(
    side: Side, quantity: str | int, price: str | int, tif: TimeInForce = TimeInForce.GTC, **changes: object
) -> NewOrder:
    order = NewOrder(
        venue_symbol="BTCUSDT",
        side=side,
        order_type=OrderType.LIMIT,
        time_in_force=tif,
        quantity=Decimal(quantity),
        price=Decimal(price),
    )
    return attrs.evolve(order, **changes)


BARS = (
    ("104591.88", "104647.11", "104591.88", "104647.11", "10.71688"),
    ("104647.10", "104647.11", "104586.63", "104600.77", "7.66093"),
    ("104600.77", "104600.77", "104600.77", "104600.77", "0"),
    ("104600.78", "104700.00", "104500.00", "104650.12", "0.00004"),
    ("104650.12", "104660.00", "104640.00", "104655.50", "25.5"),
)
"""Five minutes: ordinary ones, one without trades, and one of four steps at four prices."""


def write_klines(
    path: Path,
    bars: Sequence[Sequence[str]] = BARS,
    *,
    start_ns: int = START_NS,
    minutes: Sequence[int] | None = None,
    header: bool = True,
) -> Path:
    """Write a file of six columns; ``minutes`` are the bars' places after the start."""
    places = minutes if minutes is not None else range(len(bars))
    lines = ["open_time_ms,open,high,low,close,volume"] if header else []
    for place, cells in zip(places, bars, strict=True):
        lines.append(",".join([str((start_ns + place * NS_PER_MINUTE) // 1_000_000), *cells]))
    text = "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def world(**changes: object) -> World:
    """Return a seeded lockstep world of BTC and ETH with one account."""
    scenario = Scenario(accounts=(account(USDT=1_000_000, BTC=10),), until_ns=60 * NS_PER_MINUTE)
    return World(attrs.evolve(scenario, **changes), LISTINGS)

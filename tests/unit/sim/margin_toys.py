"""What tests of the margin exchange are made of: contracts, marks that the test sets, an exchange with all it told."""

import time
from collections.abc import Callable, Sequence
from decimal import Decimal

import attrs

from btx.model.derivatives import FundingRate, LeverageTier
from btx.model.fees import FeeLevel, FeeSchedule
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.order import OrderType, Side
from btx.model.time import NS_PER_MINUTE
from btx.model.venue import Scenario, SimAccount
from btx.sim.conditionals import ConditionalEvent
from btx.sim.filters import FilterSet, LotRange, NotionalRange, PriceRange
from btx.sim.manners import BINANCE, Manners
from btx.sim.margin_events import AccountEvent, MarkChange
from btx.sim.margin_exchange import MarginExchange
from btx.sim.orders import ExecutionEvent, Listing, NewOrder
from btx.sim.world import World
from tests.unit.sim.toys import KEY, START_NS, FixedMarket, account
from tests.values import BTC

PERP = attrs.evolve(
    BTC,
    symbol="BTC/USDT:USDT",
    kind=InstrumentKind.LINEAR,
    settle="USDT",
    step_size=Decimal("0.001"),
    liquidation_fee=Decimal("0.0125"),
)
COIN = attrs.evolve(
    BTC,
    symbol="BTC/USD:BTC",
    venue_symbol="BTCUSD_PERP",
    kind=InstrumentKind.INVERSE,
    quote="USD",
    settle="BTC",
    step_size=Decimal(1),
    multiplier=Decimal(100),
    liquidation_fee=Decimal("0.015"),
)
TIERS = (
    LeverageTier(floor=Decimal(0), cap=Decimal(50_000), max_leverage=125, maintenance_rate=Decimal("0.004")),
    LeverageTier(
        floor=Decimal(50_000),
        cap=Decimal(250_000),
        max_leverage=20,
        maintenance_rate=Decimal("0.01"),
        maintenance_amount=Decimal(300),
    ),
    LeverageTier(
        floor=Decimal(250_000),
        max_leverage=5,
        maintenance_rate=Decimal("0.05"),
        maintenance_amount=Decimal(10_300),
    ),
)
FEES = FeeSchedule(
    maker=Decimal("0.0002"),
    taker=Decimal("0.0005"),
    discount_asset="BNB",
    discount=Decimal("0.1"),
    levels=(
        FeeLevel(tier="VIP 0", maker=Decimal("0.0002"), taker=Decimal("0.0005")),
        FeeLevel(tier="VIP 1", maker=Decimal("0.0001"), taker=Decimal("0.0004"), volume=Decimal(1000)),
    ),
    source="made up for tests",
)
MAX_ORDERS = 10


def listing(instrument: object = PERP, **changes: object) -> Listing:
    made = Listing(
        instrument=instrument,
        filters=FilterSet(
            price=PriceRange(min=Decimal("0.01"), max=Decimal(1_000_000), tick=Decimal("0.01")),
            lot=LotRange(min=instrument.step_size, max=Decimal(9000), step=instrument.step_size),
            notional=NotionalRange(min=Decimal(5)),
            max_num_orders=MAX_ORDERS,
            max_num_algo_orders=5,
        ),
        fees=FEES,
        tiers=TIERS,
    )
    return attrs.evolve(made, **changes)


class FixedMarks:
    """Marks that the test sets, of the symbol it turns to; one rate at a time, settled when the test says."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.prices: dict[str, Decimal] = {}
        self.index: Decimal | None = None  # None: it is the mark
        self.coming: list[FundingRate] = []

    @property
    def price(self) -> Decimal:
        return self.prices.get(self.symbol, Decimal(100))

    @price.setter
    def price(self, price: Decimal) -> None:
        self.prices[self.symbol] = price

    def mark(self, venue_symbol: str) -> MarkChange:
        coming = self.coming[0] if self.coming else None
        price = self.prices.get(venue_symbol, Decimal(100))
        return MarkChange(
            venue_symbol=venue_symbol,
            mark_price=price,
            index_price=price if self.index is None else self.index,
            funding_rate=coming.rate if coming else None,
            next_funding_ns=coming.time_ns if coming else None,
            time_ns=START_NS,
        )

    def rates(self, venue_symbol: str, after_ns: int, until_ns: int) -> Sequence[FundingRate]:
        return [rate for rate in self.coming if venue_symbol == self.symbol and after_ns < rate.time_ns <= until_ns]

    def next_funding_ns(self, venue_symbol: str, after_ns: int) -> int | None:
        return next((rate.time_ns for rate in self.coming if rate.time_ns > after_ns), None)


class MarginFloor:
    """A margin exchange over a FixedMarket and FixedMarks, with everything it has told."""

    def __init__(
        self,
        *accounts: SimAccount,
        listings: Sequence[Listing] = (),
        insurance: int = 1_000_000,
        start_ns: int = START_NS,
        manners: Manners = BINANCE,
    ) -> None:
        self.market = FixedMarket()
        self.events: list[object] = []
        self.now_ns = start_ns
        listings = listings or (listing(),)
        self.listeners: list[Callable[[object], None]] = [self.events.append]
        self.listed = [each.instrument for each in listings]
        self.instrument = self.listed[0]
        self.symbol = self.instrument.venue_symbol
        self.marks = FixedMarks(self.symbol)
        settle = self.instrument.settle
        self.exchange = MarginExchange(
            listings=listings,
            accounts=accounts or (account(**{settle: 1000}),),
            market=self.market,
            marks=self.marks,
            listener=self._tell,
            insurance={settle: Decimal(insurance)},
            manners=manners,
        )

    def turn_to(self, instrument: Instrument) -> None:
        """Place, trade and mark another of the listed contracts from now on."""
        self.instrument = instrument
        self.symbol = self.marks.symbol = instrument.venue_symbol
        self.marks.coming = []

    def _tell(self, event: object) -> None:
        for listener in self.listeners:
            listener(event)

    def place(self, order: NewOrder, api_key: str = KEY) -> object:
        place = self.exchange.place
        if order.order_type not in {OrderType.MARKET, OrderType.LIMIT}:
            place = self.exchange.place_conditional
        return place(api_key=api_key, order=attrs.evolve(order, venue_symbol=self.symbol), now_ns=self.now_ns)

    def trade(self, price: str | int, quantity: str | int) -> None:
        """Let a public trade happen, and the market's last price follow it."""
        self.market.last = Decimal(price)
        self.exchange.on_trade(
            venue_symbol=self.symbol, price=Decimal(price), quantity=Decimal(quantity), now_ns=self.now_ns
        )

    def mark(self, price: str | int, after_s: int = 1) -> None:
        """Let the mark price move."""
        self.marks.price = Decimal(price)
        self.now_ns += after_s * 1_000_000_000
        self.exchange.on_time(self.now_ns)

    def position(self, api_key: str = KEY) -> Decimal:
        return sum((each.quantity for each in self.exchange.positions(api_key=api_key)), Decimal(0))

    def wallet(self, asset: str = "USDT", api_key: str = KEY) -> Decimal:
        return self.exchange.wallet(api_key=api_key, asset=asset).wallet

    @property
    def told(self) -> list[str]:
        """Every event in a word or two, oldest first."""
        return [_word(event) for event in self.events]

    def total(self, asset: str = "USDT") -> Decimal:
        """Return all the money there is, clients' and the house's: nothing, always."""
        clients = sum((self.exchange.wallet(api_key=key, asset=asset).wallet for key in self.keys), Decimal(0))
        return clients + self.exchange.house().total(asset)

    @property
    def keys(self) -> list[str]:
        return list(self.exchange._accounts)


def _word(event: object) -> str:
    match event:
        case ExecutionEvent():
            return event.kind.value
        case ConditionalEvent():
            return f"algo {event.conditional.state.value}"
        case AccountEvent():
            return event.reason
        case _:
            return type(event).__name__


def stop(side: Side, trigger: str | int, quantity: str | int | None, **changes: object) -> NewOrder:
    order = NewOrder(
        venue_symbol="BTCUSDT",
        side=side,
        order_type=OrderType.STOP_MARKET,
        quantity=None if quantity is None else Decimal(quantity),
        trigger_price=Decimal(trigger),
    )
    return attrs.evolve(order, **changes)


def margin_world(
    *, wall_ns: Callable[[], int] = time.time_ns, monotonic_ns: Callable[[], int] = time.monotonic_ns, **changes: object
) -> World:
    """Return a seeded world of one perpetual with one account, in lockstep unless it says so."""
    scenario = Scenario(accounts=(account(USDT=1_000_000),), until_ns=60 * NS_PER_MINUTE)
    return World(attrs.evolve(scenario, **changes), (listing(),), wall_ns=wall_ns, monotonic_ns=monotonic_ns)

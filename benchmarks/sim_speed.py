"""The simulator's exchanges by themselves: orders and matched volume a second, and what a mark and a funding cost.

No wire, no market of minutes: a book that stands, and a listener that throws away what it hears.

    python benchmarks/sim_speed.py [--seconds 3]

Orders: a limit order is placed and cancelled; a market order takes the best level.  Matched: eight orders rest,
and one trade fills them all.  The spot exchange is the baseline of the same run.  A mark is a new price of every
symbol and the look at all margins after it; a funding pays every position.  One position is the baseline.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

import attrs
from rig.report import bound, facts

from btx.model.derivatives import FundingRate, LeverageTier
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.order import OrderType, Side
from btx.model.venue import SimAccount
from btx.sim.exchange import Exchange, Listing, NewOrder
from btx.sim.filters import FilterSet, LotRange, NotionalRange, PriceRange
from btx.sim.margin_events import MarkChange
from btx.sim.margin_exchange import MarginExchange

START_NS, SECOND_NS = 1_748_736_000_000_000_000, 1_000_000_000
KEY, MANY, RESTING = "key", 50, 8
MONEY = Decimal(10**12)


class Market:
    """A book of one level a side that never moves."""

    def is_trading(self, _symbol: str) -> bool:
        return True

    def last_price(self, _symbol: str) -> Decimal:
        return Decimal(100)

    def average_price(self, _symbol: str, _minutes: int) -> Decimal:
        return Decimal(100)

    def levels(self, _symbol: str, side: Side) -> Iterator[tuple[Decimal, Decimal]]:
        yield (Decimal(99) if side is Side.BUY else Decimal(101)), Decimal(10**9)

    def quantity_at(self, _symbol: str, _side: Side, _price: Decimal) -> Decimal:
        return Decimal(0)


class Marks:
    """Marks that move by a tick every second, and one rate that is settled every second once it is asked for."""

    def __init__(self) -> None:
        self.price, self.rates_every_second = Decimal(100), False

    def mark(self, symbol: str) -> MarkChange:
        return MarkChange(
            venue_symbol=symbol,
            mark_price=self.price,
            index_price=self.price,
            funding_rate=None,
            next_funding_ns=None,
            time_ns=START_NS,
        )

    def rates(self, symbol: str, _after_ns: int, until_ns: int) -> Sequence[FundingRate]:
        rate = FundingRate(symbol=symbol, time_ns=until_ns, rate=Decimal("0.0001"), mark_price=self.price)
        return [rate] if self.rates_every_second else []

    def next_funding_ns(self, _symbol: str, _after_ns: int) -> int | None:
        return None


def listing(number: int, kind: InstrumentKind) -> Listing:
    instrument = Instrument(
        venue="toy",
        symbol=f"C{number}/USDT",
        venue_symbol=f"C{number}USDT",
        kind=kind,
        base=f"C{number}",
        quote="USDT",
        settle="USDT",
        tick_size=Decimal("0.01"),
        step_size=Decimal("0.001"),
        min_quantity=Decimal("0.001"),
    )
    return Listing(
        instrument=instrument,
        filters=FilterSet(
            price=PriceRange(min=Decimal("0.01"), max=Decimal(10**6), tick=Decimal("0.01")),
            lot=LotRange(min=Decimal("0.001"), max=Decimal(10**6), step=Decimal("0.001")),
            notional=NotionalRange(min=Decimal(5)),
        ),
        fees=FeeSchedule(maker=Decimal("0.0002"), taker=Decimal("0.0005"), source="made up"),
        tiers=(LeverageTier(floor=Decimal(0), max_leverage=20, maintenance_rate=Decimal("0.004")),),
    )


def spot() -> Exchange:
    return Exchange(
        listings=[listing(0, InstrumentKind.SPOT)],
        accounts=[SimAccount(api_key=KEY, api_secret="", balances={"USDT": MONEY, "C0": MONEY})],
        market=Market(),
        listener=lambda _event: None,
    )


def margin(positions: int) -> tuple[MarginExchange, Marks]:
    marks = Marks()
    exchange = MarginExchange(
        listings=[listing(number, InstrumentKind.LINEAR) for number in range(max(positions, 1))],
        accounts=[SimAccount(api_key=KEY, api_secret="", balances={"USDT": MONEY})],
        market=Market(),
        marks=marks,
        listener=lambda _event: None,
        insurance={"USDT": MONEY},
    )
    for number in range(positions):
        order = attrs.evolve(market_order(Side.BUY), venue_symbol=f"C{number}USDT")
        exchange.place(api_key=KEY, order=order, now_ns=START_NS)
    return exchange, marks


def market_order(side: Side) -> NewOrder:
    return NewOrder(venue_symbol="C0USDT", side=side, order_type=OrderType.MARKET, quantity=Decimal(1))


def limit_order(side: Side, price: int) -> NewOrder:
    return attrs.evolve(market_order(side), order_type=OrderType.LIMIT, price=Decimal(price))


def per_second(work: Callable[[int], float], seconds: float) -> float:
    """Return how much ``work`` does a second; it is told the number of its turn and says how much it did."""
    work(0)
    started, done = time.perf_counter(), 0.0
    for turn in itertools.count(1):
        done += work(turn)
        spent = time.perf_counter() - started
        if spent >= seconds:
            return done / spent
    raise AssertionError


def rests(make: Callable[[], Exchange | MarginExchange]) -> Callable[[int], float]:
    exchange = make()

    def work(turn: int) -> float:
        now_ns = START_NS + turn * SECOND_NS
        order = exchange.place(api_key=KEY, order=limit_order(Side.BUY, 90), now_ns=now_ns)
        exchange.cancel(api_key=KEY, venue_symbol="C0USDT", order_id=order.order_id, now_ns=now_ns)
        return 1

    return work


def takes(make: Callable[[], Exchange | MarginExchange]) -> Callable[[int], float]:
    exchange = make()

    def work(turn: int) -> float:
        side = Side.BUY if turn % 2 else Side.SELL
        exchange.place(api_key=KEY, order=market_order(side), now_ns=START_NS + turn * SECOND_NS)
        return 1

    return work


def matched(make: Callable[[], Exchange | MarginExchange]) -> Callable[[int], float]:
    exchange = make()

    def work(turn: int) -> float:
        now_ns = START_NS + turn * SECOND_NS
        side, price, through = (Side.BUY, 95, 94) if turn % 2 else (Side.SELL, 105, 106)
        for _ in range(RESTING):
            exchange.place(api_key=KEY, order=limit_order(side, price), now_ns=now_ns)
        exchange.on_trade(venue_symbol="C0USDT", price=Decimal(through), quantity=Decimal(RESTING), now_ns=now_ns)
        return RESTING

    return work


def marked(positions: int, *, funded: bool) -> Callable[[int], float]:
    exchange, marks = margin(positions)
    marks.rates_every_second = funded

    def work(turn: int) -> float:
        marks.price = Decimal(100) + Decimal(turn % 100) / 100
        exchange.on_time(START_NS + turn * SECOND_NS)
        return 1

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each figure")
    seconds = parser.parse_args().seconds
    bound(120)
    facts("The simulator's exchanges, without a wire")
    print(f"{'a second':44} {'spot':>10} {'margin':>10} {'ratio':>7}")
    ratios = []
    cases = (("limit orders, placed and cancelled", rests), ("market orders", takes), ("base units matched", matched))
    for name, case in cases:
        base, other = (per_second(case(make), seconds) for make in (spot, lambda: margin(0)[0]))
        ratios.append(f"{name} {other / base:.2f}")
        print(f"{name:44} {base:10.0f} {other:10.0f} {other / base:7.2f}")
    print()
    print(f"{'microseconds':44} {'1 position':>10} {MANY:>7} ps. {'ratio':>7}")
    for name, funded in (("a mark of every symbol", False), ("a mark and a funding of every position", True)):
        one, many = (1e6 / per_second(marked(count, funded=funded), seconds) for count in (1, MANY))
        ratios.append(f"{name} {many / one:.1f}")
        print(f"{name:44} {one:10.1f} {many:10.1f} {many / one:7.1f}")
    print(f"ratio: {'; '.join(ratios)}")


if __name__ == "__main__":
    main()

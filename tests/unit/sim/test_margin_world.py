"""A world on margin: marks, funding and liquidation in market time."""

import asyncio
from decimal import ROUND_DOWN, Decimal
from pathlib import Path

import attrs
import pytest

from btx.errors import ConfigError
from btx.model.account import BookingKind
from btx.model.order import Side
from btx.model.time import NS_PER_DAY, NS_PER_MINUTE, NS_PER_S
from btx.model.venue import Scenario
from btx.sim.margin_events import MarkChange
from btx.sim.rates import load_rates
from btx.sim.world import Want, World, default_account
from tests.unit.sim.margin_toys import COIN, PERP, MarginFloor, listing, margin_world
from tests.unit.sim.toys import KEY, START_NS, account, market_order

HOUR_NS = 60 * NS_PER_MINUTE


def rates_file(path: Path, *rows: tuple[int, str, str]) -> Path:
    lines = ["funding_time_ms,funding_rate,mark_price", *(f"{at},{rate},{mark}" for at, rate, mark in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def play(world: World, minutes: int) -> None:
    for _ in range(minutes):
        world.advance()


def buy(world: World, quantity: str) -> None:
    world.margin.place(api_key=KEY, order=market_order(Side.BUY, quantity), now_ns=world.market_ns())


def test_the_mark_is_near_the_last_price_is_not_it_and_is_the_same_for_whoever_asks() -> None:
    world, other = margin_world(), margin_world()
    other.want("BTCUSDT", Want.MARK)

    for _ in range(5):
        world.advance()
        other.advance()
        mark, last = world.margin.mark("BTCUSDT"), world.market.last_price("BTCUSDT")
        assert other.margin.mark("BTCUSDT") == mark
        assert mark.mark_price not in {last, mark.index_price}
        assert abs(mark.mark_price / last - 1) < Decimal("0.01")


def test_without_a_premium_the_index_is_the_mean_of_the_last_prices() -> None:
    world = World(Scenario(until_ns=HOUR_NS), (listing(),), premium=Decimal(0))
    world.advance()

    looks = [world.market.price_at("BTCUSDT", world.market.now_ns - back * NS_PER_S) for back in (0, 15, 30, 45)]
    mark = world.margin.mark("BTCUSDT")
    assert mark.index_price == sum(looks) / 4
    assert mark.mark_price != mark.index_price  # the coming funding


def test_in_lockstep_the_mark_is_told_where_an_advance_ends() -> None:
    world = margin_world()
    world.want("BTCUSDT", Want.MARK)
    told: list[object] = []
    world.listen(told.append)

    step = world.advance()

    assert told == [world.margin.mark("BTCUSDT")]
    assert isinstance(told[0], MarkChange)
    assert step.told == (("BTCUSDT", Want.MARK, step.market_ns // 1_000_000),)


def test_funding_of_a_file_is_paid_at_its_stamp_and_its_mark_price(tmp_path: Path) -> None:
    origin_ms = margin_world().market_ns() // 1_000_000
    path = rates_file(tmp_path / "rates.csv", (origin_ms + 60_003, "0.0001", "50000"), (origin_ms + 90_000, "-1", "9"))
    world = margin_world(funding={PERP.symbol: path})
    told: list[object] = []
    world.listen(told.append)
    buy(world, "0.1")

    play(world, 1)
    assert [each.kind for each in world.margin.bookings(api_key=KEY)] == [BookingKind.FEE]
    play(world, 1)

    bookings = world.margin.bookings(api_key=KEY)[1:]
    assert [(each.amount, each.time_ns // 1_000_000 - origin_ms) for each in bookings] == [
        (Decimal("-0.5"), 60_003),
        (Decimal("0.9"), 90_000),
    ]
    with pytest.raises(ConfigError, match="only what is played has funding"):
        margin_world(funding={"ETH/USDT:USDT": path})


def test_minutes_in_which_no_margin_can_be_reached_are_not_looked_at_second_by_second() -> None:
    """The same liquidation comes at the same second, whether marks were looked at for somebody else or not."""
    ends = []
    for looks in (False, True):
        world = margin_world(accounts=(account(USDT=450),), until_ns=24 * HOUR_NS, seed=3)
        told: list[object] = []
        world.listen(told.append)
        world.margin.set_leverage(api_key=KEY, venue_symbol="BTCUSDT", leverage=100, now_ns=world.market_ns())
        buy(world, "0.4")
        if looks:
            world.margin.is_calm = lambda _bounds: False
        for _ in range(600):
            world.advance()
            if not world.margin.positions(api_key=KEY):
                break
        ends.append([(event.time_ns, type(event)) for event in told])
        assert not world.margin.positions(api_key=KEY)

    assert ends[0] == ends[1]
    assert ends[0][-1][0] % NS_PER_S == 0
    assert ends[0][-1][0] > START_NS


def test_a_constant_long_pays_what_the_recorded_rates_say(btx_data: Path) -> None:
    """One coin over some days of recorded minutes; each payment is cut to eight decimals."""
    instrument = attrs.evolve(PERP, tick_size=Decimal("0.1"))
    rates = btx_data / "funding" / "binance_usdm_BTCUSDT_funding_2025-03_06.csv"
    world = World(
        Scenario(
            data={PERP.symbol: btx_data / "klines" / "binance_usdm_BTCUSDT_1m_2025-05-05_2025-06-02.csv.gz"},
            funding={PERP.symbol: rates},
            accounts=(account(USDT=100_000),),
            until_ns=3 * NS_PER_DAY,
        ),
        (listing(instrument),),
    )
    world.margin.set_leverage(api_key=KEY, venue_symbol="BTCUSDT", leverage=5, now_ns=world.market_ns())
    start_ns = world.market_ns()
    buy(world, "1")
    while not world.ended:
        world.advance()

    expected = [
        (Decimal(rate) * Decimal(mark)).quantize(Decimal("1e-8"), ROUND_DOWN)
        for at, rate, mark in (line.split(",") for line in rates.read_text().splitlines()[1:])
        if start_ns < int(at) * 1_000_000 <= world.market.end_ns
    ]
    paid = [-each.amount for each in world.margin.bookings(api_key=KEY) if each.kind is BookingKind.FUNDING]
    assert paid == expected
    assert len(paid) == 9


def test_a_constant_long_pays_all_that_a_file_of_rates_says(btx_data: Path) -> None:
    """The sum is the one that comes with the file, but for what is cut off each of its payments."""
    rates = load_rates(btx_data / "funding" / "binance_usdm_BTCUSDT_funding_2025-03_06.csv", symbol=PERP.symbol)
    floor = MarginFloor(account(USDT=1000), start_ns=rates[0].time_ns - 1)
    floor.place(market_order(Side.BUY, 1))
    floor.marks.coming = list(rates)

    floor.exchange.on_time(rates[-1].time_ns)

    paid = -sum(each.amount for each in floor.exchange.bookings(api_key=KEY) if each.kind is BookingKind.FUNDING)
    assert 0 <= Decimal("800.33680776") - paid < len(rates) * Decimal("1e-8")


def test_a_market_that_runs_tells_the_mark_every_second() -> None:
    async def scenario() -> list[object]:
        wall = Wall()
        world = margin_world(speed=1.0, wall_ns=wall, monotonic_ns=wall)
        world.want("BTCUSDT", Want.MARK)
        told: list[object] = []
        world.listen(told.append)
        async with world:
            wall.now_ns += 3 * NS_PER_S + NS_PER_S // 2
            world.market_ns()
        return told

    told = asyncio.run(scenario())

    assert [(type(each), each.time_ns % NS_PER_MINUTE) for each in told] == [
        (MarkChange, second * NS_PER_S) for second in (1, 2, 3)
    ]


class Wall:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def __call__(self) -> int:
        return self.now_ns


def test_a_market_on_margin_begins_with_money_of_what_it_settles_in() -> None:
    listings = (listing(PERP), listing(COIN))

    assert default_account(1, listings).balances == {"USDT": 100_000, "BTC": 10}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,rate\n1,2\n", "line 1"),
        ("calc_time,last_funding_rate\n1,x\n", "line 2 is no funding rate"),
        ("calc_time,last_funding_rate\n2,0.1\n1,0.1\n", "line 3: rates are in the order"),
    ],
)
def test_a_file_that_has_no_rates_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(text)

    with pytest.raises(ConfigError, match=message):
        load_rates(path, symbol="BTC/USDT:USDT")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_rates(tmp_path / "none.csv", symbol="BTC/USDT:USDT")

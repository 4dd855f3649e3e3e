"""The simulated market: what is made up inside a minute agrees with its bar, and books with their changes."""

import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btx.model.order import Side
from btx.model.time import NS_PER_MINUTE, NS_PER_MS, Interval
from btx.sim.book import DEPTH, LatticeBook
from btx.sim.prints import MinuteBar, make_prints, shape_of
from btx.sim.tape import Row, Tape
from btx.sim.track import Track
from tests.unit.sim.toys import START_NS
from tests.values import BTC, MINUTE

END_MS = 60_000


@st.composite
def minute_bars(draw: st.DrawFn) -> MinuteBar:
    low = draw(st.integers(1, 10_000_000))
    reach = draw(st.one_of(st.integers(0, 3), st.integers(0, 50_000)))
    inside = st.integers(low, low + reach)
    volume = draw(st.one_of(st.integers(0, 50), st.integers(0, 10**10)))
    return MinuteBar(
        key=draw(st.integers(0, 2**64 - 1)),
        open=draw(inside),
        high=low + reach,
        low=low,
        close=draw(inside),
        volume=volume,
    )


@given(minute_bars())
def test_prints_touch_the_bar_exactly_and_sum_to_its_volume(bar: MinuteBar) -> None:
    shape = shape_of(bar, unit_notional=1e-7)
    prints = make_prints(bar, shape)

    assert len(prints) == shape.count
    if not bar.volume:
        assert prints == []
        return
    times, prices, quantities = zip(*prints, strict=True)
    assert (prices[0], prices[-1]) == (bar.open, bar.close)
    assert (min(prices), max(prices)) == (bar.low, bar.high)
    assert sum(quantities) == bar.volume * shape.parts
    assert min(quantities) > 0
    assert len(prints) <= 40
    assert 0 < times[0] <= times[-1] < END_MS
    assert all(after > before for before, after in itertools.pairwise(times))
    assert shape.parts == 1 or bar.volume < 4  # below the grid only where four prices cannot be touched


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Return minutes as a file may hold them, some missing, some idle."""
    places = sorted(draw(st.sets(st.integers(0, 40), min_size=1, max_size=15)))
    result = []
    for place in places:
        cells = sorted(draw(st.lists(st.integers(10_000, 10_050), min_size=4, max_size=4)))
        open_, close = draw(st.permutations(cells[1:3]))
        prices = [Decimal(cell) / 100 for cell in (open_, cells[3], cells[0], close)]
        steps = draw(st.one_of(st.just(0), st.integers(4, 10**7)))
        result.append(Row(START_NS + place * NS_PER_MINUTE, *prices, steps * Decimal("0.00001")))
    return result


def track(tape: list[Row], seed: int = 1) -> Track:
    return Track(Tape(instrument=BTC, rows=tape, synthesised=()), seed=seed, start_ns=START_NS, origin_ns=START_NS)


@given(rows(), st.integers(0, 1000), st.sampled_from(["1m", "5m", "1h", "1d"]))
def test_trades_of_any_bar_sum_to_it(tape: list[Row], seed: int, text: str) -> None:
    played, interval = track(tape, seed), Interval.parse(text)
    end_ns = START_NS + 41 * NS_PER_MINUTE

    for open_ns, close_ns in played.bar_spans(interval, START_NS, end_ns):
        bar = played.bar(interval, open_ns, close_ns, end_ns)
        inside = [row for row in tape if open_ns <= row.open_ns < close_ns]
        trades = played.between(open_ns, min(close_ns, end_ns))
        assert bar is not None
        assert (bar.open, bar.close) == (inside[0].open, inside[-1].close)
        assert (bar.high, bar.low) == (max(row.high for row in inside), min(row.low for row in inside))
        assert bar.volume == sum(row.volume for row in inside) == sum(trade.quantity for trade in trades)
        assert bar.quote_volume == sum(trade.quantity * trade.price for trade in trades)
        assert bar.trades == len(trades)
        assert all(trade.price % BTC.tick_size == 0 == trade.quantity % BTC.step_size for trade in trades)


@given(rows(), st.integers(0, 41 * END_MS))
def test_a_forming_bar_is_the_fold_of_the_trades_so_far(tape: list[Row], after_ms: int) -> None:
    played, interval = track(tape), Interval.parse("1h")
    now_ns = START_NS + after_ms * NS_PER_MS

    bar = played.bar(interval, START_NS, interval.close_of(START_NS), now_ns)

    trades = played.between(START_NS, now_ns)
    if bar is None:
        assert trades == []
        return
    assert bar.volume == sum(trade.quantity for trade in trades)
    assert bar.quote_volume == sum(trade.quantity * trade.price for trade in trades)
    assert all(bar.low <= trade.price <= bar.high for trade in trades)
    flow = played.flow(START_NS, now_ns + 1)
    assert flow.trades == len(trades) == bar.trades
    if trades:
        assert (flow.first_trade_id, flow.last_trade_id) == (trades[0].trade_id, trades[-1].trade_id)
        assert [trade.trade_id for trade in trades] == list(range(1, len(trades) + 1))
        assert played.last(now_ns).trade_id == trades[-1].trade_id
    buys = [trade for trade in trades if trade.side is Side.BUY]
    assert flow.taker_buy_volume == sum(trade.quantity for trade in buys)
    assert flow.taker_buy_quote_volume == sum(trade.quantity * trade.price for trade in buys)


@given(rows(), st.lists(st.integers(0, 41 * END_MS), min_size=2, max_size=8).map(sorted))
def test_a_snapshot_plus_the_changes_since_is_the_book_now(tape: list[Row], looks: list[int]) -> None:
    played = track(tape)
    times = [START_NS + look * NS_PER_MS for look in looks]
    book = {side: dict(played.levels(side, times[0])) for side in Side}
    mark = played.look(times[0])

    for before_ns, now_ns in itertools.pairwise(times):
        after = played.look(now_ns)
        for side, changes in zip(Side, played.changes(mark, after), strict=True):
            for price, quantity in changes:
                book[side].pop(price, None)
                if quantity:
                    book[side][price] = quantity
            assert book[side] == dict(played.levels(side, now_ns))
        assert after.update_id - mark.update_id == (now_ns - before_ns) // NS_PER_MS
        mark = after


@given(
    st.integers(0, 2**64 - 1),
    st.integers(1, 20_000_000),
    st.integers(1, 10**6),
    st.integers(1, 10**6),
    st.integers(0, 10**12),
)
def test_books_are_positive_sorted_and_never_crossed(
    key: int, last_price: int, mean: int, trade_id: int, time_ms: int
) -> None:
    book = LatticeBook(key=key, reference_price=last_price, mean_quantity=mean)
    bid, ask = book.top(last_price=last_price, trade_id=trade_id)
    bids, asks = list(book.levels(Side.BUY, bid, time_ms)), list(book.levels(Side.SELL, ask, time_ms))

    assert 0 < bids[-1][0] <= bid[0] < ask[0]
    assert last_price == 1 or last_price in (bid[0], ask[0])
    assert len(asks) == DEPTH
    assert [price for price, _ in bids] == sorted({price for price, _ in bids}, reverse=True)
    assert [price for price, _ in asks] == sorted({price for price, _ in asks})
    assert min(quantity for _, quantity in bids + asks) > 0
    for side, top, levels in ((Side.BUY, bid, bids), (Side.SELL, ask, asks)):
        assert [book.quantity_at(side, price, top, time_ms) for price, _ in levels[:5]] == [q for _, q in levels[:5]]


@given(rows(), st.integers(0, 41 * END_MS))
def test_looking_changes_nothing(tape: list[Row], after_ms: int) -> None:
    now_ns = START_NS + after_ms * NS_PER_MS
    curious, incurious = track(tape), track(tape)
    for time_ns in range(START_NS, now_ns, NS_PER_MINUTE):
        curious.between(START_NS, time_ns)
        list(curious.levels(Side.BUY, time_ns))

    assert curious.last(now_ns) == incurious.last(now_ns)
    assert curious.top(now_ns) == incurious.top(now_ns)
    assert curious.bar(MINUTE, START_NS, START_NS + NS_PER_MINUTE, now_ns) == incurious.bar(
        MINUTE, START_NS, START_NS + NS_PER_MINUTE, now_ns
    )


def test_a_tape_that_ends_before_the_start_is_no_track() -> None:
    row = Row(START_NS, *[Decimal(1)] * 5)
    with pytest.raises(ValueError, match="no minute"):
        Track(Tape(instrument=BTC, rows=[row], synthesised=()), seed=1, start_ns=START_NS + 1, origin_ns=START_NS)

"""The market: bars of the data, and everything made up around them, as of one time."""

import csv
import gzip
from decimal import Decimal
from pathlib import Path

import attrs
import pytest

from btx.errors import ConfigError, UnknownSymbolError
from btx.model.market import Bar
from btx.model.order import Side
from btx.model.time import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_MS, NS_PER_S, Interval
from btx.model.venue import Scenario
from btx.sim.market import Market
from btx.sim.synthetic import SYNTHETIC_ORIGIN_NS
from tests.unit.sim.toys import BARS, ETH, START_NS, write_klines
from tests.values import BTC, MINUTE, d

INSTRUMENTS = (BTC, ETH)
FIVE = Interval.parse("5m")


@pytest.fixture
def market(tmp_path: Path) -> Market:
    """The five toy minutes of BTC."""
    return Market.of(Scenario(data={"BTC/USDT": write_klines(tmp_path / "btc.csv")}), INSTRUMENTS)


def at(market: Market, minutes: float) -> Market:
    market.seek(START_NS + int(minutes * NS_PER_MINUTE))
    return market


def test_bars_are_exactly_those_of_the_file(market: Market) -> None:
    bars = at(market, 5).klines("BTCUSDT", MINUTE)

    assert [tuple(map(str, (b.open, b.high, b.low, b.close, b.volume))) for b in bars] == list(BARS)
    assert all(bar.is_closed for bar in bars)
    assert bars[2].trades == 0 == bars[2].quote_volume


def test_nothing_of_the_future_is_told(market: Market) -> None:
    assert at(market, 0).klines("BTCUSDT", MINUTE) == ()
    assert market.trades("BTCUSDT") == ()
    assert market.last_price("BTCUSDT") == d(BARS[0][0])
    assert len(at(market, 2).klines("BTCUSDT", MINUTE)) == 2
    assert market.trades("BTCUSDT", limit=1)[0].price == market.last_price("BTCUSDT") == d(BARS[1][3])


def test_the_current_bar_forms_print_by_print(market: Market) -> None:
    first = market.trades_between("BTCUSDT", START_NS, START_NS + NS_PER_MINUTE)[0]
    market.seek(first.time_ns)

    (bar,) = market.klines("BTCUSDT", MINUTE)

    assert not bar.is_closed
    assert (bar.open, bar.close, bar.volume, bar.trades) == (d(BARS[0][0]), d(BARS[0][0]), first.quantity, 1)
    market.seek(first.time_ns - 1)
    assert market.klines("BTCUSDT", MINUTE) == ()


def test_longer_bars_are_folded_from_minutes(market: Market) -> None:
    (bar,) = at(market, 4).klines("BTCUSDT", FIVE)
    assert (bar.open, bar.close, bar.is_closed) == (d(BARS[0][0]), d(BARS[3][3]), False)

    (bar,) = at(market, 5).klines("BTCUSDT", FIVE)
    assert (bar.open_ns, bar.close_ns) == (START_NS, START_NS + 5 * NS_PER_MINUTE)
    assert (bar.high, bar.low, bar.close) == (d("104700.00"), d("104500.00"), d("104655.50"))
    assert bar.volume == sum(d(cells[4]) for cells in BARS)
    assert bar.is_closed


def test_a_page_of_bars_is_the_first_after_a_start_or_the_newest_before_an_end(market: Market) -> None:
    at(market, 5)

    def places(bars: tuple[Bar, ...]) -> list[int]:
        return [(bar.open_ns - START_NS) // NS_PER_MINUTE for bar in bars]

    minute_2 = START_NS + 2 * NS_PER_MINUTE
    assert places(market.klines("BTCUSDT", MINUTE, limit=2)) == [3, 4]
    assert places(market.klines("BTCUSDT", MINUTE, start_ns=minute_2 - 1, limit=2)) == [2, 3]
    assert places(market.klines("BTCUSDT", MINUTE, end_ns=minute_2, limit=9)) == [0, 1]
    assert places(market.klines("BTCUSDT", MINUTE, start_ns=minute_2, end_ns=minute_2 + 1)) == [2]
    assert places(market.klines("BTCUSDT", FIVE, start_ns=START_NS + 1)) == []


def test_a_minute_that_has_opened_without_a_trade_takes_no_place_on_a_page(market: Market) -> None:
    market.seek(
        market.trades_between("BTCUSDT", START_NS + 4 * NS_PER_MINUTE, START_NS + 5 * NS_PER_MINUTE)[0].time_ns - 1
    )

    bars = market.klines("BTCUSDT", MINUTE, limit=3)

    assert [(bar.open_ns - START_NS) // NS_PER_MINUTE for bar in bars] == [1, 2, 3]


def test_missing_minutes_are_missing(tmp_path: Path) -> None:
    path = write_klines(tmp_path / "btc.csv", minutes=[0, 1, 4, 5, 12])
    market = at(Market.of(Scenario(data={"BTCUSDT": path}), INSTRUMENTS), 13)

    assert len(market.klines("BTCUSDT", MINUTE)) == 5
    assert [bar.open_ns for bar in market.klines("BTCUSDT", FIVE)] == [
        START_NS + minute * NS_PER_MINUTE for minute in (0, 5, 10)
    ]
    assert at(market, 3).last_price("BTCUSDT") == d(BARS[1][3])
    assert market.bar("BTCUSDT", MINUTE, START_NS + 2 * NS_PER_MINUTE) is None
    assert market.count_minutes("BTCUSDT") == (2, START_NS, START_NS + NS_PER_MINUTE)
    assert market.next_trade_ns("BTCUSDT") is None


def test_what_was_made_up_is_listed(market: Market, tmp_path: Path) -> None:
    assert "BTC/USDT: quotes and the book" in market.synthesised

    bars = [
        ("1.0005", "1.0005", "1.0005", "1.0005", "0.000001"),
        ("1", "2", "1", "2", "0"),
        ("1", "4", "0.5", "3", "0.000002"),
    ]
    odd = Market.of(Scenario(data={"ETH/USDT": write_klines(tmp_path / "odd.csv", bars)}), INSTRUMENTS)

    assert set(odd.synthesised) >= {
        "ETH/USDT: prices are on the data's own grid of 0.0001",
        "ETH/USDT: quantities are on the data's own grid of 0.000001",
        "ETH/USDT: 1 minutes move without volume: no trade shows how",
        "ETH/USDT: 1 minutes have too little volume for their range: prints below the grid",
    }
    at(odd, 3)
    assert sum(trade.quantity for trade in odd.trades("ETHUSDT")) == d("0.000003")


def test_the_files_own_figures_win(tmp_path: Path) -> None:
    path = tmp_path / "full.csv"
    path.write_text("1748736000000,10,12,9,11,3,1748736059999,31.5,471,1.5,15.75,0\n")
    market = at(Market.of(Scenario(data={"BTC/USDT": path}), INSTRUMENTS), 1)

    (bar,) = market.klines("BTCUSDT", MINUTE)
    flow = market.flow("BTCUSDT", bar.open_ns, bar.close_ns)

    assert (bar.quote_volume, bar.trades) == (d("31.5"), 471)
    assert (flow.taker_buy_volume, flow.taker_buy_quote_volume) == (d("1.5"), d("15.75"))
    assert flow.last_trade_id - flow.first_trade_id + 1 == len(market.trades("BTCUSDT"))


def test_trades_are_paged_by_id_and_by_time(market: Market) -> None:
    at(market, 5)
    everything = market.trades("BTCUSDT")
    ids = [trade.trade_id for trade in everything]

    assert ids == list(range(1, len(ids) + 1))
    assert market.trades("BTCUSDT", from_id=3, limit=4) == everything[2:6]
    assert market.trades("BTCUSDT", limit=4) == everything[-4:]
    later = everything[10]
    assert market.trades("BTCUSDT", start_ns=later.time_ns, end_ns=later.time_ns + 1) == (later,)
    assert market.trades("BTCUSDT", start_ns=later.time_ns, limit=3) == everything[10:13]
    assert market.trades("BTCUSDT", start_ns=START_NS + NS_PER_HOUR) == ()
    assert market.trades("BTCUSDT", start_ns=0, limit=2) == everything[:2]
    assert market.trades("BTCUSDT", end_ns=later.time_ns, limit=2) == everything[8:10]


def test_the_average_price_lies_within_the_minutes_it_is_made_of(market: Market) -> None:
    at(market, 5)

    assert market.average_price("BTCUSDT", 0) == market.last_price("BTCUSDT")
    assert d("104640.00") <= market.average_price("BTCUSDT", 1) <= d("104660.00")
    assert at(market, 3).average_price("BTCUSDT", 1) == market.last_price("BTCUSDT")


def test_a_window_is_one_bar_over_any_minutes(market: Market) -> None:
    window = at(market, 5).window("BTCUSDT", START_NS + NS_PER_MINUTE, market.now_ns)

    assert window is not None
    assert (window.open, window.close) == (d(BARS[1][0]), d(BARS[4][3]))


def test_quote_and_book_stand_around_the_last_price(market: Market) -> None:
    at(market, 1.5)
    quote, book = market.quote("BTCUSDT"), market.book("BTCUSDT", depth=20)

    assert (book.bids[0], book.asks[0]) == (
        (quote.bid_price, quote.bid_quantity),
        (quote.ask_price, quote.ask_quantity),
    )
    assert quote.bid_price < quote.ask_price
    assert market.last_price("BTCUSDT") in (quote.bid_price, quote.ask_price)
    assert len(book.bids) == len(book.asks) == 20
    assert book.sequence == quote.sequence == market.update_id("BTCUSDT")
    assert len(market.book("BTCUSDT").bids) == 1000
    for side, levels in ((Side.BUY, book.bids), (Side.SELL, book.asks)):
        assert [market.quantity_at("BTCUSDT", side, price) for price, _ in levels] == [q for _, q in levels]
    assert market.quantity_at("BTCUSDT", Side.BUY, quote.ask_price) == 0
    assert market.quantity_at("BTCUSDT", Side.SELL, quote.bid_price) == 0
    assert market.quantity_at("BTCUSDT", Side.BUY, d("0.005")) == 0


# --- scenarios -------------------------------------------------------------------------------------------------


def test_warm_up_is_history_and_the_rest_of_the_file_is_played(tmp_path: Path) -> None:
    path = write_klines(tmp_path / "btc.csv")
    market = Market.of(Scenario(data={"BTC/USDT": path}, warmup_ns=2 * NS_PER_MINUTE), INSTRUMENTS)

    assert market.origin_ns == market.now_ns == START_NS + 2 * NS_PER_MINUTE
    assert market.end_ns == START_NS + 5 * NS_PER_MINUTE
    assert len(market.klines("BTCUSDT", MINUTE)) == 2
    assert market.count_minutes("BTCUSDT") == (0, None, None)


def test_data_before_the_warm_up_is_left_out_and_until_ends_the_world(tmp_path: Path) -> None:
    path = write_klines(tmp_path / "btc.csv")
    scenario = Scenario(
        data={"BTC/USDT": path},
        origin_ns=START_NS + 3 * NS_PER_MINUTE + NS_PER_S,
        warmup_ns=NS_PER_MINUTE,
        until_ns=NS_PER_MINUTE,
    )
    market = Market.of(scenario, INSTRUMENTS)

    assert (market.origin_ns, market.end_ns) == (START_NS + 3 * NS_PER_MINUTE, START_NS + 4 * NS_PER_MINUTE)
    assert [bar.open_ns for bar in market.klines("BTCUSDT", MINUTE)] == [START_NS + 2 * NS_PER_MINUTE]


def test_rebased_data_begin_at_the_current_minute_and_are_otherwise_the_same(tmp_path: Path) -> None:
    scenario = Scenario(data={"BTC/USDT": write_klines(tmp_path / "btc.csv")}, warmup_ns=NS_PER_MINUTE)
    wire_ns = START_NS + 77 * NS_PER_DAY + 12_345_678_901
    plain = Market.of(scenario, INSTRUMENTS)
    moved = Market.of(attrs.evolve(scenario, rebase=True), INSTRUMENTS, wire_ns=wire_ns)
    shift_ns = moved.origin_ns - plain.origin_ns

    assert moved.origin_ns == wire_ns - wire_ns % NS_PER_MINUTE
    for market in (plain, moved):
        market.seek(market.end_ns)
    assert [attrs.evolve(t, time_ns=t.time_ns + shift_ns) for t in plain.trades("BTCUSDT")] == list(
        moved.trades("BTCUSDT")
    )


def test_warm_up_does_not_change_what_is_played() -> None:
    def played(warmup_ns: int) -> list[tuple[Decimal, Decimal, int]]:
        market = Market.of(Scenario(warmup_ns=warmup_ns, until_ns=NS_PER_HOUR), INSTRUMENTS)
        trades = market.trades_between("BTCUSDT", market.origin_ns, market.end_ns)
        return [(trade.price, trade.quantity, trade.time_ns) for trade in trades]

    assert played(0) == played(NS_PER_DAY)


def test_a_synthetic_market_lasts_a_day_in_lockstep_and_a_week_when_it_runs() -> None:
    for speed, days in ((None, 1), (60.0, 7)):
        market = Market.of(Scenario(speed=speed, symbols=("BTC/USDT",)), INSTRUMENTS)
        assert market.origin_ns == SYNTHETIC_ORIGIN_NS
        assert market.end_ns - market.origin_ns == days * NS_PER_DAY
        assert market.venue_symbols == ("BTCUSDT",)


def test_an_unlisted_symbol_is_named_with_those_that_are_listed() -> None:
    with pytest.raises(UnknownSymbolError, match="does not list DOGE/USDT: write one of BTC/USDT, ETH/USDT"):
        Market.of(Scenario(symbols=("DOGE/USDT",)), INSTRUMENTS)


def test_files_that_do_not_overlap_and_origins_outside_are_refused(tmp_path: Path) -> None:
    early = write_klines(tmp_path / "btc.csv")
    late = write_klines(tmp_path / "eth.csv", start_ns=START_NS + NS_PER_DAY)

    with pytest.raises(ConfigError, match=r"BTC/USDT are from 2025-06-01T00:00:00\.000Z to 2025-06-01T00:05:00\.000Z"):
        Market.of(Scenario(data={"BTC/USDT": early, "ETH/USDT": late}), INSTRUMENTS)
    with pytest.raises(ConfigError, match="choose another origin"):
        Market.of(Scenario(data={"BTC/USDT": early}, warmup_ns=NS_PER_HOUR), INSTRUMENTS)


def test_a_symbol_halts_where_its_data_end(tmp_path: Path) -> None:
    data = {
        "BTC/USDT": write_klines(tmp_path / "btc.csv"),
        "ETH/USDT": write_klines(tmp_path / "eth.csv", BARS[:2]),
    }
    market = at(Market.of(Scenario(data=data), INSTRUMENTS), 2)
    assert market.is_trading("ETHUSDT")

    at(market, 3)
    assert market.is_trading("BTCUSDT")
    assert not market.is_trading("ETHUSDT")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["BTCUSDT", "ETHUSDT"])
def test_a_real_month_folds_to_the_venues_own_longer_bars(btx_data: Path, name: str) -> None:
    market = Market.of(
        Scenario(data={name: btx_data / "klines" / f"binance_spot_{name}_1m_2025-06.csv.gz"}), INSTRUMENTS
    )
    market.seek(market.end_ns)

    assert len(market.klines(name, MINUTE, limit=50_000)) == 43_200
    for text in ("15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"):
        interval = Interval.parse(text)
        path = btx_data / "klines" / "multi_interval" / f"binance_spot_{name}_{text}.csv.gz"
        folded = {bar.open_ns: bar for bar in market.klines(name, interval, limit=50_000)}
        for cells in csv.reader(gzip.decompress(path.read_bytes()).decode().splitlines()[1:]):
            open_ns = int(cells[0]) * NS_PER_MS
            if market.origin_ns <= open_ns and interval.close_of(open_ns) <= market.end_ns:
                bar = folded[open_ns]
                assert [bar.open, bar.high, bar.low, bar.close, bar.volume] == [d(cell) for cell in cells[1:6]]
                # The venue's quote volume comes of its own trades; ours are made up within the same bars.
                assert abs(bar.quote_volume / d(cells[7]) - 1) < d("0.005")


@pytest.mark.slow
def test_trades_of_a_real_day_sum_to_its_bar(btx_data: Path) -> None:
    path = btx_data / "klines" / "binance_spot_ETHUSDT_1m_2025-06.csv.gz"
    market = Market.of(Scenario(data={"ETH/USDT": path}), INSTRUMENTS)
    market.seek(market.origin_ns + NS_PER_DAY)

    (day,) = market.klines("ETHUSDT", Interval.parse("1d"))
    trades = market.trades_between("ETHUSDT", day.open_ns, day.close_ns)

    assert sum(trade.quantity for trade in trades) == day.volume
    assert sum(trade.quantity * trade.price for trade in trades) == day.quote_volume
    assert (max(t.price for t in trades), min(t.price for t in trades)) == (day.high, day.low)
    assert all(trade.price % d("0.01") == 0 == trade.quantity % d("0.0001") for trade in trades)

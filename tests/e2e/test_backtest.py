"""env="backtest": the same ten lines on files and on the cache, bit for bit as backtrader alone on the same bars."""

import asyncio
import datetime
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import backtrader as bt
import pytest

import btx
from btx.bt.samples import SmaCross, sma_cross_cerebro
from btx.config import home
from btx.errors import ConfigError, UnknownSymbolError
from btx.model.market import Bar
from btx.model.time import NS_PER_MINUTE, Interval
from btx.model.venue import Endpoints, Environment
from btx.runtime.control import Control
from btx.sim.texts import endpoints_from_json, scenario_to_json
from btx.storage.bars import BarStore
from btx.storage.places import history_folder
from tests.backtests import START_NS, columns

EXAMPLE = Path(__file__).parents[2] / "examples/ten_lines.py"
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BTX_HOME", str(tmp_path / "home"))


@pytest.fixture
def klines(tmp_path: Path) -> Path:
    """Two days of minutes as a file of the venue's."""
    bars = columns(5, 2880)
    path = tmp_path / "btc.csv"
    names = ("open", "high", "low", "close", "volume")
    path.write_text(
        "".join(
            f"{bars.open_ns[row] // 1_000_000},{','.join(repr(getattr(bars, name)[row]) for name in names)}\n"
            for row in range(len(bars))
        ),
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize("env", ["backtest", "sim"])
def test_the_ten_lines_run_in_either_environment(env: str, klines: Path, tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    line = 'store = btx.load("binance", env="sim")'
    assert line in text
    words = f'scenario=btx.scenario(data={{"BTC/USDT": {str(klines)!r}}}, warmup="2h", until="3h")'
    script = tmp_path / "ten_lines.py"
    script.write_text(text.replace(line, f'store = btx.load("binance", env="{env}", {words})'), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, str(script)], env=os.environ.copy(), capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert "value at the end" in done.stdout
    assert f"binance/{env}/spot" in done.stderr


def of_generic_csv(path: Path, folder: Path) -> Any:
    """Return backtrader's own data of the file, in its own format."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        stamp, _, rest = line.partition(",")
        moment = EPOCH + datetime.timedelta(milliseconds=int(stamp) + 60_000)
        lines.append(f"{moment:%Y-%m-%d %H:%M:%S},{rest},0")
    (folder / "generic.csv").write_text("\n".join(lines), encoding="utf-8")
    numbers = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "openinterest": 6}
    return bt.feeds.GenericCSVData(
        dataname=str(folder / "generic.csv"), dtformat="%Y-%m-%d %H:%M:%S", headers=False, time=-1,
        timeframe=bt.TimeFrame.Minutes, sessionend=datetime.time(0, 0), **numbers,
    )  # fmt: skip


def of_pandas(path: Path, _folder: Path) -> Any:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(path, names=["time", "open", "high", "low", "close", "volume"])
    frame["openinterest"] = 0.0
    frame.index = pandas.to_datetime(frame.pop("time") + 60_000, unit="ms")
    return bt.feeds.PandasData(dataname=frame, timeframe=bt.TimeFrame.Minutes, sessionend=datetime.time(0, 0))


class Books(bt.Analyzer):
    """Every trade and order, and the value at every bar."""

    def create_analysis(self) -> None:
        self.rets: Any = []

    def next(self) -> None:
        self.rets.append((self.strategy.data.datetime[0], self.strategy.broker.getvalue()))

    def notify_trade(self, trade: Any) -> None:
        self.rets.append(("trade", trade.size, trade.price, trade.pnl, trade.pnlcomm, trade.dtopen, trade.dtclose))

    def notify_order(self, order: Any) -> None:
        self.rets.append(
            (order.status, order.executed.dt, order.executed.size, order.executed.price, order.executed.comm)
        )


def books(cerebro: Any) -> Any:
    cerebro.addanalyzer(Books)
    cerebro.addanalyzer(bt.analyzers.TradeAnalyzer)
    strategy = cerebro.run()[0]
    return [repr(each.get_analysis()) for each in strategy.analyzers], cerebro.broker.getvalue()


@pytest.mark.parametrize("stock", [of_generic_csv, of_pandas])
def test_the_sample_strategy_gives_what_backtraders_own_data_and_broker_give(
    stock: Any, klines: Path, tmp_path: Path
) -> None:
    store = btx.load("binance", env="backtest", fills="stock", scenario=btx.scenario(data={"BTC/USDT": klines}))
    ours = books(sma_cross_cerebro(store, ["BTC/USDT"]))

    alone = bt.Cerebro(stdstats=False)
    alone.broker.setcash(100_000.0)
    alone.broker.setcommission(commission=0.001)
    alone.adddata(stock(klines, tmp_path))
    alone.addstrategy(SmaCross)
    alone.addsizer(bt.sizers.PercentSizer, percents=30)

    assert ours == books(alone)
    assert "trade" in ours[0][0]


def test_the_store_answers_with_the_venues_rules_without_asking_it(klines: Path) -> None:
    store = btx.load("binance", env="backtest", scenario=btx.scenario(data={"BTC/USDT": klines}))

    small = store.would_accept(side="buy", dataname="BTC/USDT", size="0.00001", price="100")
    elsewhere = pickle.loads(pickle.dumps(store))  # as optimisation sends it

    assert store.instrument("BTC/USDT").price_band is not None
    assert elsewhere.instrument("BTC/USDT") == store.instrument("BTC/USDT")
    assert store.instruments() == {}, "before a run"
    assert (small.rule, bool(store.would_accept(side="buy", dataname="BTC/USDT", size=1, price=100))) == (
        "min_notional",
        True,
    )


def test_a_search_in_other_processes_may_follow_a_run_of_the_same_broker(klines: Path) -> None:
    store = btx.load("binance", env="backtest", scenario=btx.scenario(data={"BTC/USDT": klines}))
    first, search = sma_cross_cerebro(store, ["BTC/USDT"]), bt.Cerebro(stdstats=False)
    first.run()
    search.setbroker(store.getbroker())
    search.adddata(store.getdata(dataname="BTC/USDT"))
    search.optstrategy(SmaCross, fast=[5, 10])

    found = search.run(maxcpus=2)

    assert [each.p.fast for (each,) in found] == [5, 10]


def test_perpetuals_can_be_played_with_backtraders_own_fills(klines: Path) -> None:
    store = btx.load(
        "binance", env="backtest", market="usdm", fills="stock", scenario=btx.scenario(data={"BTC/USDT": klines})
    )
    cerebro = sma_cross_cerebro(store, ["BTC/USDT"])

    cerebro.run()

    assert cerebro.broker.getcommissioninfo(cerebro.datas[0]).p.commission == 0.0005
    assert cerebro.broker.getvalue() != 100_000


def test_longer_bars_are_made_of_the_files_minutes(klines: Path) -> None:
    store = btx.load("binance", env="backtest", scenario=btx.scenario(data={"BTC/USDT": klines}))
    cerebro = bt.Cerebro(stdstats=False)
    for interval in ("1m", "1h", "1d"):
        cerebro.adddata(store.getdata(dataname="BTC/USDT", interval=interval, name=interval))
    cerebro.addstrategy(bt.Strategy)

    (strategy,) = cerebro.run()

    assert [len(data) for data in strategy.datas] == [2880, 48, 2]
    minutes, _hours, days = strategy.datas
    assert days.high[0] == max(minutes.high.get(size=1440))
    assert days.volume[0] == float(sum(Decimal(repr(each)) for each in minutes.volume.get(size=1440)))


def kept(count: int) -> BarStore:
    """Fill the cache of the venue's bars."""
    bars = columns(5, count)
    store = BarStore(history_folder(home(), venue="binance", environment=Environment.BACKTEST, market="spot"))
    names = ("open", "high", "low", "close", "volume")
    store.put(
        "BTC/USDT",
        Interval.parse("1m"),
        [
            Bar(
                symbol="BTC/USDT",
                interval=Interval.parse("1m"),
                open_ns=bars.open_ns[row],
                close_ns=bars.close_ns[row],
                is_closed=True,
                **{name: Decimal(repr(getattr(bars, name)[row])) for name in names},
            )
            for row in range(count)
        ],
        covered=[(START_NS, START_NS + count * NS_PER_MINUTE)],
        source="test",
    )
    return store


def from_cache(interval: str) -> Any:
    store = btx.load("binance", env="backtest", balances={"USDT": "500"}, limits=None, webhook=None, confirm=True)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    begin = datetime.datetime(2025, 6, 1, tzinfo=datetime.UTC)
    cerebro.adddata(
        store.getdata(
            dataname="BTC/USDT", interval=interval, fromdate=begin, todate=begin + datetime.timedelta(hours=3)
        )
    )
    cerebro.addstrategy(bt.Strategy)
    return cerebro.run()[0]


def test_the_cache_is_played_where_no_file_is_named() -> None:
    kept(180)

    minutes = from_cache("1m")
    hours = from_cache("1h")

    assert (len(minutes.data), minutes.broker.getvalue()) == (180, 500)
    assert len(hours.data) == 3
    assert hours.data.high[0] == max(minutes.data.high.get(size=60))


def test_a_period_that_is_still_to_come_is_told() -> None:
    cerebro = bt.Cerebro()
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    store = btx.load("binance", env="backtest")
    cerebro.adddata(
        store.getdata(dataname="BTC/USDT", fromdate=tomorrow, todate=tomorrow + datetime.timedelta(hours=1))
    )
    cerebro.addstrategy(bt.Strategy)

    with pytest.raises(ConfigError, match="no 1m bar has closed in that period yet"):
        cerebro.run()


def test_where_nobody_can_be_asked_the_command_is_named() -> None:
    store = btx.load("binance", env="backtest", scenario=btx.scenario(attach="ws://127.0.0.1:1/"))
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(
        store.getdata(
            dataname="BTC/USDT",
            fromdate=datetime.datetime(2025, 6, 1, 12, 30, tzinfo=datetime.UTC),
            todate=datetime.date(2025, 6, 2),
        )
    )

    with pytest.raises(ConfigError) as told:
        cerebro.run()

    assert "BTC/USDT 1m bars of 2025-06-01T12:30 to 2025-06-03 are not all in the cache" in str(told.value)
    assert str(told.value).endswith(
        "btx history download binance BTC/USDT -i 1m --from 2025-06-01T12:30 --to 2025-06-03"
        " --env sim --attach ws://127.0.0.1:1/"
    )


@pytest.fixture
def simulator() -> Iterator[Endpoints]:
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "btx", "sim", "binance", "--detach", "--json"),
            *("--scenario-json", scenario_to_json(btx.scenario(warmup="1d", until="1h"))),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        try:
            yield endpoints_from_json(child.stdout.readline())
        finally:
            child.send_signal(signal.SIGTERM)
            assert child.wait(60) == 0


def requests(simulator: Endpoints) -> int:
    async def ask() -> int:
        channel = await Control.connect(simulator.control)
        try:
            counted: dict[str, int] = (await channel.ask("requests"))["requests"]
            return sum(counted.values())
        finally:
            await channel.close()

    return asyncio.run(ask())


def test_what_is_missing_is_fetched_once_and_a_symbol_nobody_lists_is_told(simulator: Endpoints) -> None:
    scenario = btx.scenario(attach=simulator.control)

    def closes(symbol: str = "BTC/USDT") -> list[float]:
        store = btx.load("binance", env="backtest", scenario=scenario)
        cerebro = bt.Cerebro(stdstats=False)
        end = datetime.datetime(2025, 5, 31, 22, 0, tzinfo=datetime.UTC)  # before the market began
        cerebro.adddata(store.getdata(dataname=symbol, backfill="2h", todate=end))
        cerebro.addstrategy(bt.Strategy)
        return list(cerebro.run()[0].data.lines.close.array)

    first = closes()
    asked = requests(simulator)
    again = closes()

    assert len(first) == 120
    assert again == first
    assert requests(simulator) == asked
    with pytest.raises(UnknownSymbolError, match="Binance lists no MOON/USDT"):
        closes("MOON/USDT")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"limit": None}, "load has no option limit=: did you mean limits=?"),
        ({"fills": "paper"}, "write 'bars' (orders meet bars under the venue's rules), 'stock'"),
        ({"leverage": 5}, "positions of market 'spot' are not on margin"),
        ({"market": "moon"}, "Binance has no market 'moon' here"),
        ({"scenario": "btc.csv"}, "is none: write btx.scenario"),
        ({"scenario": btx.scenario(seed=2)}, "plays files or the cache: name files"),
        (
            {"fills": "stock", "market": "usdm", "leverage": 5},
            'fills="stock" is backtrader\'s own broker, and knows no',
        ),
        ({"market": "usdm", "leverage": {"BTCUSDT": 5}}, "write the symbol with a slash"),
        ({"balances": {"USDT": "1", "BTC": "1"}}, "begins with USDT alone, not with BTC: buy what it should hold"),
    ],
)
def test_words_that_make_no_sense_here_are_told(words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as told:
        btx.load("binance", env="backtest", **words)

    assert sentence in str(told.value)


def test_what_the_market_has_not_is_told_before_it_is_played(klines: Path) -> None:
    def play(dataname: str, **words: Any) -> None:
        scenario = btx.scenario(data={dataname: klines})
        store = btx.load("binance", env="backtest", scenario=scenario, **words)
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.setbroker(store.getbroker())
        cerebro.adddata(store.getdata(dataname))
        cerebro.run()

    with pytest.raises(ConfigError, match="Binance allows a leverage of 125 with BTC/USDT:USDT, not of 1000"):
        play("BTC/USDT", market="usdm", leverage=1000)
    with pytest.raises(ConfigError, match="'BTC/USDT:USDT' is a contract, and this market is spot"):
        play("BTC/USDT:USDT")
    play("BTC/USDT", market="usdm", fills="stock")  # the plain symbol means the perpetual here, too


def test_stores_of_backtests_on_bars_are_not_joined(klines: Path) -> None:
    scenario = btx.scenario(data={"BTC/USDT": klines})
    stores = [btx.load("binance", env="backtest", market=market, scenario=scenario) for market in ("spot", "usdm")]

    with pytest.raises(ConfigError, match=r'a backtest on bars has one account: .* fills="venue"'):
        btx.broker(*stores)


def test_faults_need_a_wire(klines: Path) -> None:
    faulty = btx.scenario(data={"BTC/USDT": klines}, faults=[{"kind": "lose", "where": "place", "at": 2}])

    with pytest.raises(ConfigError, match="a backtest has one account, and no wire to cut"):
        btx.load("binance", env="backtest", scenario=faulty)


def test_an_account_to_open_is_not_there() -> None:
    from btx.compose import open_account

    with pytest.raises(ConfigError, match="plays history and has no account"):
        open_account("binance", env="backtest")

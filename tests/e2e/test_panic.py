"""``btx panic`` and ``btx resume`` from another process, against a served simulator that ccxt has traded on."""

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import ccxt
import pytest

from btx.model.journal import Event, Halted, Intent, Record, Resumed, Sent
from btx.model.order import OrderReport, Side, Status
from btx.model.venue import Endpoints, Environment, Scenario, SimAccount
from btx.sim.server import endpoints_to_json
from btx.storage.journal import open_journal, read_journal
from btx.storage.places import JOURNAL, account_folder
from btx.storage.presence import write_presence
from btx.storage.requests import RequestKind, take_requests
from btx_binance.sim.app import simulator
from tests.e2e.test_foreign_clients import at

pytestmark = pytest.mark.slow

ME = SimAccount(
    api_key="me" * 16, api_secret="secret" * 8, balances={"USDT": Decimal(1_000_000), "BTC": Decimal("1.000004")}
)
OTHER = SimAccount(api_key="other" * 8, api_secret="secret" * 8, balances={"USDT": Decimal(1_000_000)})
SECONDS = 60


@attrs.frozen(kw_only=True)
class World:
    """A simulator that is served, the account's folder, and ccxt on the account."""

    home: Path
    folder: Path
    exchange: Any
    other: Any

    def btx(self, *arguments: str, answer: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "btx", *arguments],
            env=os.environ | {"BTX_HOME": str(self.home), "COLUMNS": "200"},
            input=answer,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def limit(self, side: str, quantity: float, factor: float) -> str:
        """Rest an order at a share of the price; return its client order id."""
        price = self.exchange.fetch_ticker("BTC/USDT")["last"] * factor
        placed = self.exchange.create_order("BTC/USDT", "limit", side, quantity, round(price))
        return str(placed["clientOrderId"])

    def resting(self) -> set[str]:
        return {order["clientOrderId"] for order in self.exchange.fetch_open_orders("BTC/USDT")}

    def total(self, asset: str) -> Decimal:
        return Decimal(str(self.exchange.fetch_balance()[asset]["total"]))

    def written(self) -> list[Record]:
        reader = read_journal(self.folder / JOURNAL)
        try:
            return [record for _, _, record in reader.records()]
        finally:
            reader.close()


@contextlib.contextmanager
def served(scenario: Scenario) -> Iterator[Endpoints]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="venue")
    thread.start()
    context = simulator(scenario)

    def do(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(SECONDS)

    try:
        yield do(context.__aenter__())
        do(context.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    scenario = Scenario(
        symbols=("BTC/USDT", "ETH/USDT"), speed=1.0, rebase=True, warmup_ns=6 * 3600 * 10**9, accounts=(OTHER, ME)
    )
    folder = account_folder(
        tmp_path, venue="binance", environment=Environment.SIM, market="spot", api_key=ME.api_key, world="kept"
    )
    with served(scenario) as endpoints:
        write_presence(folder, pid=os.getpid(), endpoints_json=endpoints_to_json(endpoints))
        clients = [
            at(ccxt.binance({"apiKey": each.api_key, "secret": each.api_secret}), endpoints) for each in (ME, OTHER)
        ]
        yield World(home=tmp_path, folder=folder, exchange=clients[0], other=clients[1])


def test_panic_cancels_what_opens_keeps_what_protects_and_halts(world: World) -> None:
    entries = {world.limit("buy", 0.01, 0.9), world.limit("buy", 0.02, 0.8)}
    exits = {world.limit("sell", 0.5, 1.1)}
    theirs = world.other.create_order("BTC/USDT", "limit", "buy", 0.01, 60_000)["clientOrderId"]

    done = world.btx("panic", "binance", "--world", "kept", "--reason", "smoke")

    assert done.returncode == 0, done.stderr
    assert "binance/sim/spot: halted, nobody trades on it now" in done.stdout
    for entry in entries:
        (line,) = [line for line in done.stdout.splitlines() if entry in line]
        assert line.split()[-1] == "cancelled"
    assert "stays: it only reduces what is held" in done.stdout
    assert world.resting() == exits
    assert [order["clientOrderId"] for order in world.other.fetch_open_orders("BTC/USDT")] == [theirs]
    assert [record.reason for record in world.written() if isinstance(record, Halted)] == ["smoke"]


def test_panic_cancels_the_exits_too_when_it_is_told_to(world: World) -> None:
    world.limit("sell", 0.5, 1.1)

    done = world.btx("panic", "binance", "--all")

    assert done.returncode == 0, done.stderr
    assert world.resting() == set()
    assert world.total("BTC") == Decimal("1.000004")


def test_flatten_sells_what_is_held_and_writes_every_sale_down(world: World) -> None:
    world.limit("sell", 0.5, 1.1)

    done = world.btx("panic", "binance", "--flatten", "--symbol", "BTC/USDT")

    assert done.returncode == 0, done.stdout + done.stderr
    assert world.resting() == set()
    assert world.total("BTC") == Decimal("0.000004")
    assert "filled, sold 1" in done.stdout
    halted, intent, sent, *events = world.written()
    assert isinstance(halted, Halted)
    assert isinstance(intent, Intent)
    assert isinstance(sent, Sent)
    assert intent.client_order_id.startswith("pn")
    assert len(intent.client_order_id) == 12
    assert (intent.leg.request.side, intent.leg.quantity) == (Side.SELL, Decimal(1))
    reports = [each.order_event for each in events if isinstance(each, Event)]
    assert [each.status for each in reports if isinstance(each, OrderReport)] == [Status.FILLED]
    listed = world.btx("orders", "kept")
    assert intent.client_order_id in listed.stdout


def test_flatten_closes_the_positions_of_a_market_on_margin_and_nothing_more(tmp_path: Path) -> None:
    scenario = Scenario(market="usdm", speed=1.0, rebase=True, warmup_ns=6 * 3600 * 10**9, accounts=(ME,))
    places = {"venue": "binance", "environment": Environment.SIM, "api_key": ME.api_key, "world": "kept"}
    folder = account_folder(tmp_path, market="usdm", **places)
    with served(scenario) as endpoints:
        write_presence(folder, pid=os.getpid(), endpoints_json=endpoints_to_json(endpoints))
        exchange = at(ccxt.binanceusdm({"apiKey": ME.api_key, "secret": ME.api_secret}), endpoints)
        world = World(home=tmp_path, folder=folder, exchange=exchange, other=None)
        exchange.create_order("BTC/USDT:USDT", "market", "buy", 0.02)
        exchange.create_order("ETH/USDT:USDT", "market", "sell", 0.5)
        last = exchange.fetch_ticker("BTC/USDT:USDT")["last"]
        opens = exchange.create_order("BTC/USDT:USDT", "limit", "buy", 0.01, round(last * 0.97))["clientOrderId"]
        closes = exchange.create_order(
            "BTC/USDT:USDT", "limit", "sell", 0.02, round(last * 1.02), {"reduceOnly": True}
        )["clientOrderId"]

        first = world.btx("panic", "binance", "--market", "usdm")
        left = {order["clientOrderId"] for order in exchange.fetch_open_orders("BTC/USDT:USDT")}
        then = world.btx("panic", "binance", "--market", "usdm", "--flatten")

        assert first.returncode == then.returncode == 0, first.stdout + first.stderr + then.stdout + then.stderr
        assert opens in first.stdout
        assert left == {closes}
        assert "SELL 0.02 BTC/USDT:USDT" in then.stdout
        assert "BUY 0.5 ETH/USDT:USDT" in then.stdout
        assert [each for each in exchange.fetch_positions() if each["contracts"]] == []
        assert exchange.fetch_open_orders("BTC/USDT:USDT") == []


def test_whoever_trades_is_told_to_halt_and_to_go_on(world: World) -> None:
    entry = world.limit("buy", 0.01, 0.9)
    trader = open_journal(world.folder / JOURNAL)
    try:
        panic = world.btx("panic", "binance", "--flatten")
        assert panic.returncode == 0, panic.stdout + panic.stderr
        assert f"process {os.getpid()} is told to halt" in panic.stdout
        assert entry not in world.resting()
        early = world.btx("resume", "binance", answer="n\n")  # nobody has taken the halt yet
        (halt,) = take_requests(world.folder)
        asyncio.run(trader.append(Halted(reason=halt.reason, time_ns=halt.time_ns), durable=True))
        resume = world.btx("resume", "binance", "--yes")
        (go_on,) = take_requests(world.folder)
    finally:
        trader.close()

    assert early.returncode == 1
    assert "was halted at 20" in early.stdout
    assert (halt.kind, halt.reason) == (RequestKind.HALT, "btx panic")
    assert resume.returncode == 0
    assert go_on.kind is RequestKind.RESUME


def test_resume_says_why_it_was_halted_and_asks(world: World) -> None:
    assert "is not halted" in world.btx("resume", "binance").stdout
    world.btx("panic", "binance", "--reason", "drift in BTC: 1 here, 2 there")

    refused = world.btx("resume", "binance", answer="n\n")
    agreed = world.btx("resume", "binance", answer="y\n")

    assert refused.returncode == 1
    assert "drift in BTC: 1 here, 2 there" in refused.stdout
    assert agreed.returncode == 0, agreed.stderr
    assert isinstance(world.written()[-1], Resumed)
    assert "is not halted" in world.btx("resume", "binance").stdout


def test_a_venue_that_does_not_answer_is_an_error_and_the_halt_stands(world: World) -> None:
    text = (world.folder / "running.json").read_text(encoding="utf-8")
    port = world.exchange.urls["api"]["public"].split("127.0.0.1:")[1].split("/")[0]
    (world.folder / "running.json").write_text(text.replace(f"127.0.0.1:{port}", "127.0.0.1:9"), encoding="utf-8")

    done = world.btx("panic", "binance")

    assert done.returncode == 1
    assert done.stderr.startswith("btx: ")
    assert [type(record) for record in world.written()] == [Halted]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["panic", "binance", "--world", "other"], 2, "no world named 'other' is kept under"),
        (["panic", "binance", "--symbol", "BTCUSDT"], 2, "the venue has no instrument BTCUSDT"),
        (["panic", "binance", "--env", "live"], 2, "BTX_BINANCE_API_KEY is not set"),
        (["resume", "kraken"], 2, "no adapter for 'kraken' is installed"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(world: World, arguments: list[str], code: int, sentence: str) -> None:
    done = world.btx(*arguments)

    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr

"""A market order: from ``buy()`` to the simulator, its acknowledgement, and its fill back to ``notify_order``.

Out    clock starts before ``Strategy.buy()`` (baseline: before ccxt's ``create_order``)
       and stops when the bytes of that request are read from the simulator's socket.
Ack    clock starts there too, and stops in ``notify_order`` with status Accepted (baseline:
       when ``create_order`` has returned).
Back   clock starts when the simulator hands the ``executionReport`` that fills the order
       to its socket, and stops in ``notify_order`` with status Completed (baseline: a
       bare ``websockets`` client of the user data stream has it through ``json.loads``).

btx does it twice: without a journal, and with one on the disk of the temporary directory,
where an order waits for two commits that have reached the disk before it leaves.

All trade on the same simulator, one after the other, over loopback, in this process; the
simulator is another process. One order in flight at a time, buys and sells in turn, nine a
second: the venue allows ten. In btx the strategy gives one in each ``next()``, on 1m bars
of a market 540 times as fast as life; the baseline waits as long between its orders.
"""

import asyncio
import hashlib
import hmac
import json
import tempfile
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import backtrader as bt
import ccxt.async_support
from rig import Sample, Simulator, bound, facts, latencies, ratio, store_on, tapped_simulator
from websockets.asyncio.client import ClientConnection, connect

from btx.bridges.ccxt import loopback
from btx.model.time import NS_PER_DAY
from btx.model.venue import Endpoints, Scenario, SimAccount

SYMBOL, SIZE = "BTC/USDT", 0.01
ORDERS = 200
WARM_UP = 10  # code that runs for the first time, and connections that open, are not what is measured
SPEED = 540.0
PAUSE_S = 60.0 / SPEED
# Coins from the start: what is bought is a little less than what is sold, by the fee.
BALANCES = {"BTC": Decimal(10), "USDT": Decimal(10**6)}
ACCOUNT = SimAccount(api_key="key", api_secret="made up", balances=BALANCES)  # noqa: S106 -- it says so


@attrs.define
class Stamps:
    """By client order id: when it was asked for, acknowledged, and known to be filled."""

    asked: dict[str, int] = attrs.field(factory=dict)
    taken: dict[str, int] = attrs.field(factory=dict)
    filled: dict[str, int] = attrs.field(factory=dict)


# --- the baseline ----------------------------------------------------------------------------------------


async def bare(endpoints: Endpoints) -> Stamps:
    stamps = Stamps()
    account = endpoints.accounts[0]
    exchange = ccxt.async_support.binance(
        {"apiKey": account.api_key, "secret": account.api_secret, "enableRateLimit": False}
    )
    exchange.options |= {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False}
    exchange.urls["api"] = loopback(exchange.urls["api"], endpoints)
    try:
        async with connect(endpoints.trading_stream, compression=None) as socket:
            await log_on(socket, account.api_key, account.api_secret)
            await exchange.load_markets()
            listening = asyncio.create_task(hear_fills(socket, stamps))
            for number in range(ORDERS + WARM_UP):
                await asyncio.sleep(PAUSE_S)
                name = f"bare{number}"
                stamps.asked[name] = time.perf_counter_ns()
                side = "sell" if number % 2 else "buy"
                await exchange.create_order(SYMBOL, "market", side, SIZE, None, {"newClientOrderId": name})
                stamps.taken[name] = time.perf_counter_ns()
            await listening
    finally:
        await exchange.close()
    return stamps


async def log_on(socket: ClientConnection, api_key: str, secret: str) -> None:
    timestamp = int(time.time() * 1000)
    query = f"apiKey={api_key}&timestamp={timestamp}"
    signature = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    params = {"apiKey": api_key, "timestamp": timestamp, "signature": signature}
    await socket.send(json.dumps({"id": "1", "method": "userDataStream.subscribe.signature", "params": params}))
    answer = json.loads(await socket.recv())
    if answer["status"] != 200:
        raise ConnectionError(answer)


async def hear_fills(socket: ClientConnection, stamps: Stamps) -> None:
    async for frame in socket:
        event = json.loads(frame).get("event", {})
        if event.get("e") == "executionReport" and event["X"] == "FILLED":
            stamps.filled[event["c"]] = time.perf_counter_ns()
            if len(stamps.filled) == ORDERS + WARM_UP:
                return


# --- btx -------------------------------------------------------------------------------------------------


class InTurn(bt.Strategy):
    """One order in each ``next()``, unless one is working."""

    params = (("stamps", None),)

    def __init__(self) -> None:
        self.working: Any = None
        self.placed = 0

    def next(self) -> None:
        if self.working is not None or self.placed == ORDERS + WARM_UP:
            return
        trade = self.sell if self.placed % 2 else self.buy
        now_ns = time.perf_counter_ns()
        self.working = trade(size=SIZE)
        if self.working.alive():  # not refused on the spot, as history or as stale
            self.placed += 1
            self.p.stamps.asked[self.working.info.client_order_id] = now_ns

    def notify_order(self, order: Any) -> None:
        now_ns = time.perf_counter_ns()
        if order.status == order.Accepted:
            self.p.stamps.taken.setdefault(order.info.client_order_id, now_ns)
        if order.alive() or "seed" in order.info:  # the coins of the start are shown as an order too
            return
        self.working = None
        if order.status == order.Completed:
            self.p.stamps.filled[order.info.client_order_id] = now_ns
        if len(self.p.stamps.filled) == ORDERS + WARM_UP:
            self.env.runstop()


def through_btx(simulator: Simulator, journal: Path | None = None) -> Stamps:
    stamps = Stamps()
    store = store_on(simulator, journal=journal)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata(dataname=SYMBOL, timeframe=bt.TimeFrame.Minutes))
    cerebro.addstrategy(InTurn, stamps=stamps)
    cerebro.run()
    return stamps


# --- both ------------------------------------------------------------------------------------------------


def samples(name: str, simulator: Simulator, stamps: Stamps) -> tuple[Sample, Sample, Sample]:
    frames, requests = simulator.notes()
    arrived = {client_order_id(text): at_ns for at_ns, text in requests}
    left = {event["c"]: at_ns for at_ns, text in frames for event in [json.loads(text)["event"]]}
    return (
        Sample(name=f"out: {name}", latencies_ms=apart(stamps.asked, arrived)),
        Sample(name=f"ack: {name}", latencies_ms=apart(stamps.asked, stamps.taken)),
        Sample(name=f"back: {name}", latencies_ms=apart(left, stamps.filled)),
    )


def client_order_id(request: str) -> str:
    return request.partition("newClientOrderId=")[2].partition("&")[0]


def apart(starts: Mapping[str, int], ends: Mapping[str, int]) -> list[float]:
    """Milliseconds between the two stamps of each order, without the first few."""
    return [(ends[name] - at_ns) / 1e6 for name, at_ns in starts.items()][WARM_UP:]


def main() -> None:
    bound(120.0)
    facts("A market order: buy() -> the socket -> Accepted; its fill: the socket -> notify_order")
    scenario = Scenario(symbols=(SYMBOL,), speed=SPEED, until_ns=NS_PER_DAY, accounts=(ACCOUNT,))
    with (
        tempfile.TemporaryDirectory() as folder,
        tapped_simulator(scenario, leaving='"X":"FILLED"', entering="newClientOrderId=") as simulator,
    ):
        bare_three = samples("bare ccxt async, websockets + json", simulator, asyncio.run(bare(simulator.endpoints)))
        btx_three = samples("btx, no journal", simulator, through_btx(simulator))
        durable = samples("btx, durable", simulator, through_btx(simulator, Path(folder) / "journal.sqlite"))
    rows = tuple(zip(bare_three, btx_three, durable, strict=True))
    latencies(each for row in rows for each in row)
    for baseline, plain, written in rows:
        what = baseline.name.partition(":")[0]
        print(f"ratio: {ratio(what, plain, baseline)} | durable {ratio(what, written, baseline)}")


if __name__ == "__main__":
    main()

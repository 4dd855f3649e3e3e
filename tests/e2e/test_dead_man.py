"""The dead man's switch: a process that is killed leaves no entry in the book."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from btx.model.market import Trade
from btx.model.order import OrderReport, OrderType, Status
from btx.model.time import NS_PER_HOUR, NS_PER_S
from btx.model.venue import Channel, Scenario, Subscription
from btx_binance import plugin as binance
from btx_bybit import plugin as bybit
from tests.e2e.test_attach import DEADLINE_S, ROOT
from tests.e2e.test_binance_ports import Bench, bench_of

SYMBOL = "BTC/USDT:USDT"


@asynccontextmanager
async def trader(home: Path, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.e2e.dead_man", *words),
        cwd=ROOT,
        env={**os.environ, "BTX_HOME": str(home)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def pass_time(bench: Bench, seconds: int) -> None:
    """Wait until so much market time has passed."""
    trades = bench.market.of(Trade)
    first_ns = trades[-1].time_ns if trades else 0
    await bench.market.until(lambda: bench.market.of(Trade)[-1].time_ns > first_ns + seconds * NS_PER_S)


async def killed(adapter: Any, market: str, home: Path) -> tuple[set[OrderType], list[OrderType]]:
    """Trade with a switch of 60 s and be killed; return what rested in the book before, and what is left."""
    scenario = Scenario(seed=7, market=market, speed=8, warmup_ns=NS_PER_HOUR, until_ns=4 * NS_PER_HOUR)
    async with (
        adapter.btx_simulator(scenario) as endpoints,
        bench_of(endpoints, market=market, symbol=SYMBOL, adapter=adapter) as bench,
    ):
        instrument = await bench.instrument()
        await bench.listen_to_account()
        await bench.listen(bench.market, Subscription(channel=Channel.TRADE, instrument=instrument))
        await bench.market.until(lambda: bool(bench.market.of(Trade)))
        words = endpoints.control, adapter.btx_venue().name, market
        async with trader(home, *words) as process, asyncio.timeout(DEADLINE_S):
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
            await pass_time(bench, 65)  # longer than the countdown: it is renewed while the process lives
            resting = await bench.broker.open_orders(instruments=[instrument])
            process.kill()
            await bench.account.until(
                lambda: any(each.status is Status.CANCELED for each in bench.account.of(OrderReport))
            )
            left = await bench.broker.open_orders(instruments=[instrument])
        return {each.order_type for each in resting}, [each.order_type for each in left]


def test_a_killed_process_leaves_no_entry_in_the_book(tmp_path: Path) -> None:
    async def at_both() -> Any:  # at once: the time that has to pass is the same
        return await asyncio.gather(
            killed(binance, "usdm", tmp_path / "binance"), killed(bybit, "linear", tmp_path / "bybit")
        )

    (on_binance, left_on_binance), (on_bybit, left_on_bybit) = asyncio.run(at_both())

    assert on_binance == on_bybit == {OrderType.LIMIT, OrderType.STOP_MARKET}
    assert left_on_binance == [OrderType.STOP_MARKET]  # its conditional orders wait elsewhere, without a countdown
    assert left_on_bybit == []

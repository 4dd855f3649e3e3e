"""The vendor's library, fenced in: it dials once, leaves nothing behind, and touches nothing of ours."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import attrs
import pytest

import btx
from btx.config import Settings
from btx.errors import (
    AuthenticationError,
    MissingSecretError,
    NotSupportedError,
    OrderNotFoundError,
    OutcomeUnknownError,
    TransportError,
)
from btx.model.order import OrderReport, Status, TimeInForce
from btx.model.time import NS_PER_HOUR, NS_PER_MINUTE, Interval
from btx.model.venue import Channel, Environment, StreamStatus, Subscription
from btx.runtime.wishes import Wishes
from btx_futu.opend import opend
from btx_futu.sdk import futu
from tests.unit.futu.rig import session

MINUTE = Interval.parse("1m")
DEADLINE_S = 60.0


def run(work: Coroutine[Any, Any, None]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await work

    asyncio.run(whole())


async def answered(request: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until there is a connection again: the library notices a moment later that one has ended."""
    while True:
        try:
            return await request()
        except TransportError:
            await asyncio.sleep(0.01)


def test_the_library_still_has_what_is_overridden() -> None:
    library = futu()

    for base in (library.OpenQuoteContext, library.OpenSecTradeContext):
        assert {"_init_connect_sync", "handle_push", "on_disconnect", "close"} <= set(dir(base))
    assert hasattr(library.OpenSecTradeContext, "_async_sub_acc_push")


_IMPORT = """
import os, signal, sys, threading
before = signal.getsignal(signal.SIGINT), list(sys.path), dict(os.environ)
import btx, btx_futu.plugin
assert "futu" not in sys.modules and "google.protobuf" not in sys.modules
from btx_futu.sdk import futu
futu()
after = signal.getsignal(signal.SIGINT), list(sys.path), dict(os.environ)
assert before == after, (before, after)
print(sorted(os.listdir(os.environ["BTX_HOME"])))
"""


@pytest.mark.parametrize("home", ["", "/nowhere/to/write"])
def test_importing_it_touches_neither_ctrl_c_nor_the_path_nor_the_home_folder(tmp_path: Any, home: str) -> None:
    environment = {name: text for name, text in os.environ.items() if name != "HOME"}
    environment |= {"BTX_HOME": str(tmp_path)} | ({"HOME": home} if home else {})

    done = subprocess.run(
        [sys.executable, "-c", _IMPORT], env=environment, capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stdout.strip()) == (0, "['futu']"), done.stderr


def test_a_session_leaves_no_thread_of_its_own_behind() -> None:
    async def scene() -> None:
        async with session() as rig:
            assert (await rig.store.account()).balances["HKD"].free == 1_000_000

    futu()
    before = set(threading.enumerate())
    run(scene())

    left = {thread.name for thread in set(threading.enumerate()) - before if not thread.daemon}
    assert not left
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_nobody_listens_it_says_so_at_once() -> None:
    async def scene() -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            async with session() as rig:
                nowhere = f"tcp://127.0.0.1:{bound.getsockname()[1]}"
                context = attrs.evolve(rig.context, endpoints=attrs.evolve(rig.endpoints, rest=nowhere), shared={})
                with pytest.raises(TransportError, match="start it and log in"):
                    await opend(context).quotes("get_global_state")

    run(scene())


def test_half_a_packet_and_a_cut_do_not_poison_what_comes_after() -> None:
    async def scene() -> None:
        async with session() as rig:
            await rig.faults({"kind": "truncate", "where": "account", "at": 1})
            with pytest.raises(TransportError):
                await rig.store.account()

            assert (await rig.store.account()).balances["HKD"].free == 1_000_000

    run(scene())


@pytest.mark.parametrize("quotes", [False, True])
def test_a_connection_to_an_opend_that_has_lost_the_quote_servers_is_lost(quotes: bool) -> None:
    """A minute that forms is no whole bar then; that the trading servers are lost is no matter here."""

    def status(*, quotes: bool) -> Any:
        message = futu().common.pb.Notify_pb2.Response(retType=0)
        message.s2c.type, message.s2c.connectStatus.qotLogined = 3, quotes
        message.s2c.connectStatus.trdLogined = not quotes
        return message

    async def scene() -> None:
        async with session() as rig:
            share = (await rig.store.instruments(symbols=["HK.00700"]))["HK.00700"]
            standing = asyncio.Event()
            wanted = Wishes({Subscription(channel=Channel.BAR, instrument=share, interval=MINUTE)})

            def hear(event: Any) -> None:
                if isinstance(event, StreamStatus):
                    standing.set()

            running = asyncio.create_task(rig.stream.run(wanted=wanted, sink=hear))
            await standing.wait()
            (line,) = (each for each in opend(rig.context)._lines if each.hears)
            line.push(1003, 0, status(quotes=True))
            line.push(1003, 0, status(quotes=quotes))
            if quotes:
                line.drop("the test is over")

            with pytest.raises(TransportError, match="the test is over" if quotes else "lost the quote servers"):
                await running

    run(scene())


def test_an_order_whose_answer_is_lost_is_found_by_its_remark_and_no_other_is() -> None:
    async def scene() -> None:
        async with session() as rig:
            leg = await rig.leg("a-name-of-ours")
            await rig.store.key_rights()
            await rig.faults({"kind": "lose", "where": "place"})
            with pytest.raises(OutcomeUnknownError):
                await rig.broker.place(leg=leg)

            (report,) = await answered(lambda: rig.broker.query(leg=leg))

            assert isinstance(report, OrderReport)
            assert (report.status, report.filled) == (Status.FILLED, 100)
            assert report.average_price is not None
            with pytest.raises(OrderNotFoundError):
                await rig.broker.query(leg=attrs.evolve(leg, client_order_id="another"))

    run(scene())


def test_an_order_of_a_hand_that_has_no_remark_is_found_by_its_number() -> None:
    async def scene() -> None:
        async with session() as rig:
            leg = await rig.leg("")
            number = (await rig.broker.place(leg=leg)).venue_order_id

            (report,) = await rig.broker.query(leg=attrs.evolve(leg, client_order_id=f"futu-{number}"))

            assert isinstance(report, OrderReport)
            assert (report.status, report.client_order_id) == (Status.FILLED, f"futu-{number}")

    run(scene())


def test_what_paper_does_not_take_is_refused_before_it_leaves() -> None:
    async def scene() -> None:
        async with session() as rig:
            with pytest.raises(NotSupportedError, match="for the day"):
                await rig.broker.place(leg=await rig.leg("x", time_in_force=TimeInForce.GTC))

    run(scene())


def test_an_account_that_opend_does_not_have_is_told() -> None:
    async def scene() -> None:
        async with session() as rig:
            settings = attrs.evolve(rig.context.settings, api_key=type(rig.context.settings.api_key)("123"))
            context = attrs.evolve(rig.context, settings=settings, shared={})
            with pytest.raises(AuthenticationError, match="no paper account of number 123"):
                await opend(context).account_number()

    run(scene())


def test_history_is_asked_for_by_the_ends_of_bars_and_told_by_their_beginnings() -> None:
    async def scene() -> None:
        async with session() as rig:
            share = (await rig.store.instruments())["HK.00700"]
            now_ns = rig.context.clock.market_ns()
            friday_ns = now_ns - 66 * NS_PER_HOUR  # 15:30 of the trading day before

            bars = await rig.feed.bars(
                instrument=share, interval=MINUTE, start_ns=friday_ns, end_ns=friday_ns + 3 * NS_PER_MINUTE
            )

            assert [bar.open_ns for bar in bars] == [friday_ns + number * NS_PER_MINUTE for number in range(3)]
            assert not await rig.feed.bars(instrument=share, interval=MINUTE, start_ns=now_ns, end_ns=now_ns)
            last = await rig.feed.last_price(symbol="HK.00700")
            assert last is not None
            assert last.price > 0

    run(scene())


def test_on_paper_no_key_is_needed_and_a_real_account_is_named() -> None:
    async def scene() -> None:
        async with session() as rig:
            nobody = attrs.evolve(rig.context, settings=Settings(), shared={})
            assert await opend(nobody).account_number() == int(rig.endpoints.accounts[0].api_key)

            real = attrs.evolve(nobody, environment=Environment.LIVE, shared={})
            with pytest.raises(MissingSecretError, match="a real account at Futu is named"):
                await opend(real).account_number()

    btx.load("futu", env="testnet")  # nothing is asked for that is not needed
    run(scene())

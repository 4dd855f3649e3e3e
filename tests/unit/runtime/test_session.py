"""A session: whatever happens between start and stop, nothing is lost and nothing is left behind."""

import asyncio
import contextlib
import functools
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from btx.errors import (
    AuthenticationError,
    BtxError,
    ConfigError,
    PluginError,
    RateLimitedError,
    RiskVetoError,
    TransportError,
    UnknownSymbolError,
)
from btx.hookspecs import hookimpl
from btx.model.account import AccountSnapshot, AccountUpdate, Balance
from btx.model.fees import FeeSchedule
from btx.model.journal import Delivered, Event, Halted, Record, Resumed, Snapshot, StrategyState
from btx.model.market import Bar, OnGap
from btx.model.order import Fill, GroupKind, Leg, Offset, OrderRequest, OrderType, Part, PlaceRefused, Side, Status
from btx.model.time import NS_PER_MINUTE, NS_PER_S
from btx.model.venue import Channel, ConnectionState, StreamState, StreamStatus
from btx.rules.reconcile import Sharing
from btx.rules.risk import DAY_START, Limits
from btx.runtime.bars import BarTimes
from btx.runtime.facts import Facts, OpenJournal
from btx.runtime.guard import Lane
from btx.runtime.mailbox import FeedEnd, FeedLive, FeedLost, GroupWritten, Mailbox, OrderUpdate, Wakeup
from btx.runtime.prints import Making, TradeChannel
from btx.storage.journal import open_journal, read_journal
from tests.toy_venue import DEADLINE_S, INFO, Fault, ToyPlugin, ToyVenue, loaded
from tests.unit.runtime.rig import QUICK
from tests.unit.runtime.strategy import KEYS, Outside, Strategy, session_with
from tests.values import BTC, MINUTE, request

TOY = attrs.evolve(BTC, symbol="TOY/USDT", venue_symbol="TOYUSDT", base="TOY")


@contextlib.contextmanager
def started(toy: ToyVenue, *extensions: object, **changes: Any) -> Iterator[Strategy]:
    strategy = Strategy(session_with(toy, *extensions, **changes))
    strategy.session.start()
    try:
        yield strategy
    finally:
        strategy.session.stop()


def our_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("btx")]


# --- life ------------------------------------------------------------------------------------------------


def test_the_facts_are_known_after_the_start(outside: Outside) -> None:
    toy = ToyVenue(instruments=(BTC, TOY))
    with started(toy) as strategy:
        session = strategy.session

        assert session.name == "toy/sim/spot"
        assert session.is_running
        assert session.is_account_connected()
        assert session.instrument("BTC/USDT") == BTC
        assert set(session.instruments()) == {"BTC/USDT", "TOY/USDT"}
        assert session.fee_schedule(BTC) is session.fee_schedule(BTC)
        assert session.account().balances["USDT"].total == 10_000
        assert session.rate("USDT", "USDT") == 1
        assert session.rate("TOY", "USDT") == 100  # fees may be paid in it, and the account holds some
        assert session.rate("XYZ", "USDT") is None
        assert abs(session.clock.market_ns() - toy.now_ns) < NS_PER_MINUTE


def test_start_and_stop_may_be_repeated_and_the_session_started_again() -> None:
    toy = ToyVenue()
    strategy = Strategy(session_with(toy))
    session = strategy.session

    for _ in range(2):
        session.start()
        session.start()
        client_order_id = session.submit(request())
        strategy.until(lambda name=client_order_id: "NEW" in strategy.statuses(name))
        session.stop()
        session.stop()
        strategy.told.clear()
        assert our_threads() == []

    assert toy.count("account") == 2
    assert not session.is_running
    assert not session.is_account_connected()
    assert session.orders() == ()
    assert len(toy.orders) == 2


def test_before_the_start_every_question_says_what_to_do() -> None:
    session = session_with(ToyVenue())

    for question in (
        session.account,
        lambda: session.submit(request()),
        lambda: session.cancel("a1"),
        lambda: session.cancel_all(["a1"]),
        lambda: session.open_bars(instrument=BTC, interval=MINUTE),
    ):
        with pytest.raises(BtxError, match="is not started"):
            question()
    with pytest.raises(BtxError, match="no simulator to ask"):
        session.ledger()
    session.withdraw(["a1"], timeout_s=1.0)
    session.stop()


@pytest.mark.parametrize("where", ["time", "instruments", "account"])
@pytest.mark.parametrize("error", [AuthenticationError("the key is not accepted"), KeyError("field")])
def test_a_start_that_fails_raises_the_error_itself_and_leaves_nothing(where: str, error: Exception) -> None:
    toy = ToyVenue()
    toy.faults[where].append(error)
    session = session_with(toy)

    with pytest.raises(type(error)) as raised:
        session.start()

    assert raised.value is error
    assert our_threads() == []
    assert toy.connections == []
    with pytest.raises(BtxError, match="is not started"):
        session.account()
    session.start()  # the fault was for once
    session.stop()


def test_an_account_stream_that_is_refused_fails_the_start() -> None:
    toy = ToyVenue()
    error = AuthenticationError("no")
    toy.faults["dial"].append(error)
    session = session_with(toy)

    with pytest.raises(AuthenticationError) as raised:
        session.start()

    assert raised.value is error
    assert our_threads() == []


def test_a_hook_that_fails_fails_the_start() -> None:
    class Broken(ToyPlugin):
        @hookimpl
        def btx_websocket(self, context: Any) -> Any:
            return None

    toy = ToyVenue()
    session = session_with(toy, venue=loaded(toy, plugin=Broken(toy)))

    with pytest.raises(PluginError, match="answers nothing to the hook btx_websocket"):
        session.start()
    assert our_threads() == []


def test_a_venue_that_does_not_answer_ends_the_start_with_its_reason() -> None:
    toy = ToyVenue()
    toy.faults["dial"].extend([TransportError("no route for the-secret")] * 10_000)
    session = session_with(toy, start_timeout_s=1.0)

    with pytest.raises(TransportError, match=r"did not answer within 1 s: no route for \*\*\*"):
        session.start()

    assert our_threads() == []


def test_a_venue_that_hangs_ends_the_start() -> None:
    toy = ToyVenue()
    toy.faults["instruments"].append(Fault.SILENT)
    session = session_with(toy, start_timeout_s=0.05)

    with pytest.raises(TransportError, match=r"did not answer within 0.05 s$"):
        session.start()

    assert our_threads() == []


def test_the_stop_keeps_its_time_when_the_venue_does_not_answer() -> None:
    toy = ToyVenue()
    strategy = Strategy(session_with(toy))
    strategy.session.start()
    strategy.open(instrument=BTC, interval=MINUTE, history_bars=1)
    for name in ("place", "bars", "query"):
        toy.faults[name].append(Fault.SILENT)
    strategy.session.submit(request())
    strategy.until(lambda: toy.count("bars") + toy.count("place") == 2)

    began = time.monotonic()
    strategy.session.stop(timeout_s=DEADLINE_S)

    assert time.monotonic() - began < DEADLINE_S
    assert our_threads() == []


def test_an_adapter_that_refuses_to_end_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(ToyVenue):
        async def run(self, *, wanted: Any, sink: Any) -> None:
            sink(StreamStatus(state=StreamState.SUBSCRIBED))
            for _ in range(2):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()

    strategy = Strategy(session_with(Stubborn()))
    strategy.session.start()

    began = time.monotonic()
    strategy.session.stop(timeout_s=0.5)

    assert time.monotonic() - began < DEADLINE_S  # else it would be waited for for ever
    assert "did not hang up within 0.5 s" in caplog.text
    assert our_threads() == []


def test_a_resource_that_breaks_when_closed_is_told_and_the_rest_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    closed: list[str] = []

    class Leaky(ToyPlugin):
        @hookimpl
        def btx_store(self, context: Any) -> Any:
            async def fine() -> None:
                closed.append("fine")

            async def broken() -> None:
                raise OSError("the socket is gone")

            context.resources.push_async_callback(fine)
            context.resources.push_async_callback(broken)
            return toy

    toy = ToyVenue()
    session = session_with(toy, venue=loaded(toy, plugin=Leaky(toy)))
    session.start()

    session.stop()

    assert closed == ["fine"]
    assert "did not hang up cleanly" in caplog.text
    assert our_threads() == []


def test_two_sessions_share_the_thread_and_do_not_disturb_each_other() -> None:
    one, two = Strategy(session_with(ToyVenue())), Strategy(session_with(ToyVenue()))
    one.session.start()
    two.session.start()
    assert our_threads() == ["btx-io"]

    one.session.stop()
    two.session.submit(request())
    two.until(lambda: bool(two.of(OrderUpdate)))

    assert our_threads() == ["btx-io"]
    two.session.stop()
    assert our_threads() == []


def test_a_running_session_belongs_to_one_cerebro(outside: Outside) -> None:
    with started(ToyVenue()) as strategy:
        events = strategy.session.events
        strategy.session.attach(strategy.wakeup)
        assert strategy.session.events is events

        with pytest.raises(BtxError, match="runs for another cerebro"):
            strategy.session.attach(Wakeup())


def test_a_signal_handler_may_stop_the_session_its_thread_is_starting() -> None:
    """The handler's stop does nothing yet, and must not wait for a lock its own thread holds."""
    session = session_with(ToyVenue())
    with session._lock:
        session.stop()


# --- facts -----------------------------------------------------------------------------------------------


def test_an_unknown_symbol_is_answered_with_near_ones(outside: Outside) -> None:
    with started(ToyVenue()) as strategy:
        with pytest.raises(UnknownSymbolError, match=r"Toy spot has no instrument 'BTCUSDT': did you mean BTC/USDT\?"):
            strategy.session.instrument("BTCUSDT")
        with pytest.raises(ConfigError, match=r"has no instrument '\?\?': symbols here are written like BTC/USDT$"):
            strategy.session.instrument("??")


def test_the_last_close_of_an_instrument_is_its_rate(outside: Outside) -> None:
    toy = ToyVenue()
    toy.write_history([99])
    with started(toy) as strategy:
        assert strategy.session.rate("BTC", "USDT") is None
        strategy.open(instrument=BTC, interval=MINUTE, history_bars=1, live=False)
        strategy.run()

        assert strategy.session.rate("BTC", "USDT") == 105


def test_the_venues_clock_is_read_again_and_again_and_faults_are_told(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy, timing=attrs.evolve(QUICK, clock_period_s=0.005)) as strategy:
        outside.wait(toy.until(lambda: toy.count("time") > 2))
        outside.do(toy.faults["time"].append, KeyError("field"))

        strategy.until(lambda: bool(strategy.notes("FAULT")))

        assert strategy.notes("FAULT") == ["reading the venue's clock failed: KeyError: 'field'"]
        seen = toy.count("time")
        outside.wait(toy.until(lambda: toy.count("time") > seen + 1))


def test_the_clock_follows_the_venue(outside: Outside) -> None:
    toy = ToyVenue(now_minute=0)
    toy.now_ns = time.time_ns() + 3_600_000_000_000
    with started(toy) as strategy:
        assert abs(strategy.session.clock.wire_ns() - toy.now_ns) < NS_PER_MINUTE


def test_a_fee_coin_nobody_holds_or_lists_needs_no_rate(outside: Outside) -> None:
    toy = ToyVenue(instruments=(BTC, TOY))
    toy.balances["TOY"] = Decimal(0)
    with started(toy) as strategy:
        assert strategy.session.rate("TOY", "USDT") is None


def test_a_fee_coin_that_never_traded_has_no_rate(outside: Outside) -> None:
    class Quiet(ToyVenue):
        async def last_price(self, *, symbol: str) -> None:
            return None

    with started(Quiet(instruments=(BTC, TOY))) as strategy:
        assert strategy.session.rate("TOY", "USDT") is None


def test_a_market_without_instruments_can_be_connected_to(outside: Outside) -> None:
    with started(ToyVenue(instruments=())) as strategy:
        assert strategy.session.instruments() == {}


def test_the_api_key_is_the_users() -> None:
    assert Facts(settings=KEYS).api_key == "the-key"


# --- orders ----------------------------------------------------------------------------------------------


def test_an_order_goes_out_and_its_life_comes_back(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy) as strategy:
        client_order_id = strategy.session.submit(request())
        strategy.until(lambda: strategy.statuses(client_order_id) == ["PENDING_NEW", "NEW"])
        outside.do(toy.execute, client_order_id, 2)
        strategy.until(lambda: len(strategy.of(AccountUpdate)) == 1)
        strategy.session.cancel(client_order_id)
        strategy.until(lambda: strategy.statuses(client_order_id)[-1] == "CANCELED")

        assert strategy.statuses(client_order_id)[:3] == ["PENDING_NEW", "NEW", "PARTIALLY_FILLED"]
        assert [order.filled for order in strategy.session.orders()] == [2]
        kinds = [type(item.event if isinstance(item, OrderUpdate) else item) for _, item in strategy.told]
        assert kinds.index(Fill) < kinds.index(AccountUpdate)


def test_orders_are_refused_with_the_reason_of_the_environment(outside: Outside) -> None:
    with started(ToyVenue(), refusal="no orders here") as strategy, pytest.raises(BtxError, match="no orders here"):
        strategy.session.submit(request())


def test_an_account_that_may_not_trade_is_told_before_anything_is_sent(outside: Outside) -> None:
    toy = ToyVenue()
    toy.can_trade = False
    with started(toy) as strategy:
        with pytest.raises(BtxError, match="check the key's permissions"):
            strategy.session.submit(request())
        assert toy.count("place") == 0


def test_a_request_may_become_several_orders_each_with_an_id_of_its_own(outside: Outside) -> None:
    class Splitting(ToyPlugin):
        @hookimpl
        def btx_plan(self, request: OrderRequest) -> tuple[Part, ...]:
            half = request.quantity / 2
            return (Part(quantity=half, offset=Offset.CLOSE_TODAY), Part(quantity=half))

    toy = ToyVenue()
    with started(toy, venue=loaded(toy, plugin=Splitting(toy))) as strategy:
        owner_id = strategy.session.submit(request(quantity=Decimal(4)))
        strategy.until(lambda: toy.count("place") == 2)

        first, second = (order.leg for order in strategy.session.orders())
        assert (first.client_order_id, first.offset, first.quantity) == (owner_id, Offset.CLOSE_TODAY, Decimal(2))
        assert (second.owner_id, second.offset, second.quantity) == (owner_id, Offset.OPEN, Decimal(2))
        assert second.client_order_id != owner_id


def test_a_plan_that_does_not_add_up_is_told_like_a_refusal(outside: Outside) -> None:
    class Losing(ToyPlugin):
        @hookimpl
        def btx_plan(self, request: OrderRequest) -> tuple[Part, ...]:
            return (Part(quantity=request.quantity / 2),)

    toy = ToyVenue()
    with started(toy, venue=loaded(toy, plugin=Losing(toy))) as strategy:
        strategy.session.submit(request(quantity=Decimal(4)))
        strategy.until(lambda: any(order.status is Status.REJECTED for order in strategy.session.orders()))

        (order,) = strategy.session.orders()
        assert order.evidence is not None
        assert "btx_plan makes 2 of 4" in order.evidence.reason
        assert toy.count("place") == 0


def test_all_orders_of_an_instrument_are_cancelled_by_one_request_those_of_groups_too(outside: Outside) -> None:
    toy = ToyVenue()
    low = request(side=Side.SELL, order_type=OrderType.STOP_MARKET, price=None, trigger_price=Decimal(80))
    with started(toy) as strategy:
        session = strategy.session
        alone = [session.submit(request()) for _ in range(2)]
        group = session.submit_group(
            GroupKind.OCO, entry=None, members=[request(side=Side.SELL, price=Decimal(120)), low]
        )
        outside.wait(toy.until(lambda: sum(not each.status.is_final for each in toy.orders.values()) == 4))
        outside.wait(settled(session, lambda order: order.status is Status.NEW))

        session.cancel_all([*alone, *(each.member_id for each in group.members)])
        outside.wait(toy.until(lambda: all(each.status is Status.CANCELED for each in toy.orders.values())))
        outside.wait(settled(session, lambda order: order.is_settled))

        assert (toy.count("cancel_all"), toy.count("cancel")) == (1, 0)
        assert {order.status for order in session.orders()} == {Status.CANCELED}


async def settled(session: Any, is_so: Callable[[Any], bool]) -> None:
    desk = session._link.desk
    async with asyncio.timeout(DEADLINE_S):
        await desk.until(lambda: all(map(is_so, desk.orders.values())))


def test_withdraw_waits_for_the_end_of_orders_and_not_longer_than_told(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy) as strategy:
        one = strategy.session.submit(request())
        strategy.session.withdraw([one], timeout_s=DEADLINE_S)
        assert [order.status.name for order in strategy.session.orders()] == ["CANCELED"]

        outside.do(toy.faults["cancel"].append, Fault.SILENT)
        two = strategy.session.submit(request())
        strategy.until(lambda: strategy.statuses(two)[-1:] == ["NEW"])
        strategy.session.withdraw([two], timeout_s=0.5)
        strategy.until(lambda: strategy.statuses(two)[-1:] == ["PENDING_CANCEL"])


def test_extensions_are_asked_with_the_account_as_it_is_now(outside: Outside) -> None:
    class Watcher:
        @hookimpl
        def btx_check_order(self, request: OrderRequest, account: AccountSnapshot) -> None:
            seen.append(account.balances["BTC"].total)

    seen: list[Decimal] = []
    toy = ToyVenue()
    with started(toy, Watcher()) as strategy:
        assert strategy.session.check_order(request()) is None
        strategy.session.submit(request(order_type=OrderType.MARKET, price=None))
        strategy.until(lambda: bool(strategy.of(AccountUpdate)))
        strategy.session.check_order(request())

        assert seen == [0, 6]
        assert strategy.session.account().balances["BTC"].total == 0  # as it was at start


def test_a_call_that_breaks_on_the_loop_is_told(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy) as strategy:
        strategy.session.cancel(["no id at all"])  # type: ignore[arg-type]
        strategy.until(lambda: bool(strategy.notes("FAULT")))

        assert "unhashable" in strategy.notes("FAULT")[0]
        strategy.session.submit(request())
        strategy.until(lambda: toy.count("place") == 1)


def test_no_note_ever_shows_a_key_or_a_secret(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy) as strategy:
        outside.do(toy.cut, Channel.ACCOUNT, TransportError("GET /account?key=the-key&signature=the-secret"))
        strategy.until(lambda: bool(strategy.notes("DISCONNECTED")))

        assert strategy.notes("DISCONNECTED") == ["account stream: GET /account?key=***&signature=***"]


# --- the account -----------------------------------------------------------------------------------------


def test_what_the_account_stream_missed_comes_fills_first_then_the_balances_that_include_them(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy) as strategy:
        client_order_id = strategy.session.submit(request())
        strategy.until(lambda: strategy.statuses(client_order_id) == ["PENDING_NEW", "NEW"])
        strategy.told.clear()

        def cut_and_fill() -> None:
            toy.is_muted = True
            toy.execute(client_order_id, 6)
            toy.is_muted = False
            toy.cut(Channel.ACCOUNT)

        outside.do(cut_and_fill)
        strategy.until(lambda: bool(strategy.of(AccountUpdate)))

        kinds = [type(item.event if isinstance(item, OrderUpdate) else item) for _, item in strategy.told]
        assert kinds.count(Fill) == 1
        assert kinds.index(Fill) < kinds.index(AccountUpdate)
        assert strategy.of(AccountUpdate)[0].balances["BTC"].total == 6


def test_a_stream_that_says_it_lost_something_is_settled_like_a_cut(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy) as strategy:
        lost = StreamStatus(state=StreamState.LOST, detail="events may be missing")
        outside.do(toy.tell, lost, lost)
        strategy.until(lambda: bool(strategy.of(AccountUpdate)) and len(strategy.notes("FAULT")) > 1)

        assert strategy.notes("FAULT") == ["account stream: events may be missing"] * 2


def test_a_frame_that_could_not_be_read_is_told_and_what_it_may_have_said_is_asked_for(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy) as strategy:
        outside.do(toy.tell, StreamStatus(state=StreamState.FAULT, detail="a strange frame"))
        strategy.until(lambda: bool(strategy.of(AccountUpdate)))

        assert strategy.notes("FAULT") == ["account stream: a strange frame"]
        assert toy.count("account") == 2


def test_an_asset_that_is_gone_from_the_account_counts_as_zero(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy) as strategy:

        def spend() -> None:
            del toy.balances["TOY"]
            toy.cut(Channel.ACCOUNT)

        outside.do(spend)
        strategy.until(lambda: bool(strategy.of(AccountUpdate)))

        assert strategy.of(AccountUpdate)[0].balances["TOY"] == Balance(free=Decimal(0), locked=Decimal(0))


def test_balances_pushed_while_the_first_snapshot_is_read_make_it_be_read_again() -> None:
    toy = ToyVenue()

    def move() -> None:
        toy.balances["USDT"] -= 1
        toy.tell(toy.balance_update())

    class Slow(ToyVenue):
        async def account(self) -> AccountSnapshot:
            snapshot = await toy_account()
            await asyncio.sleep(0)  # the answer is on its way, and older than what is pushed
            await asyncio.sleep(0)
            return snapshot

    slow = Slow()
    toy = slow
    toy_account = super(Slow, slow).account
    toy.faults["account"].extend([move])
    with started(slow) as strategy:
        strategy.take()

        assert strategy.session.account().balances["USDT"].total == 9_999
        assert strategy.of(AccountUpdate) == []
        assert toy.count("account") == 2


def test_an_account_that_is_never_quiet_is_read_all_the_same() -> None:
    class Busy(ToyVenue):
        async def account(self) -> AccountSnapshot:
            self.tell(self.balance_update())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return await super().account()

    toy = Busy()
    with started(toy) as strategy:
        assert strategy.session.account().balances["USDT"].total == 10_000
        assert toy.count("account") == 5


def test_a_reconnection_during_the_settling_begins_it_anew(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy) as strategy:
        outside.do(toy.gates.__setitem__, "account", asyncio.Event())
        for dials in (2, 3):
            outside.do(toy.cut, Channel.ACCOUNT)
            outside.wait(toy.until(lambda dials=dials: toy.count("account") == dials))
        outside.do(toy.gates["account"].set)
        strategy.until(lambda: bool(strategy.of(AccountUpdate)))

        assert len(strategy.notes("CONNECTED")) == 3
        assert strategy.notes("FAULT") == []


def test_an_account_that_cannot_be_read_after_a_cut_is_told(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy) as strategy:
        outside.do(toy.faults["account"].append, KeyError("field"))
        outside.do(toy.cut, Channel.ACCOUNT)
        strategy.until(lambda: bool(strategy.notes("FAULT")))

        assert strategy.notes("FAULT") == ["reading the account after a cut failed: KeyError: 'field'"]


def test_keys_that_are_revoked_in_the_middle_end_the_feeds_with_the_error(outside: Outside) -> None:
    toy = ToyVenue()
    error = AuthenticationError("revoked")
    with started(toy) as strategy:
        strategy.open(instrument=BTC, interval=MINUTE)
        strategy.until(lambda: bool(strategy.of(FeedLive)))
        outside.do(toy.cut, Channel.ACCOUNT, error)
        strategy.run()

        assert strategy.of(FeedEnd) == [FeedEnd(error=error)]
        assert strategy.notes("FATAL") == ["account stream: revoked"]


# --- bars ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "minutes"),
    [
        ({}, []),
        ({"history_bars": 3}, [97, 98, 99]),
        ({"history_ns": 2 * NS_PER_MINUTE}, [98, 99]),
        ({"start_ns": 96 * NS_PER_MINUTE}, [96, 97, 98, 99]),
        ({"start_ns": 96 * NS_PER_MINUTE, "end_ns": 98 * NS_PER_MINUTE, "live": False}, [96, 97]),
        ({"live": False}, list(range(90, 100))),
    ],
)
def test_history_begins_where_it_was_asked_for(outside: Outside, asked: dict[str, Any], minutes: list[int]) -> None:
    toy = ToyVenue()
    toy.write_history(range(90, 100))
    with started(toy) as strategy:
        strategy.open(instrument=BTC, interval=MINUTE, **asked)
        strategy.until(lambda: bool(strategy.of(FeedLive) or strategy.of(FeedEnd)))

        assert [bar.open_ns // NS_PER_MINUTE for bar in strategy.of(Bar)] == minutes


def test_feeds_opened_in_one_go_are_connected_in_one_go_and_live_bars_follow(outside: Outside) -> None:
    toy = ToyVenue(instruments=(BTC, TOY))
    with started(toy) as strategy:
        strategy.open(instrument=BTC, interval=MINUTE)
        strategy.open(instrument=TOY, interval=MINUTE)
        strategy.until(lambda: len(strategy.of(FeedLive)) == 2)
        outside.do(toy.close_bar, 100)
        strategy.until(lambda: bool(strategy.of(Bar)))

        assert [each for name, each in toy.calls if name == "dial" and len(each) == 2]
        assert toy.count("dial") == 2
        assert [name for name, item in strategy.told if isinstance(item, Bar)] == ["feed 0"]


def test_a_cut_of_the_market_stream_is_told_and_healed(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy) as strategy:
        strategy.open(instrument=BTC, interval=MINUTE)
        strategy.until(lambda: bool(strategy.of(FeedLive)))
        outside.do(toy.cut, Channel.BAR)
        strategy.until(lambda: len(strategy.of(FeedLive)) == 2)

        assert len(strategy.of(FeedLost)) == 1


def test_a_feed_that_was_closed_keeps_nobody_busy(outside: Outside) -> None:
    toy = ToyVenue()
    toy.write_history([99])
    strategy = Strategy(session_with(toy))
    strategy.session.start()
    mailbox = strategy.session.open_bars(instrument=BTC, interval=MINUTE, history_bars=1)
    strategy.until(lambda: len(mailbox) == 2)
    idle: list[int] = []
    strategy.wakeup.on_idle(idle.append)

    strategy.session.close_bars(mailbox)
    strategy.until(lambda: bool(idle))

    strategy.session.stop()
    strategy.session.close_bars(mailbox)


def test_an_idle_moment_while_another_thread_stops_the_session_is_harmless() -> None:
    strategy = Strategy(session_with(ToyVenue()))
    session = strategy.session
    session.start()
    io = session._io
    session.stop()

    session._on_idle(0)
    session._io = io  # as another thread sees it that looked a moment before
    session._on_idle(0)
    session._io = None
    session._idle(0)


def test_a_call_that_comes_after_the_hang_up_does_nothing(outside: Outside) -> None:
    strategy = Strategy(session_with(ToyVenue()))
    session = strategy.session
    session.start()
    link, session._link = session._link, None

    session.cancel("a1")
    outside.do(lambda: None)

    session._link = link
    assert session.orders() == ()
    session.stop()


def test_the_default_fees_of_the_toy_are_the_toys() -> None:
    assert isinstance(loaded(ToyVenue()).commission(BTC, None), FeeSchedule)
    assert loaded(ToyVenue()).info is INFO


def test_a_bar_whose_push_never_came_is_asked_for_when_it_is_overdue(outside: Outside) -> None:
    toy = ToyVenue()
    toy.write_history([99])
    with started(
        toy, timing=attrs.evolve(QUICK, bars=BarTimes(late_pause_s=0.001, settle_s=0.0, overdue_s=0.1))
    ) as strategy:
        strategy.open(instrument=BTC, interval=MINUTE, history_bars=1)
        strategy.until(lambda: bool(strategy.of(FeedLive)))

        def close_unheard() -> None:
            toy.write_history([100])
            toy.now_ns += NS_PER_MINUTE + 2 * NS_PER_S
            strategy.session.clock.offset_ns += NS_PER_MINUTE + 2 * NS_PER_S

        outside.do(close_unheard)
        strategy.until(lambda: len(strategy.of(Bar)) == 2)

        assert [each.open_ns // NS_PER_MINUTE for each in strategy.of(Bar)] == [99, 100]


def test_the_clock_knows_how_wrong_it_may_be() -> None:
    with started(ToyVenue()) as strategy:
        assert 0 < strategy.session.clock.doubt_ns < DEADLINE_S * NS_PER_S


def test_a_start_that_is_given_up_lets_go_of_what_it_holds_before_the_loop_ends() -> None:
    log: list[str] = []

    async def slow_child(_resources: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(10):  # a child that is killed is waited for
                await asyncio.sleep(0)
            log.append("gone")

    session = session_with(ToyVenue(), endpoints=slow_child, start_timeout_s=0.5)

    with pytest.raises(TransportError, match="did not answer"):
        session.start()

    assert log == ["gone"]
    assert our_threads() == []


def test_a_start_that_is_interrupted_gives_the_journal_back() -> None:
    log: list[str] = []

    @contextlib.contextmanager
    def slow(_api_key: str, _on_fault: Any) -> Iterator[Any]:
        opening, late_s = session._opening, time.monotonic() + DEADLINE_S
        assert opening is not None
        while not opening.cancelling():  # until the start is given up
            assert not threading.Event().wait(0.002)
            assert time.monotonic() < late_s
        log.append("opened")
        yield None
        log.append("closed")

    session = session_with(ToyVenue(), journal=slow, start_timeout_s=0.5)

    with pytest.raises(TransportError, match="did not answer"):
        session.start()

    assert log == ["opened", "closed"]
    assert our_threads() == []


# --- while the account stream is down ---------------------------------------------------------------------


def test_orders_are_asked_for_while_the_account_stream_is_down(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy, timing=attrs.evolve(QUICK, poll_s=0.005)) as strategy:
        client_order_id = strategy.session.submit(request())
        strategy.until(lambda: strategy.statuses(client_order_id)[-1:] == ["NEW"])

        def go_silent() -> None:
            toy.faults["dial"].extend([TransportError("down")] * 100_000)
            toy.faults["open_orders"].extend([TransportError("down")] * 3 + [KeyError("field")])
            toy.cut(Channel.ACCOUNT)

        outside.do(go_silent)
        strategy.until(lambda: sum("dials" not in text for text in strategy.notes("FAULT")) == 2)
        outside.do(toy.execute, client_order_id, 6)
        strategy.until(lambda: strategy.statuses(client_order_id)[-1] == "FILLED")

        assert not strategy.session.is_account_connected()
        assert [text for text in strategy.notes("FAULT") if "dials" not in text] == [
            "asking for the orders failed: TransportError: down",
            "asking for the orders failed: KeyError: 'field'",
        ]
        outside.do(toy.faults["dial"].clear)
        strategy.until(lambda: len(strategy.notes("CONNECTED")) == 2)
        asked = outside.do(toy.count, "open_orders")
        outside.wait(until_no_poll(strategy))
        assert outside.do(toy.count, "open_orders") <= asked + 2
        assert strategy.session.halted() is None


async def until_no_poll(strategy: Strategy) -> None:
    link = strategy.session._link
    assert link is not None
    await until_done(link.account_side._polling)
    await until_done(link.account_side._resyncing)


async def until_done(task: "asyncio.Task[None] | None") -> None:
    if task is not None:
        await asyncio.wait({task}, timeout=DEADLINE_S)
        assert task.done()


# --- audits and drift -------------------------------------------------------------------------------------


DRIFT = "balance USDT: the venue has 9900, the journal 10000 (-100)"
LOOKING = attrs.evolve(QUICK, grace_drift_s=0.002)


def test_an_audit_finds_what_was_never_pushed_and_goes_on_after_a_fault(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy, timing=attrs.evolve(QUICK, audit_s=0.005)) as strategy:
        client_order_id = strategy.session.submit(request())
        strategy.until(lambda: strategy.statuses(client_order_id)[-1:] == ["NEW"])

        def fill_unheard() -> None:
            toy.faults["account"].append(KeyError("field"))
            toy.is_muted = True
            toy.execute(client_order_id, 6)

        outside.do(fill_unheard)
        strategy.until(lambda: strategy.statuses(client_order_id)[-1] == "FILLED")
        strategy.until(lambda: bool(strategy.notes("FAULT")))

        assert strategy.notes("FAULT") == ["the audit of the account failed: KeyError: 'field'"]
        seen = outside.do(toy.count, "account")
        outside.wait(toy.until(lambda: toy.count("account") > seen + 1))
        assert strategy.session.halted() is None


def test_a_stop_in_the_middle_of_an_audit_ends_the_audit_first(outside: Outside) -> None:
    class Slow(ToyVenue):
        async def run(self, *, wanted: Any, sink: Any) -> None:
            try:
                await super().run(wanted=wanted, sink=sink)
            finally:
                answered.set()  # what the audit waits for comes while everything ends

    toy, answered = Slow(), asyncio.Event()
    with started(toy, timing=attrs.evolve(QUICK, audit_s=0.005)) as strategy:
        client_order_id = strategy.session.submit(request())
        strategy.until(lambda: strategy.statuses(client_order_id)[-1:] == ["NEW"])

        def hold_the_next() -> int:
            toy.gates["open_orders"] = answered
            return toy.count("open_orders")

        seen = outside.do(hold_the_next)
        outside.wait(toy.until(lambda: toy.count("open_orders") > seen))
        asked = outside.do(toy.count, "fills")
        strategy.session.stop()

        assert toy.count("fills") == asked


def traded(strategy: Strategy) -> None:
    """Have an order in the instrument, so that its balances are watched."""
    client_order_id = strategy.session.submit(request())
    strategy.until(lambda: strategy.statuses(client_order_id)[-1:] == ["NEW"])


def test_a_transfer_halts_a_strategy_that_is_alone_on_its_account(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy, timing=LOOKING) as strategy:
        traded(strategy)

        def transfer() -> None:
            toy.balances["USDT"] -= 100
            toy.tell(toy.balance_update())

        outside.do(transfer)
        strategy.until(lambda: bool(strategy.notes("HALT")))

        assert strategy.notes("HALT") == [f"{DRIFT}: only reductions are sent until `btx resume`"]
        assert strategy.session.halted() == DRIFT


def test_a_transfer_on_a_shared_account_is_told_and_trading_goes_on(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy, timing=LOOKING, sharing=Sharing.SHARED) as strategy:
        traded(strategy)

        def transfer() -> None:
            toy.balances["USDT"] -= 100
            toy.tell(toy.balance_update())

        outside.do(transfer)
        strategy.until(lambda: bool(strategy.notes("DRIFT")))

        assert strategy.notes("DRIFT") == [f"{DRIFT}: adopted, the account is shared"]
        assert strategy.session.halted() is None
        strategy.session.submit(request())


def test_a_balance_that_is_told_before_its_fill_is_looked_into_and_explained(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy, timing=attrs.evolve(QUICK, grace_drift_s=0.05)) as strategy:
        traded(strategy)
        (client_order_id,) = toy.orders
        asked = outside.do(toy.count, "account")

        def fill_after_balance() -> None:
            toy.is_muted = True
            toy.execute(client_order_id, 2)
            toy.is_muted = False
            toy.tell(toy.balance_update())
            toy.tell(toy.orders[client_order_id].fills[-1])

        outside.do(fill_after_balance)
        strategy.until(lambda: strategy.statuses(client_order_id)[-1] == "PARTIALLY_FILLED")
        outside.wait(until_looked(strategy))

        assert outside.do(toy.count, "account") == asked
        assert strategy.session.halted() is None


def test_a_balance_whose_fill_was_lost_is_explained_by_asking(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy, timing=LOOKING) as strategy:
        traded(strategy)
        (client_order_id,) = toy.orders

        def fill_unheard() -> None:
            toy.is_muted = True
            toy.execute(client_order_id, 2)
            toy.tell(toy.balance_update())

        outside.do(fill_unheard)
        strategy.until(lambda: strategy.statuses(client_order_id)[-1] == "PARTIALLY_FILLED")
        outside.wait(until_looked(strategy))

        assert strategy.session.halted() is None


async def until_looked(strategy: Strategy) -> None:
    link = strategy.session._link
    assert link is not None
    await until_done(link.account_side._looking)


def test_orders_of_others_in_an_instrument_are_told_when_it_is_opened(outside: Outside) -> None:
    toy = ToyVenue()
    outside.do(toy.place_foreign, "theirs", Leg(client_order_id="x", request=request(), quantity=Decimal(6)))
    with started(toy) as strategy:
        strategy.open(instrument=BTC, interval=MINUTE)
        strategy.until(lambda: bool(strategy.notes("FOREIGN")))

        assert strategy.notes("FOREIGN") == ["BTC/USDT: order theirs was not placed by this strategy: left alone"]


# --- halts, restarts --------------------------------------------------------------------------------------


def journal_at(path: Path) -> OpenJournal:
    @contextlib.contextmanager
    def opened(_api_key: str, on_fault: Callable[[str], None]) -> Iterator[Any]:
        with contextlib.closing(open_journal(path, on_fault=on_fault)) as journal:
            yield journal

    return opened


def written(path: Path) -> list[Record]:
    with contextlib.closing(read_journal(path)) as reader:
        return [record for _, _, record in reader.records()]


def until_written(strategy: Strategy, path: Path, condition: Callable[[list[Record]], bool]) -> None:
    strategy.until(lambda: condition(written(path)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def crashed(path: Path) -> Path:
    """Return the journal as it would be found if the process that writes it had died now."""
    copy = path.with_name("found.sqlite")
    for suffix in ("", "-wal"):
        shutil.copy(path.with_name(path.name + suffix), copy.with_name(copy.name + suffix))
    return copy


def test_a_halted_session_sends_reductions_only(outside: Outside) -> None:
    toy = ToyVenue()
    toy.balances["BTC"] = Decimal(3)
    with started(toy) as strategy:
        strategy.session.halt("enough")

        assert strategy.session.halted() == "enough"
        for refused in (request(), request(side=Side.SELL, quantity=Decimal(4))):
            with pytest.raises(RiskVetoError, match="trading is halted: enough"):
                strategy.session.submit(refused)
        client_order_id = strategy.session.submit(request(side=Side.SELL, quantity=Decimal(3)))
        strategy.until(lambda: strategy.statuses(client_order_id)[-1:] == ["NEW"])
        assert strategy.notes("HALT") == ["enough: only reductions are sent until `btx resume`"]


@contextlib.contextmanager
def held_by_the_venue(strategy: Strategy, outside: Outside, *, until: int) -> Iterator[None]:
    """Have the venue not listen while this is open; at its end so many orders wait for it."""
    link = strategy.session._link
    assert link is not None
    guard, later_ns = link._guard, 51 * 1_000_000_000
    outside.do(guard.heard, "cancel", RateLimitedError("too many requests", retry_after_s=50.0))
    yield

    def listen_again() -> None:
        guard._now_ns = lambda: time.monotonic_ns() + later_ns
        guard._wake()

    strategy.until(lambda: outside.do(lambda: len(guard._waiting[Lane.ORDER])) == until)
    outside.do(listen_again)


def test_an_order_that_waits_for_the_limits_while_trading_is_halted_leaves_if_it_is_a_reduction(
    outside: Outside,
) -> None:
    toy = ToyVenue()
    toy.balances["BTC"] = Decimal(3)
    target = request(side=Side.SELL, price=Decimal(120))
    with started(toy) as strategy:
        session = strategy.session
        with held_by_the_venue(strategy, outside, until=3):
            opens = session.submit(request())
            entry = session.submit_group(GroupKind.BRACKET, entry=request(), members=[target]).entry
            reduces = session.submit(request(side=Side.SELL, quantity=Decimal(3)))
            session.halt("enough")

        assert entry is not None
        for refused in (opens, entry.member_id):
            strategy.until(functools.partial(lambda each: strategy.statuses(each)[-1:] == ["REJECTED"], refused))
        strategy.until(lambda: strategy.statuses(reduces)[-1:] == ["NEW"])
        assert toy.count("place") == 1


def test_an_order_that_waits_for_the_limits_until_its_signal_is_old_does_not_leave(outside: Outside) -> None:
    toy = ToyVenue()
    target = request(side=Side.SELL, price=Decimal(120))
    with started(toy) as strategy:
        session = strategy.session
        long_ago = session.clock.market_ns() - 61_000_000_000
        old = functools.partial(request, signal_ns=long_ago)
        with held_by_the_venue(strategy, outside, until=3):
            alone = session.submit(old(), max_age_ns=60_000_000_000)
            group = session.submit_group(GroupKind.BRACKET, entry=old(), members=[target], max_age_ns=60_000_000_000)
            young = session.submit(old(), max_age_ns=10**18)

        assert group.entry is not None
        for refused in (alone, group.entry.member_id):
            strategy.until(functools.partial(lambda each: strategy.statuses(each)[-1:] == ["REJECTED"], refused))
        strategy.until(lambda: strategy.statuses(young)[-1:] == ["NEW"])
        reasons = [u.event.reason for u in strategy.of(OrderUpdate) if isinstance(u.event, PlaceRefused)]
        assert len(reasons) == 2
        assert all("while it waited for the limits of the venue: stale" in each for each in reasons)
        assert all("max_signal_age is 60 s" in each for each in reasons)
        assert toy.count("place") == 1


def test_the_beginning_of_a_day_is_kept_before_any_order_leaves_and_measured_anew_after_a_halt(
    path: Path, outside: Outside
) -> None:
    toy = ToyVenue()
    with started(toy, journal=journal_at(path)) as strategy:
        assert strategy.session.load_state(DAY_START) is None
        strategy.session.look()
        kept = strategy.session.load_state(DAY_START)
        assert kept is not None
        until_written(strategy, path, lambda records: any(isinstance(each, StrategyState) for each in records))

    with started(toy, journal=journal_at(path)) as strategy:
        assert strategy.session.load_state(DAY_START) == kept
    with contextlib.closing(open_journal(path)) as journal:
        asyncio.run(journal.append(Resumed(time_ns=1), durable=True))
    with started(toy, journal=journal_at(path)) as strategy:
        assert strategy.session.load_state(DAY_START) is None
    strategy.session.look()  # a session that is over has no day


def test_a_halt_is_on_disk_and_outlives_the_process_until_it_is_ended(path: Path, outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy, journal=journal_at(path)) as strategy:
        strategy.session.halt("enough")
        strategy.session.halt("more than enough")
        until_written(strategy, path, lambda records: any(isinstance(each, Halted) for each in records))
    assert [each.reason for each in written(path) if isinstance(each, Halted)] == ["enough"]

    with started(toy, journal=journal_at(path)) as strategy:
        strategy.until(lambda: bool(strategy.notes("HALT")))
        assert strategy.session.halted() == "enough"
        with pytest.raises(RiskVetoError):
            strategy.session.submit(request())
        link = strategy.session._link
        assert link is not None
        outside.wait(link.resume())
        outside.wait(link.resume())
        assert strategy.session.halted() is None
        strategy.session.submit(request())
        strategy.until(lambda: bool(strategy.of(OrderUpdate)))
    assert len([each for each in written(path) if isinstance(each, Resumed)]) == 1

    with started(toy, journal=journal_at(path)) as strategy:
        assert strategy.session.halted() is None


def test_a_drift_while_nobody_was_there_halts_the_start(path: Path, outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy, journal=journal_at(path)) as strategy:
        traded(strategy)
    toy.balances["USDT"] -= 100

    with started(toy, journal=journal_at(path), timing=LOOKING) as strategy:
        assert strategy.session.halted() == DRIFT
        assert strategy.session.account().balances["USDT"].total == 9900


def test_after_a_crash_orders_fills_and_positions_are_recovered(path: Path, outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy, journal=journal_at(path)) as strategy:
        assert not strategy.session.recovered().crashed
        resting, done = strategy.session.submit(request()), strategy.session.submit(request())
        strategy.until(lambda: {*strategy.statuses(resting)} & {*strategy.statuses(done)} >= {"NEW"})
        outside.do(toy.execute, resting, 1)
        outside.do(toy.execute, done, 6)
        strategy.until(lambda: strategy.statuses(done)[-1] == "FILLED")
        strategy.session.delivered(resting, "1")
        until_written(strategy, path, lambda records: any(isinstance(each, Delivered) for each in records))
        found = crashed(path)
    outside.do(toy.execute, resting, 2)  # while nobody is there

    with started(toy, journal=journal_at(found)) as strategy:
        recovered = strategy.session.recovered()

        assert recovered.crashed
        assert [(order.client_order_id, order.filled) for order in recovered.orders] == [(resting, 3), (done, 6)]
        assert {name: [each.fill_id for each in fills] for name, fills in recovered.undelivered.items()} == {
            resting: ["3"],
            done: ["2"],
        }
        assert recovered.cost["BTC/USDT"].quantity == 1  # of what the strategy was told
        assert strategy.session.halted() is None
        assert strategy.of(OrderUpdate) == []
        for name, fills in recovered.undelivered.items():
            for fill in fills:
                strategy.session.delivered(name, fill.fill_id)
        strategy.session.cancel(resting)
        strategy.until(lambda: strategy.statuses(resting)[-1:] == ["CANCELED"])

    with started(toy, journal=journal_at(found)) as strategy:
        assert strategy.session.recovered().orders == ()
        assert strategy.session.recovered().undelivered == {}
        assert not strategy.session.recovered().crashed
        assert strategy.session.recovered().cost["BTC/USDT"].quantity == 9
        assert strategy.session.halted() is None


def test_an_order_whose_answer_a_crash_cut_off_is_found_at_the_venue(path: Path, outside: Outside) -> None:
    toy = ToyVenue()
    toy.faults["place"].append(Fault.LOST_ANSWER)
    toy.faults["query"].append(Fault.SILENT)
    with started(toy, journal=journal_at(path)) as strategy:
        toy.is_muted = True
        client_order_id = strategy.session.submit(request(order_type=OrderType.MARKET, price=None))
        strategy.until(lambda: strategy.statuses(client_order_id)[-1:] == ["UNKNOWN"])
        until_written(strategy, path, lambda records: any(isinstance(each, Event) for each in records))
        found = crashed(path)

    with started(toy, journal=journal_at(found)) as strategy:
        (order,) = strategy.session.recovered().orders
        assert (order.client_order_id, order.status) == (client_order_id, Status.FILLED)
        assert strategy.session.halted() is None
        assert toy.count("place") == 1


def test_a_text_of_a_strategy_outlives_the_process(path: Path) -> None:
    toy = ToyVenue()
    with started(toy, journal=journal_at(path)) as strategy:
        assert strategy.session.load_state("mine") is None
        strategy.session.save_state("mine", "1")
        strategy.session.save_state("mine", "2")
        assert strategy.session.load_state("mine") == "2"

    with started(toy, journal=journal_at(path)) as strategy:
        assert strategy.session.load_state("mine") == "2"
        assert strategy.session.load_state("yours") is None


def test_the_end_of_a_run_is_the_last_thing_that_is_written(path: Path, outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy, journal=journal_at(path), timing=attrs.evolve(QUICK, audit_s=0.002)) as strategy:
        traded(strategy)
        outside.do(toy.execute, next(iter(toy.orders)), 1)

    *_, snapshot, ended = written(path)
    assert isinstance(snapshot, Snapshot)
    assert snapshot.balances == toy.balances
    assert type(ended).__name__ == "RunEnded"


def test_a_halted_session_amends_nothing_that_would_grow(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy) as strategy:
        client_order_id = strategy.session.submit(request())
        strategy.until(lambda: strategy.statuses(client_order_id) == ["PENDING_NEW", "NEW"])
        strategy.session.halt("somebody looked odd")

        with pytest.raises(RiskVetoError, match="somebody looked odd"):
            strategy.session.amend(client_order_id, request(quantity=Decimal(7)))


def amended(strategy: Strategy, owner_id: str, **changes: Any) -> str | None:
    """Return why an amendment is refused, None when it leaves."""
    try:
        strategy.session.amend(owner_id, request(**changes))
    except RiskVetoError as error:
        return str(error)
    return None


def test_an_amendment_is_held_to_the_limits_in_place_of_what_it_amends(outside: Outside) -> None:
    toy = ToyVenue()
    settings = attrs.evolve(KEYS, limits=Limits(position_notional=Decimal(1000), order_notional=Decimal(800)))
    with started(toy, settings=settings) as strategy:
        one, two = strategy.session.submit(request()), strategy.session.submit(request(quantity=Decimal(2)))
        strategy.until(lambda: all(strategy.statuses(each)[-1:] == ["NEW"] for each in (one, two)))

        too_large = amended(strategy, one, quantity=Decimal("8.01"))
        assert too_large == "the order would be worth 801: the limit is 800 (order)"
        assert amended(strategy, two, quantity=Decimal("4.01")) is not None
        assert "(position)" in str(amended(strategy, two, quantity=Decimal(2), price=Decimal(130)))  # as large, dearer
        assert toy.count("replace") == 0
        outside.do(toy.execute, one, 1)
        strategy.until(lambda: strategy.statuses(one)[-1] == "PARTIALLY_FILLED")
        assert amended(strategy, one, quantity=Decimal("8.01")) == (
            "the position would be worth 1001: the limit is 1000 (position)"  # 1 is held, 2 and 7.01 are wanted
        )
        assert amended(strategy, two, quantity=Decimal(4)) is None
        strategy.until(lambda: toy.count("replace") == 1)


def test_an_amendment_that_only_shrinks_passes_though_what_is_left_is_above_a_limit(outside: Outside) -> None:
    toy = ToyVenue()
    settings = attrs.evolve(KEYS, limits=Limits(order_notional=Decimal(600)))
    with started(toy, settings=settings) as strategy:
        one = strategy.session.submit(request())
        strategy.until(lambda: strategy.statuses(one)[-1:] == ["NEW"])
        risk = strategy.session._vetting._risk
        assert risk is not None
        risk.limits = Limits(order_notional=Decimal(100))

        assert amended(strategy, one, quantity=Decimal("5.99"), price=Decimal(101)) is not None
        assert amended(strategy, one, quantity=Decimal(5)) is None
        strategy.until(lambda: toy.count("replace") == 1)


def test_the_exits_of_a_bracket_are_amended_whatever_the_limits(outside: Outside) -> None:
    toy = ToyVenue()
    settings = attrs.evolve(KEYS, limits=Limits(order_notional=Decimal(600)))
    target = request(side=Side.SELL, price=Decimal(120))
    with started(toy, settings=settings) as strategy:
        group = strategy.session.submit_group(GroupKind.BRACKET, entry=request(), members=[target])
        strategy.until(lambda: bool(strategy.of(GroupWritten)))

        assert group.entry is not None
        assert amended(strategy, group.members[0].member_id, side=Side.SELL, price=Decimal(130)) is None
        strategy.until(lambda: len(strategy.of(GroupWritten)) == 2)
        assert amended(strategy, group.entry.member_id, price=Decimal(101)) is not None


# --- other processes --------------------------------------------------------------------------------------


class Odd:
    """Other processes as they reach a session: what each look brings, or breaks with."""

    def __init__(self, *looks: Any) -> None:
        self.looks = list(looks)
        self.count = 0

    def enter(self, *, api_key: str, endpoints: Any) -> None:
        pass

    def look(self, **_facts: Any) -> tuple[tuple[str, str], ...]:
        self.count += 1
        brought = self.looks.pop(0) if self.looks else ()
        if isinstance(brought, Exception):
            raise brought
        return brought  # type: ignore[no-any-return]

    def leave(self) -> None:
        pass


def test_whatever_breaks_while_other_processes_are_heard_is_told_and_a_panic_still_arrives(outside: Outside) -> None:
    bug, slow = KeyError("field"), OSError("the disk is slow")
    others = Odd(bug, bug, slow, (), slow, (("halt", "panic"),))
    with started(ToyVenue(), outside=others, timing=attrs.evolve(QUICK, outside_s=0.001)) as strategy:
        strategy.until(lambda: strategy.session.halted() == "panic" and others.count > 7)

        assert strategy.notes("FAULT") == [
            "hearing other processes failed: KeyError: 'field'",  # once, though it broke twice
            "hearing other processes failed: OSError: the disk is slow",
            "hearing other processes failed: OSError: the disk is slow",
        ]


# --- a strategy that takes its time ----------------------------------------------------------------------------


def test_bars_that_do_not_fit_wait_at_the_venue_and_all_come_in_the_end(outside: Outside) -> None:
    toy = ToyVenue()
    with started(toy, timing=attrs.evolve(QUICK, most_bars=20)) as strategy:
        mailbox = strategy.open(instrument=BTC, interval=MINUTE)
        strategy.until(lambda: bool(strategy.of(FeedLive)))

        def hour() -> None:
            for minute in range(100, 160):
                toy.close_bar(minute)
            strategy.session.clock.offset_ns += 60 * NS_PER_MINUTE

        outside.do(hour)
        outside.wait(toy.until(toy.of(Channel.BAR)[0].frames.empty))
        assert len(mailbox) <= 20 + 1  # and the word that what follows is fetched
        strategy.until(lambda: len(strategy.of(Bar)) == 60)

        assert [each.open_ns // NS_PER_MINUTE for each in strategy.of(Bar)] == list(range(100, 160))
        strategy.until(lambda: len(strategy.of(FeedLive)) == 2)
        assert strategy.notes("SLOW") == [
            "BTC/USDT 1m: 20 bars wait, what follows is fetched when they are taken",
        ]


def test_events_of_the_account_are_never_dropped_and_many_that_wait_are_told(
    outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    toy = ToyVenue()
    with started(toy, timing=QUICK) as strategy:
        updates = [toy.balance_update() for _ in range(1500)]
        outside.do(toy.tell, *updates)
        outside.wait(toy.until(toy.of(Channel.ACCOUNT)[0].frames.empty))

        strategy.until(lambda: len(strategy.of(AccountUpdate)) >= 1500)

        (told,) = strategy.notes("SLOW")
        assert "events of the account wait for the strategy; none is dropped" in told
        assert told in caplog.text  # at once: the remark itself comes behind them


def test_connections_are_known_while_the_session_runs() -> None:
    with started(ToyVenue()) as strategy:
        assert {name: each.state for name, each in strategy.session.connections().items()} == {
            "account": ConnectionState.CONNECTED
        }
        strategy.open(instrument=BTC, interval=MINUTE)
        strategy.until(lambda: bool(strategy.of(FeedLive)))
        assert strategy.session.connections()["market"].state is ConnectionState.CONNECTED
    assert strategy.session.connections() == {}


@pytest.mark.parametrize("on_gap", list(OnGap))
def test_trades_that_cannot_be_had_halt_unless_the_user_said_otherwise(on_gap: OnGap, outside: Outside) -> None:
    with started(ToyVenue()) as strategy:
        link = strategy.session._link
        assert link is not None
        assert link.market_side.prints is not None
        channel = TradeChannel(
            index=0,
            instrument=BTC,
            interval=MINUTE,
            mailbox=Mailbox(Wakeup()),
            live=True,
            history=lambda now_ns: now_ns,
            end_ns=None,
            making=Making(),
            on_gap=on_gap,
        )

        outside.do(link.market_side.prints.tell_gap, channel, 0, NS_PER_MINUTE, "old ones are nobody's loss")
        strategy.until(lambda: len(strategy.notes("GAP")) == 1)
        assert strategy.session.halted() is None
        channel.was_live = True
        outside.do(link.market_side.prints.tell_gap, channel, 0, NS_PER_MINUTE, "the venue has no trades 3 to 5")
        strategy.until(lambda: len(strategy.notes("GAP")) == 2)

        assert (strategy.session.halted() is not None) == (on_gap is OnGap.HALT)

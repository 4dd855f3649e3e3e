"""Faults: what an adapter says when an answer is lost, a push comes twice, or the venue is gone."""

import contextlib
import functools
from collections.abc import Awaitable, Callable
from typing import Any

from btx.errors import (
    BtxError,
    DataError,
    OrderNotFoundError,
    OutcomeUnknownError,
    SubscriptionRefusedError,
    TransportError,
)
from btx.model.market import Bar
from btx.model.order import Fill, Leg, Order, OrderReport, OrderType, Side, Status
from btx.model.venue import Channel, StreamState, StreamStatus
from btx.rules.orders import new_order, take
from btx.runtime.wishes import Wishes
from btx.testing import needs
from btx.testing.bench import Bench
from btx.testing.card import CardFailedError, expect, expect_error, ports_card, skip

__all__ = ()

_LIMIT = needs.order_type(OrderType.LIMIT)
_MARKET = needs.order_type(OrderType.MARKET)
_BARS = needs.channel(Channel.BAR)
_ENDED = (Status.CANCELED, Status.EXPIRED)


async def _resting(bench: Bench) -> Leg:
    """Return an order that would rest, not sent yet."""
    return await bench.leg(order_type=OrderType.LIMIT, price=await bench.away(Side.BUY))


async def _struck(bench: Bench, kind: str) -> None:
    """Skip where the simulator has no way of doing what was asked for."""
    if not (await bench.ask("fault_log"))["log"]:
        skip(f"the simulator does not play the fault {kind!r} here")


async def _place(bench: Bench, kind: str) -> tuple[Leg, BaseException | None]:
    """Send an order while something goes wrong with the placement; return what came of it."""
    leg = await _resting(bench)
    await bench.faults({"kind": kind, "where": "place"})
    error: BaseException | None = None
    try:
        await bench.place(leg)
    except BtxError as raised:
        error = raised
    await _struck(bench, kind)
    return leg, error


async def _is_unknown(bench: Bench, kind: str) -> None:
    """Expect a placement that was done to be told as neither done nor refused, and to be done once."""
    leg, error = await _place(bench, kind)
    expect(
        isinstance(error, OutcomeUnknownError),
        f"expected OutcomeUnknownError for a placement whose answer did not come, and it was {error!r}",
    )
    rows = await bench.ledger_orders(leg)
    expect(
        len(rows) == 1, f"expected the order once at the venue, and it is there {len(rows)} times: it was sent again"
    )


@ports_card(
    "FLT-01",
    "An order whose answer is lost is told as unknown, and is not sent again",
    hint="Broker.place: OutcomeUnknownError, no retries",
    needs=(_LIMIT,),
)
async def _lost(bench: Bench) -> None:
    await _is_unknown(bench, "lose")


@ports_card(
    "FLT-02",
    "An order that was taken and answered by a server error is told as unknown",
    hint="Broker.place: 5xx is no refusal",
    needs=(_LIMIT,),
)
async def _error_after(bench: Bench) -> None:
    await _is_unknown(bench, "error_after")


@ports_card(
    "FLT-03",
    "An order whose answer cannot be read is told as unknown",
    hint="Broker.place: what cannot be read is no refusal",
    needs=(_LIMIT,),
)
async def _unreadable(bench: Bench) -> None:
    await _is_unknown(bench, "truncate")


@ports_card(
    "FLT-04",
    "An order whose connection is cut is never told as refused, and is not sent again",
    hint="Broker.place: TransportError or OutcomeUnknownError",
    needs=(_LIMIT,),
)
async def _dropped(bench: Bench) -> None:
    leg, error = await _place(bench, "drop")
    expect(isinstance(error, TransportError), f"expected TransportError (or OutcomeUnknownError), and it was {error!r}")
    rows = await bench.ledger_orders(leg)
    expect(not rows, f"expected no order at the venue, and there are {len(rows)}: the placement was sent again")


@ports_card(
    "FLT-05",
    "An order that met a server error before it was taken is told as an error, and is not sent again",
    hint="Broker.place: 5xx is no refusal",
    needs=(_LIMIT,),
)
async def _error_before(bench: Bench) -> None:
    leg, error = await _place(bench, "error_before")
    expect(error is not None, "expected an error when the venue did not take the order, and place returned")
    rows = await bench.ledger_orders(leg)
    expect(not rows, f"expected no order at the venue, and there are {len(rows)}: the placement was sent again")


@ports_card(
    "FLT-06",
    "What became of an order without an answer is found by asking for it",
    hint="Broker.query by client order id",
    needs=(_LIMIT,),
)
async def _settled(bench: Bench) -> None:
    leg, _ = await _place(bench, "lose")
    await bench.faults()
    order = functools.reduce(take, await bench.broker.query(leg=leg), new_order(leg))
    expect(order.status is Status.NEW, f"expected query to find the order as NEW, and it is {order.status.value}")


@ports_card(
    "FLT-07",
    "An order that never arrived is not found, and only that says so",
    hint="Broker.query: OrderNotFoundError",
    needs=(_LIMIT,),
)
async def _never(bench: Bench) -> None:
    leg, _ = await _place(bench, "drop")
    await bench.faults()
    await expect_error(OrderNotFoundError, bench.broker.query(leg=leg), "for an order that never arrived")


@ports_card(
    "FLT-08",
    "A cancel whose answer is lost is never told as refused, and its end comes by the stream",
    hint="Broker.cancel: OutcomeUnknownError (OrderNotFoundError where the library asked again)",
    needs=(_LIMIT,),
)
async def _lost_cancel(bench: Bench) -> None:
    leg = await bench.rested()
    await bench.faults({"kind": "lose", "where": "cancel"})
    error: BaseException | None = None
    try:
        await bench.cancel(leg)
    except BtxError as raised:
        error = raised
    await _struck(bench, "lose")
    # HTTP libraries send what may be sent twice again by themselves, when a connection that they kept is cut.
    expect(
        isinstance(error, OutcomeUnknownError | OrderNotFoundError),
        f"expected OutcomeUnknownError of the cancel, and it was {error!r}",
    )
    bench.mend()
    await bench.until_status(leg, *_ENDED)


@ports_card(
    "FLT-09",
    "A question that is lost is no answer: an order is not missing because nobody answered",
    hint="Broker.query: TransportError, never OrderNotFoundError",
    needs=(_LIMIT,),
)
async def _lost_query(bench: Bench) -> None:
    leg = await bench.rested()
    for kind in ("drop", "error_before", "truncate"):
        await bench.faults({"kind": kind, "where": "query", "count": 5})
        try:
            found = await bench.broker.query(leg=leg)
        except (TransportError, DataError):
            await bench.faults()
            continue
        except BtxError as error:
            raise CardFailedError(
                f"expected TransportError or DataError of a lost question, and it was {error!r}"
            ) from error
        await _struck(bench, kind)
        raise CardFailedError(f"expected TransportError or DataError of a lost question, and it returned {found!r}")


async def _fails(bench: Bench, where: str, kind: str, ask: Callable[[], Awaitable[Any]]) -> None:
    await bench.faults({"kind": kind, "where": where, "count": 5})
    try:
        found = await ask()
    except (TransportError, DataError):
        await bench.faults()
        return
    except BtxError as error:
        raise CardFailedError(f"expected TransportError or DataError, and it was {error!r}") from error
    await _struck(bench, kind)
    raise CardFailedError(f"expected TransportError or DataError when nothing was answered, and it returned {found!r}")


@ports_card(
    "FLT-10",
    "Facts that are not answered are told as such: nothing is made up, and nothing is None",
    hint="Store.account: TransportError or DataError",
)
async def _no_account(bench: Bench) -> None:
    for kind in ("drop", "error_before", "truncate"):
        await _fails(bench, "account", kind, bench.store.account)


@ports_card(
    "FLT-11",
    "Market data that are not answered are told as such, and not as an empty page",
    hint="Feed.bars: TransportError or DataError",
    needs=(_BARS, needs.flag("history")),
)
async def _no_bars(bench: Bench) -> None:
    interval = bench.subscription(Channel.BAR).interval
    assert interval is not None
    now_ns = bench.time.market

    def ask() -> Awaitable[Any]:
        return bench.feed.bars(
            instrument=bench.instrument, interval=interval, start_ns=now_ns - 3600 * 10**9, end_ns=now_ns
        )

    for kind in ("drop", "error_before", "truncate"):
        await _fails(bench, "market", kind, ask)


@ports_card(
    "FLT-12", "A question is sent once: asking again is the core's", hint="no retries in the adapter or in its library"
)
async def _once(bench: Bench) -> None:
    async def asked() -> int:
        return sum((await bench.ask("requests"))["requests"].values())

    before = await asked()
    await bench.store.account()
    usual = await asked() - before
    if not usual:
        skip("the simulator does not count what it is asked")
    await bench.faults({"kind": "error_before", "where": "account", "count": 10})
    before = await asked()
    await expect_error(BtxError, bench.store.account(), "for an account that is not answered")
    again = await asked() - before
    expect(
        again <= usual, f"expected {usual} requests at most, and there were {again}: the adapter asks again by itself"
    )


def _fold(leg: Leg, events: list[Any]) -> Order:
    mine = [
        each for each in events if isinstance(each, Fill | OrderReport) and each.client_order_id == leg.client_order_id
    ]
    return functools.reduce(take, mine, new_order(leg))


@ports_card(
    "FLT-13",
    "Events that are pushed twice are known as the same",
    hint="fill_id and sequence: the venue's, never made up",
    needs=(_MARKET,),
)
async def _twice(bench: Bench) -> None:
    await bench.faults({"kind": "duplicate", "where": "account_stream", "count": 20})
    leg = await bench.bought()
    await bench.ask("sync")
    await bench.store.account()
    await _struck(bench, "duplicate")
    order = _fold(leg, bench.account.events)
    rows = await bench.ledger_fills(leg)
    count = len(rows) if bench.can.executions else len(order.fills)
    expect(
        (order.filled, len(order.fills)) == (leg.quantity, count),
        f"expected {leg.quantity} in {len(rows)} fills, and pushed twice they are {order.filled} in {len(order.fills)}",
    )


@ports_card(
    "FLT-14",
    "Events that come in another order end in the same state",
    hint="sequence or time_ns of reports and fills",
    needs=(_MARKET,),
)
async def _reordered(bench: Bench) -> None:
    await bench.faults(*({"kind": "reorder", "where": "account_stream", "at": at, "for_s": 0.2} for at in (1, 3, 5)))
    leg = await bench.leg()
    await bench.place(leg)
    await bench.account.until(lambda: bench.filled(leg) >= leg.quantity, f"fills of {leg.quantity}")
    await bench.account.until(
        lambda: _fold(leg, bench.account.events).is_settled, "a filled order, whatever the order of its events"
    )
    await _struck(bench, "reorder")


@ports_card(
    "FLT-15",
    "An account stream that is cut raises TransportError, and what happened meanwhile is found by asking",
    hint="Stream.run and Broker.query",
    needs=(_MARKET,),
    alone=True,
)
async def _cut(bench: Bench) -> None:
    await bench.faults({"kind": "cut", "where": "account_stream"})
    leg = await bench.leg()
    with contextlib.suppress(OutcomeUnknownError):  # where the connection of the pushes is that of the orders
        await bench.place(leg)
    error = await bench.end_of(bench.account)
    await _struck(bench, "cut")
    expect(isinstance(error, TransportError), f"expected TransportError from Stream.run, and it ended with {error!r}")
    await bench.faults()
    order = functools.reduce(take, await bench.broker.query(leg=leg), new_order(leg))
    expect(order.status is Status.FILLED, f"expected query to find the order as FILLED, and it is {order.status.value}")
    rows = await bench.ledger_fills(leg)
    if bench.can.executions:
        expect(len(order.fills) == len(rows), f"expected {len(rows)} fills from query, not {len(order.fills)}")


@ports_card(
    "FLT-16",
    "Account events that end while the connection stands are told",
    hint="StreamState.LOST, or TransportError",
    needs=(_MARKET,),
    alone=True,
)
async def _ended(bench: Bench) -> None:
    task = bench.run_of(bench.account)
    await bench.faults({"kind": "stream_end", "where": "account_stream"})
    with contextlib.suppress(OutcomeUnknownError):  # likewise
        await bench.place(await bench.leg())
    task.add_done_callback(lambda _: bench.account.wake())

    def is_told() -> bool:
        lost = (each.state is StreamState.LOST for each in bench.account.of(StreamStatus))
        return task.done() or any(lost)

    await _struck(bench, "stream_end")
    await bench.account.until(is_told, "StreamState.LOST or the end of the connection")
    if task.done():
        error = await bench.end_of(bench.account)
        expect(isinstance(error, TransportError), f"expected TransportError, and Stream.run ended with {error!r}")


@ports_card(
    "FLT-17",
    "A connection that is refused raises TransportError at once",
    hint="Stream.run: it does not dial again",
    needs=(_BARS,),
    alone=True,
)
async def _refused(bench: Bench) -> None:
    before = await bench.sockets()
    await bench.hang_up(await bench.listen(bench.subscription(Channel.BAR)))
    usual = (await bench.sockets())["dials"] - before["dials"]  # some open more than one for a connection
    await bench.faults({"kind": "refuse", "where": "dial", "count": 5})
    try:
        heard = await bench.listen(bench.subscription(Channel.BAR))
    except TransportError:
        pass
    else:
        await bench.hang_up(heard)
        await _struck(bench, "refuse")
        raise CardFailedError("expected TransportError from Stream.run when it is refused, and it stands")
    log = (await bench.ask("fault_log"))["log"]
    expect(len(log) <= usual, f"expected one try, and the adapter dialled {len(log)} times: redialling is the core's")


@ports_card(
    "FLT-18",
    "A subscription that is refused is told as such",
    hint="Stream.run: SubscriptionRefusedError or TransportError",
    needs=(_BARS,),
    alone=True,
)
async def _no_subscription(bench: Bench) -> None:
    first = bench.subscription(Channel.BAR)
    more = bench.subscription(Channel.BAR, bench.other) if bench.other else bench.subscription(Channel.TRADE)
    wishes = Wishes((first,))
    await bench.faults({"kind": "refuse", "where": "subscribe", "count": 5})
    try:
        heard = await bench.listen(wishes=wishes)
    except (SubscriptionRefusedError, TransportError):
        return
    task = bench.run_of(heard)
    if not (await bench.ask("fault_log"))["log"] and (bench.other or Channel.TRADE in bench.can.channels):
        # Nothing was asked for by a message: the address that was dialled says it. What is wanted later needs one.
        task.add_done_callback(lambda _: heard.wake())
        wishes.set((first, more))
        await heard.until(
            lambda: task.done() or any(more in each.subscriptions for each in heard.of(StreamStatus)),
            "SUBSCRIBED or the end of the connection when more is wanted",
        )
    if task.done():
        error = await bench.end_of(heard)
        refused = isinstance(error, SubscriptionRefusedError | TransportError)
        expect(refused, f"expected SubscriptionRefusedError or TransportError, and Stream.run ended with {error!r}")
        return
    await bench.hang_up(heard)
    if not (await bench.ask("fault_log"))["log"]:
        skip("the simulator refuses no subscription: it does not play 'refuse' in 'subscribe', neither first nor later")
    raise CardFailedError("expected SubscriptionRefusedError or TransportError, and SUBSCRIBED was told all the same")


@ports_card(
    "FLT-19",
    "After an outage the same ports work again",
    hint="one request's failure must not break the session",
    needs=(_LIMIT, _BARS),
    alone=True,
)
async def _outage(bench: Bench) -> None:
    await bench.faults({"kind": "outage", "where": "account", "for_s": 0.3})
    await expect_error(TransportError, bench.store.account(), "while the venue is out")
    await _struck(bench, "outage")
    await bench.faults()

    async def answers() -> bool:
        try:
            await bench.store.account()
        except TransportError:
            return False
        return True

    await bench.until_true(bool, answers, "the venue to answer again")
    if bench.run_of(bench.account).done():
        await bench.end_of(bench.account)
    bench.account = await bench.listen(bench.subscription(Channel.ACCOUNT))
    leg = await bench.rested()
    expect(len(await bench.ledger_orders(leg)) == 1, "expected the order once at the venue")


@ports_card(
    "FLT-20",
    "An answer that comes after its pushes changes nothing",
    hint="what place does with its answer",
    needs=(_MARKET,),
)
async def _late_answer(bench: Bench) -> None:
    await bench.faults({"kind": "ack_after_fill", "where": "place", "for_s": 0.1})
    leg = await bench.bought()
    await _struck(bench, "ack_after_fill")
    order = _fold(leg, bench.account.events)
    expect(order.is_settled and order.status is Status.FILLED, f"expected FILLED, and it is {order.status.value}")


@ports_card(
    "FLT-21",
    "A bar that is pushed twice closes the same bar",
    hint="what makes a bar of a frame",
    needs=(_BARS, needs.flag("closes_bars")),
    alone=True,
)
async def _bar_twice(bench: Bench) -> None:
    heard = await bench.listen(bench.subscription(Channel.BAR))
    await bench.faults({"kind": "duplicate", "where": "market_stream", "count": 500})
    await bench.advance(3)
    await bench.ask("sync")
    await heard.until(lambda: [each for each in heard.of(Bar) if each.is_closed], "closed bars")
    await _struck(bench, "duplicate")
    closed: dict[int, Bar] = {}
    for bar in heard.of(Bar):
        if bar.is_closed:
            expect(closed.setdefault(bar.open_ns, bar) == bar, f"expected the same bar twice, and it came as {bar}")


@ports_card(
    "FLT-40",
    "A cancel that never arrived ends nothing",
    hint="Broker.cancel, and who says that an order is cancelled: the venue alone",
    needs=(_LIMIT,),
)
async def _no_cancel(bench: Bench) -> None:
    leg = await bench.rested()
    await bench.faults({"kind": "drop", "where": "cancel", "count": 2})
    with contextlib.suppress(BtxError):
        await bench.cancel(leg)
    await _struck(bench, "drop")
    bench.mend()
    await bench.faults()
    asked = await bench.broker.query(leg=leg)
    states = {each.status for each in (*asked, *bench.reports(leg)) if isinstance(each, OrderReport)}
    ended = [each.value for each in states if each.is_final]
    expect(not ended, f"expected the order to rest, which the venue was never asked to cancel, and it is {ended}")

"""Pushes of OpenD: each run is one connection of its own."""

import asyncio
from typing import Any

import attrs

from btx.errors import BtxError, SubscriptionRefusedError, TransportError
from btx.model.account import AccountUpdate
from btx.model.order import Fill
from btx.model.time import Interval
from btx.model.venue import Channel, StreamState, StreamStatus, Subscription
from btx.ports import Context, Sink, Wanted
from btx_futu import codec
from btx_futu.opend import Line, opend
from btx_futu.sdk import deal_row, order_row
from btx_futu.store import read, read_account

__all__ = ("FutuStream",)

_NOTIFY, _ORDER, _DEAL, _BARS = 1003, 2208, 2218, 3007  # protocol ids, of the documentation's list
_MINUTE = Interval.parse("1m")
_KL_1MIN = 1  # Qot_Common.KLType
_STATUS = 3  # Notify.NotifyType: the connection status has changed


class FutuStream:
    """Bars of a market, or an account's orders; the runtime runs each apart."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._opend = opend(context)
        self._names: dict[str, str] = {}  # client order ids by OpenD's number

    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        """Be one connection that carries what is wanted, until it is lost or this is cancelled.

        Raises:
            TransportError: the connection is lost, or a subscription was refused.
            AuthenticationError: OpenD has no such account.
        """
        if any(each.channel is Channel.ACCOUNT for each in wanted.now):
            await self._run_account(wanted, sink)
        else:
            await self._run_market(wanted, sink)

    # --- the market ---------------------------------------------------------------------------------------------

    async def _run_market(self, wanted: Wanted, sink: Sink) -> None:
        blind: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # OpenD is, though it stands

        def on_push(proto_id: int, _serial: int, message: Any) -> None:
            if proto_id == _BARS and message.s2c.klType == _KL_1MIN:
                try:
                    bars = read(codec.pushed_bars, message, _MINUTE)
                except BtxError as error:
                    sink(StreamStatus(state=StreamState.FAULT, detail=str(error)))
                    return
                for bar in bars:
                    sink(bar)
            elif _is_status(proto_id, message) and not message.s2c.connectStatus.qotLogined and not blind.done():
                blind.set_exception(TransportError("OpenD has lost the quote servers"))
                blind.exception()  # it is looked at: nobody may wait for it any more

        line = await self._opend.dial(is_trade=False, on_push=on_push)
        try:
            standing: frozenset[Subscription] = frozenset()
            while True:
                now = wanted.now
                await self._subscribe(line, now - standing, is_on=True)
                await self._subscribe(line, standing - now, is_on=False)
                standing = now
                sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=standing))
                await _first(line, wanted, standing, blind)
        finally:
            await self._opend.hang_up(line)

    async def _subscribe(self, line: Line, which: frozenset[Subscription], *, is_on: bool) -> None:
        codes = sorted(each.instrument.venue_symbol for each in which if each.instrument is not None)
        if not codes:
            return
        try:
            if is_on:
                await self._opend.call(line, "subscribe", codes, ["K_1M"], is_first_push=True)
            else:
                await self._opend.call(line, "unsubscribe", codes, ["K_1M"])
        except TransportError:
            raise
        except BtxError as error:
            if is_on:
                raise SubscriptionRefusedError(f"OpenD does not push bars of {', '.join(codes)}: {error}") from error
            # Within a minute of its beginning a subscription is not ended: it goes on unheard.

    # --- the account --------------------------------------------------------------------------------------------

    async def _run_account(self, wanted: Wanted, sink: Sink) -> None:
        number = await self._opend.account_number()
        changed = asyncio.Event()
        heard = 0

        def on_push(proto_id: int, serial: int, message: Any) -> None:
            nonlocal heard
            if proto_id in (_ORDER, _DEAL) and message.s2c.header.accID == number:
                self._tell(proto_id, message, sink)
                heard = max(heard, serial)
                changed.set()
            elif _is_status(proto_id, message) and not message.s2c.connectStatus.trdLogined:
                sink(StreamStatus(state=StreamState.FAULT, detail="OpenD has lost the trading servers"))

        line = await self._opend.dial(is_trade=True, on_push=on_push)
        teller = asyncio.create_task(self._tell_account(changed, lambda: heard, sink), name="btx-futu-account")
        try:
            sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=wanted.now))
            await _first(line, wanted, wanted.now, teller)
        finally:
            teller.cancel()
            await asyncio.wait({teller})
            await self._opend.hang_up(line)

    def _tell(self, proto_id: int, message: Any, sink: Sink) -> None:
        try:
            if proto_id == _ORDER:
                row = order_row(message.s2c.order)
                report = read(codec.order_report, row, is_paper=self._opend.is_paper)
                if report is None:
                    detail = f"OpenD says {row['order_status']} of order {row['order_id']}: it is asked about"
                    sink(StreamStatus(state=StreamState.FAULT, detail=detail))
                else:
                    self._names[str(row["order_id"])] = report.client_order_id
                    sink(report)
            elif not self._opend.is_paper:
                self._tell_deal(read(codec.fill, deal_row(message.s2c.orderFill)), sink)
        except BtxError as error:
            sink(StreamStatus(state=StreamState.FAULT, detail=str(error)))

    def _tell_deal(self, fill: Fill, sink: Sink) -> None:
        """Tell of an execution; it names its order by OpenD's number alone."""
        name = self._names.get(fill.venue_order_id or "")
        if name is None:
            sink(
                StreamStatus(state=StreamState.FAULT, detail=f"a deal of order {fill.venue_order_id}, not told of yet")
            )
        else:
            sink(attrs.evolve(fill, client_order_id=name))

    async def _tell_account(self, changed: asyncio.Event, heard: Any, sink: Sink) -> None:
        """Ask for cash and holdings whenever orders have changed them: OpenD pushes neither."""
        while True:
            await changed.wait()
            changed.clear()
            upto = heard()
            try:
                snapshot = await read_account(self._opend, self._context)
            except TransportError as error:
                sink(StreamStatus(state=StreamState.LOST, detail=f"the account was not read: {error}"))
                continue
            sink(
                AccountUpdate(
                    balances=snapshot.balances, time_ns=snapshot.time_ns, reason="ORDER", sequence=upto or None
                )
            )


def _is_status(proto_id: int, message: Any) -> bool:
    """Say whether a push tells whether OpenD is logged in to the servers behind it."""
    return proto_id == _NOTIFY and message.s2c.type == _STATUS


async def _first(line: Line, wanted: Wanted, standing: frozenset[Subscription], *tasks: "asyncio.Future[None]") -> None:
    """Return when something else is wanted.

    Raises:
        TransportError: the connection is lost.
        BtxError: what one of the tasks raised.
    """
    change = asyncio.ensure_future(wanted.changed(standing))
    try:
        awaited: set[asyncio.Future[Any]] = {line.lost, change, *tasks}
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if line.lost.done():
            raise TransportError(f"the connection to OpenD is lost: {line.lost.result()}")
        for task in tasks:
            if task.done():
                task.result()
    finally:
        change.cancel()
        await asyncio.wait({change})

"""Pushes of Bybit: market data, and the account.

The account's socket is ours, not ccxt.pro's: that subscribes each topic when somebody
first waits for it, folds the states of an order into one, and asks for positions
that nobody wants.
"""

import asyncio
import contextlib
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from btx.bridges.api import Api
from btx.bridges.market import PING, run_market
from btx.bridges.requests import Requests
from btx.bridges.sockets import Send, SocketOptions, run_socket
from btx.bridges.tasks import either
from btx.bridges.verdicts import scrub
from btx.errors import AuthenticationError, ClockError, DataError, TransportError
from btx.model.account import AccountUpdate
from btx.model.time import from_ms
from btx.model.venue import Channel, StreamState, StreamStatus, Subscription
from btx.ports import Context, Sink, Wanted
from btx_bybit import events
from btx_bybit.api import api, modes
from btx_bybit.config import SPOT, options, public_url, require_keys, stream_url
from btx_bybit.market_stream import PING_TEXT, BybitDialect, BybitReader
from btx_bybit.trade_socket import auth_args

__all__ = ("BybitStream",)

_TOPICS = {SPOT: ("order", "execution", "wallet")}
_CONTRACT_TOPICS = ("order", "execution", "wallet", "position")
# They tell nothing: the venue cancels what rests when the last connection that has them is lost, if the account is
# set to.  So they are asked for by who wants that alone, and given back by who leaves as he means to.
_SWITCHES = {SPOT: ("dcp.spot",)}
_CONTRACT_SWITCHES = ("dcp.future",)
_LET_GO_S = 1.0  # for that; then the venue takes it for a loss
_TIMELY = ("expires", "timestamp", "time stamp")  # of a refusal that speaks of the clock, not of the key


class BybitStream:
    """The public streams of one market, and what the account has in it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = api(context)

    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        """Be one connection that carries what is wanted, until cancelled.

        Raises:
            TransportError: the connection is lost; the runtime dials again.
            SubscriptionRefusedError: so it does, and seeks out what is refused if that goes on.
            AuthenticationError: dialling again would not help.
            NotSupportedError: account and market together, or more topics than a connection may carry.
            MissingSecretError: an account stream without a key.
        """
        mine = options(self._context)
        sockets = SocketOptions(ping_interval_s=mine.ping_interval_s, ping_timeout_s=mine.ping_timeout_s)
        if {each.channel for each in wanted.now} == {Channel.ACCOUNT}:
            await self._run_account(wanted.now, sink, sockets)
        url, market = public_url(self._context), self._context.market
        await run_market(
            context=self._context,
            wanted=wanted,
            sink=sink,
            dialect=BybitDialect(market=market, ping_interval_s=mine.ping_interval_s),
            reader=functools.partial(BybitReader, market=market),
            bases=(url,),
            options=sockets,
        )

    async def _run_account(
        self, subscriptions: frozenset[Subscription], sink: Sink, sockets: SocketOptions
    ) -> NoReturn:
        require_keys(self._context)
        account = _AccountFrames(self._context, self._api, sink, subscriptions)
        socket = asyncio.ensure_future(
            run_socket(
                url=stream_url(self._context),
                handler=account,
                options=sockets,
                tap=self._context.tap,
                proxy=self._context.settings.proxy,
            )
        )
        try:
            await either(_until(socket), account.follow())
        except asyncio.CancelledError:
            await account.let_go()
            raise
        finally:
            socket.cancel()
            await asyncio.gather(socket, return_exceptions=True)
        raise TransportError("Bybit: the private stream ended")


async def _until(socket: "asyncio.Future[NoReturn]") -> None:
    """Wait for the end of a connection, which goes on when nobody waits any more."""
    await asyncio.shield(socket)


def _answered(message: Mapping[str, Any]) -> str | None:
    """Return which request a message answers, if any."""
    return PING if message.get("op") == "pong" else message.get("op")


class _AccountFrames:
    """One private connection: what it asks for, and what it is told."""

    def __init__(self, context: Context, shared: Api, sink: Sink, subscriptions: frozenset[Subscription]) -> None:
        self._context = context
        self._sink = sink
        self._subscriptions = subscriptions
        self._requests = Requests("Bybit")
        self._switches: tuple[str, ...] = ()
        self._is_leaving = False  # nobody waits for what was asked before
        self._reader = events.Reader(context.market, shared.symbol, modes(context).hedged)

    async def opened(self, send: Send) -> None:
        self._requests.opened(send)

    async def follow(self) -> NoReturn:
        """Log in, subscribe, and keep the connection alive.

        Raises:
            AuthenticationError: the key is not accepted; ClockError where it is the time that was not.
            TransportError: what is asked for is refused, or not answered.
        """
        await self._requests.ready()  # the signature is good for some seconds, which a slow dial would use up
        refusal = await self._ask("auth", auth_args(self._context))
        if refusal:
            words = refusal.lower()
            is_timely = any(word in words for word in _TIMELY) and "api key" not in words  # a key expires, too
            kind = ClockError if is_timely else AuthenticationError
            raise kind(f"Bybit refuses the login of its private stream: {refusal}")
        market = self._context.market
        topics = _TOPICS.get(market, _CONTRACT_TOPICS)
        refusal = await self._ask("subscribe", topics)
        if refusal:
            raise TransportError(f"Bybit refuses to tell of {', '.join(topics)}: {refusal}")
        if self._context.dead_man_s is not None:
            await self._protect(_SWITCHES.get(market, _CONTRACT_SWITCHES))
        self._sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=self._subscriptions))
        await self._requests.beat(PING, PING_TEXT, options(self._context).ping_interval_s)

    async def _protect(self, switches: tuple[str, ...]) -> None:
        """Ask for the switches, apart: an account for which the venue has not enabled them is told of all the same."""
        self._switches = switches  # they may hang on the connection from here on, answered or not
        refusal = await self._ask("subscribe", switches)
        if refusal:
            self._switches = ()
            self.fault(f"after a crash nobody cancels what rests: Bybit refuses {', '.join(switches)}: {refusal}")

    async def let_go(self) -> None:
        """Give the switch back: this is no loss."""
        self._is_leaving = True
        if self._switches:
            with contextlib.suppress(TimeoutError, TransportError):  # it is over either way
                async with asyncio.timeout(_LET_GO_S):
                    await self._ask("unsubscribe", self._switches)

    async def _ask(self, op: str, args: Sequence[Any]) -> str:
        """Return why a request is refused; empty where it is not."""
        answer = await self._requests.ask(op, json.dumps({"req_id": op, "op": op, "args": args}), what=f"its {op}")
        if answer.get("success"):
            return ""
        settings = self._context.settings
        return scrub(str(answer.get("ret_msg") or "no reason is given"), (settings.api_key.reveal(),))

    def fault(self, detail: str) -> None:
        self._sink(StreamStatus(state=StreamState.FAULT, detail=detail))

    async def frame(self, frame: str | bytes) -> None:
        message, op = self._requests.read(frame, _answered)
        if "topic" not in message:
            if not self._requests.answer(op, message) and not self._is_leaving:
                raise DataError("neither an event nor an answer to a request")
            return
        for event in self._reader.events(message):
            self._sink(event)
        if (number := message.get("btx")) is not None:  # of the simulator alone
            time_ns = from_ms(int(message["creationTime"]))
            self._sink(AccountUpdate(balances={}, time_ns=time_ns, sequence=int(number)))

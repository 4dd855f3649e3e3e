"""Pushes of Binance spot: market data over a socket of ours, the account through ccxt.pro."""

from collections.abc import Callable, Mapping
from typing import Any

from cryptofeed.exchanges import Binance

from btx.bridges.api import Api
from btx.bridges.market import run_market
from btx.errors import DataError, TransportError
from btx.model.venue import Channel, StreamState, StreamStatus, Subscription
from btx.ports import Context, Sink, Wanted
from btx_binance.api import api, tell_socket_usage
from btx_binance.config import book_stream, require_keys, stream_url
from btx_binance.market_stream import BinanceDialect, Reading, socket_options
from btx_binance.spot import codec

__all__ = ("SpotReader", "SpotStream")


class SpotReader(Reading, Binance):  # type: ignore[misc] # cryptofeed is untyped
    """cryptofeed's Binance."""


class SpotStream:
    """Binance spot's market streams, and its user data stream."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = api(context)

    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        """Be one connection that carries what is wanted, until cancelled.

        Raises:
            TransportError: the connection is lost; the runtime dials again.
            SubscriptionRefusedError: so it does, and seeks out what is refused if that goes on.
            AuthenticationError: dialling again would not help.
            NotSupportedError: account and market together, or more streams than a connection may carry.
            MissingSecretError: an account stream without a key.
        """
        if {each.channel for each in wanted.now} == {Channel.ACCOUNT}:
            await self._run_account(wanted.now, sink)
        url = stream_url(self._context)
        await run_market(
            context=self._context,
            wanted=wanted,
            sink=sink,
            dialect=BinanceDialect(book=book_stream(self._context), has_mark_price=False),
            reader=SpotReader,
            bases=(url,),
            base_of=lambda _subscription: url,
            options=socket_options(self._context),
        )

    async def _run_account(self, subscriptions: frozenset[Subscription], sink: Sink) -> None:
        require_keys(self._context)
        account = _AccountFrames(self._api, sink, self._context.observe, subscriptions)
        await self._api.client.listen(
            subscribe=lambda exchange: exchange.authenticate({"type": "spot"}),
            on_frame=account.frame,
            on_fault=lambda detail: sink(StreamStatus(state=StreamState.FAULT, detail=detail)),
        )


class _AccountFrames:
    """Reads the user data stream; every event on its own, before ccxt could fold two into one."""

    def __init__(
        self,
        shared: Api,
        sink: Sink,
        observe: Callable[[str, int], None],
        subscriptions: frozenset[Subscription],
    ) -> None:
        self._api = shared
        self._subscriptions = subscriptions
        self._sink = sink
        self._observe = observe

    def frame(self, message: Any) -> bool:
        """Return True for an event, which ccxt must not see, False for an answer, which it waits for."""
        event = message.get("event")
        if event is None:
            tell_socket_usage(self._observe, message)
            result = message.get("result")
            if message.get("status") == 200 and isinstance(result, dict) and "subscriptionId" in result:
                self._sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=self._subscriptions))
            return False
        self._event(event)
        return True

    def _event(self, event: Mapping[str, Any]) -> None:
        match event["e"]:
            case "executionReport":
                for each in codec.execution_report(event, symbol=self._api.symbol(event["s"])):
                    self._sink(each)
            case "outboundAccountPosition":
                self._sink(codec.balance_update(event))
            case "balanceUpdate" | "listStatus":
                # A difference, whose totals come with outboundAccountPosition; a list, whose orders report. A list's
                # REJECT answers a failed placement and a failed cancel alike (enums), so no order ends by it.
                pass
            case "externalLockUpdate":
                self._sink(StreamStatus(state=StreamState.LOST, detail=f"{event.get('a')}: locked from outside"))
            case "eventStreamTerminated" | "serverShutdown":
                raise TransportError(f"Binance ended the user data stream ({event['e']})")
            case kind:
                raise DataError(f"an account event of kind {kind!r} is not known")

"""Pushes of USD-M and COIN-M: market data, and the account under a listen key.

The account's socket is ours, and ccxt is asked for the listen key alone: its own
machinery (4.5) extends a key once and never again, does not hear that one has
expired, and asks for brackets and positions nobody wants (seen in tests).
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NoReturn

from cryptofeed.exchanges import BinanceDelivery, BinanceFutures

from btx.bridges.api import Api
from btx.bridges.market import run_market
from btx.bridges.sockets import Send, run_socket
from btx.bridges.tasks import either
from btx.errors import AuthenticationError, DataError, TransportError, VenueError
from btx.model.account import AccountUpdate
from btx.model.time import from_ms
from btx.model.venue import Channel, StreamState, StreamStatus, Subscription
from btx.ports import Context, Sink, Wanted
from btx_binance.api import api, read
from btx_binance.config import book_stream, options, require_keys, stream_url
from btx_binance.futures import events
from btx_binance.futures.market import market_of
from btx_binance.market_stream import BinanceDialect, Reading, socket_options

__all__ = ("CoinmReader", "FuturesStream", "UsdmReader")

# "Important WebSocket Change Notice", 2026-03-06: what is pushed at /public; all else of a market is at /market.
_PUBLIC = frozenset({Channel.QUOTE, Channel.BOOK})

# Events that say nothing which others do not say, or that are of products that are not used here.
_NEEDLESS = frozenset(
    {
        "TRADE_LITE",  # a fill without its fee: ORDER_TRADE_UPDATE has it whole
        "ACCOUNT_CONFIG_UPDATE",  # leverage or multi-assets mode was set: by us, or seen with the next positions
        "CONDITIONAL_ORDER_TRIGGER_REJECT",  # ALGO_UPDATE says REJECTED
        "STRATEGY_UPDATE",
        "GRID_UPDATE",
    }
)


class UsdmReader(Reading, BinanceFutures):  # type: ignore[misc] # cryptofeed is untyped
    """cryptofeed's BinanceFutures."""


class CoinmReader(Reading, BinanceDelivery):  # type: ignore[misc] # cryptofeed is untyped
    """cryptofeed's BinanceDelivery, whose bars count contracts and coins."""

    counts_quotes = False


class FuturesStream:
    """The market streams of one of the futures markets, and its user data stream."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._market = market_of(context)
        self._api = api(context)

    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        """Be one connection that carries what is wanted, until cancelled.

        Raises:
            TransportError: the connection is lost, or the listen key has expired; the runtime dials again.
            SubscriptionRefusedError: so it does, and seeks out what is refused if that goes on.
            AuthenticationError: dialling again would not help.
            NotSupportedError: account and market together, or more streams than a connection may carry.
            MissingSecretError: an account stream without a key.
        """
        if {each.channel for each in wanted.now} == {Channel.ACCOUNT}:
            await self._run_account(wanted.now, sink)
        public, market = self._base("public"), self._base("market")
        await run_market(
            context=self._context,
            wanted=wanted,
            sink=sink,
            dialect=BinanceDialect(book=book_stream(self._context)),
            reader=UsdmReader if self._market.name == "usdm" else CoinmReader,
            bases=tuple({public: None, market: None}),
            base_of=lambda subscription: public if subscription.channel in _PUBLIC else market,
            options=socket_options(self._context),
        )

    def _base(self, category: str) -> str:
        """Return the address of a category of streams; COIN-M has one for all of them."""
        url = stream_url(self._context)
        is_split = self._market.name == "usdm" and options(self._context).split_streams
        return f"{url}/{category}" if is_split else url

    async def _run_account(self, subscriptions: frozenset[Subscription], sink: Sink) -> NoReturn:
        require_keys(self._context)
        listen_key = read(_listen_key, await self._ask("PostListenKey"))
        await either(
            run_socket(
                url=f"{self._base('private')}/ws/{listen_key}",
                handler=_AccountFrames(self._api, sink, subscriptions),
                options=socket_options(self._context),
                tap=self._context.tap,
                proxy=self._context.settings.proxy,
            ),
            self._keep(listen_key, options(self._context).listen_key_refresh_s),
        )
        raise TransportError("Binance: the user data stream ended")

    async def _keep(self, listen_key: str, every_s: float) -> NoReturn:
        """Extend the key's life, which is part of the protocol.

        Raises:
            TransportError: it is gone (-1125), or nobody answered: a new connection makes another.
        """
        while True:
            await asyncio.sleep(every_s)
            await self._ask("PutListenKey", listenKey=listen_key)

    async def _ask(self, path: str, **params: str) -> Any:
        """Ask for, or about, the listen key; a refusal that is not the key's is a connection to be dialled later."""
        try:
            return await self._api.client.ask(self._market.private(path), params)
        except AuthenticationError:
            raise
        except VenueError as error:
            refusal = TransportError(str(error))
        raise refusal


def _listen_key(answer: Mapping[str, Any]) -> str:
    return str(answer["listenKey"])


class _AccountFrames:
    """Reads the user data stream of one connection."""

    def __init__(self, shared: Api, sink: Sink, subscriptions: frozenset[Subscription]) -> None:
        self._symbol_of = shared.symbol
        self._sink = sink
        self._subscriptions = subscriptions
        self._unknown: set[str] = set()

    async def opened(self, send: Send) -> None:  # noqa: ARG002 -- the listen key says it all
        self._sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=self._subscriptions))

    def fault(self, detail: str) -> None:
        self._sink(StreamStatus(state=StreamState.FAULT, detail=detail))

    async def frame(self, frame: str | bytes) -> None:
        message = json.loads(frame)
        event = message.get("data", message)
        self._event(event)
        if (number := event.get("btx")) is not None:  # of the simulator alone
            self._sink(AccountUpdate(balances={}, time_ns=from_ms(int(event["E"])), sequence=int(number)))

    def _event(self, event: Mapping[str, Any]) -> None:
        match event["e"]:
            case "ORDER_TRADE_UPDATE":
                for each in events.order_update(event, symbol_of=self._symbol_of):
                    self._sink(each)
            case "ALGO_UPDATE":
                for report in events.algo_update(event, symbol_of=self._symbol_of):
                    self._sink(report)
            case "ACCOUNT_UPDATE":
                self._sink(events.account_update(event, symbol_of=self._symbol_of))
            case "MARGIN_CALL":
                self._sink(events.margin_call(event, symbol_of=self._symbol_of))
            case "listenKeyExpired" | "eventStreamTerminated" | "serverShutdown":
                raise TransportError(f"Binance ended the user data stream ({event['e']})")
            case kind if kind not in _NEEDLESS and kind not in self._unknown:
                self._unknown.add(kind)  # once: it may come with every fill
                raise DataError(f"an account event of kind {kind!r} is not known")

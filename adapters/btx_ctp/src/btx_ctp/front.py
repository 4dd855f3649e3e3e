"""One connection to a front: from the API object to the login, and until it is lost.

The vendor's library connects again by itself; here a connection that is lost is over, as the core dials.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from btx.errors import AuthenticationError, BtxError, RateLimitedError, SubscriptionRefusedError, TransportError
from btx_ctp.config import Login
from btx_ctp.errors import LOCKING, NOT_LOGGED_IN, error_of
from btx_ctp.flow import Flow, Requests
from btx_ctp.spi import FAULT, Row, spi_of

__all__ = ("Front", "MarketFront", "TradingFront", "locks")

_RESTART = 0  # THOST_TERT_RESTART: the day's orders and trades again from the beginning
_QUICK = 2  # THOST_TERT_QUICK: from now on
_ANSWERS = frozenset({"OnRspOrderInsert", "OnRspOrderAction"})


class Front:
    """A connection, of either kind; ``hear`` gets what is pushed, ``on_fault`` what could not be read."""

    kind = ""

    def __init__(
        self,
        binding: Any,
        login: Login,
        *,
        hear: Callable[[str, tuple[Any, ...]], None],
        on_fault: Callable[[str], None],
    ) -> None:
        self._module = binding.tdapi if self.kind == "Trader" else binding.mdapi
        self._login = login
        self._hear = hear
        self._on_fault = on_fault
        self._flow = Flow(self.kind.lower())
        loop = asyncio.get_running_loop()
        self._connected = asyncio.Event()
        self.lost: asyncio.Future[str] = loop.create_future()  # why, once it is
        self._spi = spi_of(self._module, self.kind, loop, self._on_callback)
        self._api = self._create(getattr(self._module, f"CThostFtdc{self.kind}Api"))
        self.requests = Requests(self._api, self._module, answer_s=login.answer_s)

    def _create(self, api: Any) -> Any:
        raise NotImplementedError

    @property
    def is_up(self) -> bool:
        """Whether it is connected, as far as is known."""
        return self._connected.is_set() and not self.lost.done()

    async def open(self, address: str) -> None:
        """Connect to a front.

        Raises:
            TransportError: it is not reached in time.
        """
        self._api.RegisterSpi(self._spi)
        self._api.RegisterFront(address)
        self._api.Init()
        try:
            await asyncio.wait_for(self._connected.wait(), self._login.answer_s)
        except TimeoutError as error:
            raise TransportError(f"CTP's front {address} was not reached in {self._login.answer_s:g} s") from error

    async def close(self) -> None:
        """Let go of everything. Idempotent."""
        self._lose("the connection was closed")
        api, self._api = self._api, None
        if api is not None:
            api.RegisterSpi(None)
            await asyncio.to_thread(api.Release)  # it waits for the library's threads
            self._flow.remove()

    def _lose(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)
            self.requests.lose(reason)

    def _on_callback(self, name: str, args: tuple[Any, ...]) -> None:
        if self.lost.done():
            return  # the library connects again by itself, which is for nobody here
        if name == "OnFrontConnected":
            self._connected.set()
        elif name == "OnFrontDisconnected":
            self._lose(f"CTP's front hung up (0x{args[0]:04x})")
        elif name == FAULT:
            self._on_fault(args[0])
        elif name == "OnRspError":
            self.requests.take(None, *args)
        elif name.startswith("OnRsp"):
            self.requests.take(*args)
        if not name.startswith("OnRsp") or name in _ANSWERS:
            self._hear(name, args)
        if any(isinstance(each, Mapping) and each.get("ErrorID") == NOT_LOGGED_IN for each in args):
            self._lose("CTP's front does not know the login any more")  # it stays connected, and of no use


class TradingFront(Front):
    """A connection for orders and the account."""

    kind = "Trader"

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.front_id = 0
        self.session_id = 0
        self._last_ref = 0

    def _create(self, api: Any) -> Any:
        return api.CreateFtdcTraderApi(self._flow.path, self._login.is_production)

    async def log_in(self) -> None:
        """Connect, authenticate, log in and confirm yesterday's settlement, which orders need.

        Raises:
            AuthenticationError: who logs in is not accepted; trying again may lock the account.
            TransportError: the front is not reached, or not active.
        """
        login = self._login
        self._api.SubscribePrivateTopic(_RESTART)
        self._api.SubscribePublicTopic(_QUICK)
        await self.open(login.trading_front)
        who = {"BrokerID": login.broker_id, "UserID": login.user}
        if login.auth_code:
            fields = {**who, "AppID": login.app_id, "AuthCode": login.auth_code}
            await self.requests.ask("ReqAuthenticate", "ReqAuthenticate", fields, what="the client")
        fields = {**who, "Password": login.password}
        (told,) = await self.requests.ask("ReqUserLogin", "ReqUserLogin", fields, what="the login")
        self.front_id, self.session_id = int(told["FrontID"]), int(told["SessionID"])
        self._last_ref = int(told["MaxOrderRef"].strip() or 0)
        fields = {"BrokerID": login.broker_id, "InvestorID": login.user}
        name = "ReqSettlementInfoConfirm"
        await self.requests.ask(name, "SettlementInfoConfirm", fields, what="the confirmation of the settlement")

    def next_ref(self) -> str:
        """Return an OrderRef higher than any of this session."""
        self._last_ref += 1
        return str(self._last_ref)

    async def query(self, name: str, *, what: str, **fields: str) -> list[Row]:
        """Ask a query of the account's investor; ``name`` without its ReqQry."""
        who = {"BrokerID": self._login.broker_id, "InvestorID": self._login.user}
        if name in {"Instrument", "DepthMarketData"}:
            who = {}
        return await self.requests.query(f"ReqQry{name}", f"Qry{name}", {**who, **fields}, what=what)


class MarketFront(Front):
    """A connection for prices."""

    kind = "Md"

    def __init__(self, *args: Any, **settings: Any) -> None:
        self._answered: asyncio.Future[None] | None = None  # while a subscription waits
        self._waiting: set[str] = set()  # contracts that the front has not answered for
        self._refused: dict[str, Row] = {}
        super().__init__(*args, **settings)

    def _create(self, api: Any) -> Any:
        return api.CreateFtdcMdApi(self._flow.path, False, False, self._login.is_production)

    async def log_in(self) -> None:
        """Connect and log in; prices are for everybody.

        Raises:
            TransportError: the front is not reached, or does not accept it.
        """
        await self.open(self._login.market_front)
        fields = {"BrokerID": self._login.broker_id, "UserID": self._login.user, "Password": self._login.password}
        await self.requests.ask("ReqUserLogin", "ReqUserLogin", fields, what="the login for prices")

    async def subscribe(self, symbols: Sequence[str], *, listed: Collection[str]) -> None:
        """Ask for the ticks of contracts, and wait until the front has answered for each.

        ``listed`` are the names of all contracts there are: a front takes one it does not know, and says nothing.

        Raises:
            SubscriptionRefusedError: contracts are not listed, or refused; they are named.
            RateLimitedError: the front takes no more for now.
            TransportError: the connection is lost, or there is no answer.
        """
        if unknown := [each for each in symbols if each not in listed]:
            raise SubscriptionRefusedError(f"CTP lists no {', '.join(unknown)}: there would be no ticks of it")
        if not symbols:
            return
        self._waiting, self._refused = set(symbols), {}
        self._answered = asyncio.get_running_loop().create_future()
        try:
            self._call(self._api.SubscribeMarketData, symbols)
            await asyncio.wait_for(self._answered, self._login.answer_s)
        except TimeoutError as error:
            names = ", ".join(sorted(self._waiting))
            raise TransportError(
                f"CTP: no answer to a subscription of {names} in {self._login.answer_s:g} s"
            ) from error
        finally:
            self._answered = None
        if self._refused:
            names, info = ", ".join(sorted(self._refused)), next(iter(self._refused.values()))
            refusal = error_of(info["ErrorID"], info["ErrorMsg"], what=f"a subscription of {names}")
            if isinstance(refusal, RateLimitedError | TransportError):
                raise refusal
            raise SubscriptionRefusedError(str(refusal)) from refusal

    def _on_callback(self, name: str, args: tuple[Any, ...]) -> None:
        if self._answered is not None and not self._answered.done():
            if name == "OnRspSubMarketData":
                self._take_answer(*args[:2])
            elif name == "OnRspError" and not args[1]:  # subscriptions have no number
                self._take_answer(None, args[0])
        super()._on_callback(name, args)

    def _take_answer(self, row: Row | None, info: Row | None) -> None:
        """Take an answer to a subscription; a refusal that names no contract is one of all that wait."""
        named = self._waiting & {row["InstrumentID"]} if row is not None else set()
        if info is not None and info["ErrorID"]:
            named = named or set(self._waiting)
            self._refused |= dict.fromkeys(named, info)
        self._waiting -= named
        if not self._waiting and self._answered is not None:
            self._answered.set_result(None)

    def _lose(self, reason: str) -> None:
        super()._lose(reason)
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(TransportError(reason))
            self._answered.exception()  # it is looked at: whoever asked may wait no more

    def unsubscribe(self, symbols: Sequence[str]) -> None:
        """Ask for them no more.

        Raises:
            TransportError: the connection is lost.
        """
        self._call(self._api.UnSubscribeMarketData, symbols)

    def _call(self, function: Any, symbols: Sequence[str]) -> None:
        if symbols and function([each.encode() for each in symbols], len(symbols)):
            raise TransportError("CTP's front for prices takes no subscriptions: the connection is lost")


def locks(error: BtxError) -> bool:
    """Say whether a refused login counts towards locking the account."""
    return isinstance(error, AuthenticationError) and error.code in LOCKING

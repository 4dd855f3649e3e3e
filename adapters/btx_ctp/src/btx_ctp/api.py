"""What the ports of one session share: the trading connection, what the account trades, and what was pushed so far."""

import asyncio
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from btx.errors import AuthenticationError, TransportError, VenueError
from btx.model.account import AccountUpdate
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import Fill, OrderReport
from btx.model.venue import Environment, StreamState, StreamStatus
from btx.ports import Context, Sink, StreamEvent
from btx_ctp import codec
from btx_ctp.binding import binding_for
from btx_ctp.config import Login, login
from btx_ctp.fees import fee_of
from btx_ctp.front import TradingFront, locks
from btx_ctp.hours import calendar_of
from btx_ctp.moments import moment_of
from btx_ctp.spi import Row

__all__ = ("Api", "api")

_KEY = "btx_ctp"
_ENDED = frozenset({"0", "5"})  # OrderStatus: all traded, cancelled


def api(context: Context) -> "Api":
    """Return what the ports of a session share."""
    found = context.shared.get(_KEY)
    if not isinstance(found, Api):
        found = context.shared[_KEY] = Api(context)
        context.resources.push_async_callback(found.close)
    return found


class Api:
    """One account at one counter, over one connection at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._login: Login | None = None
        self._front: TradingFront | None = None
        self._dialling = asyncio.Lock()
        self._refused: AuthenticationError | None = None
        self._sink: Sink | None = None
        self._early: deque[StreamEvent] = deque()  # pushed before anybody listened
        self.instruments: dict[str, Instrument] = {}  # by the exchanges' own names
        self.contracts: dict[str, Row] = {}  # as the front lists them, by symbol
        self.fees: dict[str, FeeSchedule] = {}
        self._names: dict[tuple[str, str], str] = {}  # (exchange, its number) -> client order id
        self._placing: dict[tuple[int, int, str], int] = {}  # (front, session, OrderRef) -> request
        self._cancelling: dict[tuple[int, int, str], int] = {}
        self._bands: dict[str, tuple[Decimal, Decimal]] = {}  # the day's lowest and highest price

    @property
    def login(self) -> Login:
        """Who logs in where.

        Raises:
            ConfigError: something is missing.
        """
        if self._login is None:
            self._login = login(self._context)
        return self._login

    # --- the connection ---------------------------------------------------------------------------------------

    async def front(self) -> TradingFront:
        """Return the connection as it stands, or a new one: logged in, and telling the day from its beginning.

        Each request may dial, once, as one of a venue without sessions does; what is pushed is kept for the stream.

        Raises:
            TransportError: the front is not reached.
            AuthenticationError: the counter does not let us in; it is not asked again.
        """
        async with self._dialling:
            if self._front is not None and self._front.is_up:
                return self._front
            if self._refused is not None:  # a few failures in a row lock the account
                raise self._refused
            old, self._front = self._front, None
            if old is not None:
                await old.close()
            front = TradingFront(binding_for(self._context), self.login, hear=self._on_push, on_fault=self._on_fault)
            try:
                await front.log_in()
            except BaseException as error:
                await front.close()
                if isinstance(error, AuthenticationError) and locks(error):
                    self._refused = error
                if isinstance(error, VenueError) and not isinstance(error, AuthenticationError):
                    raise TransportError(str(error)) from error  # for now: dialling again may help
                raise
            self._front = front
            self._bands.clear()  # it may be another trading day
            return front

    async def close(self) -> None:
        """Hang up."""
        if self._front is not None:
            await self._front.close()

    # --- pushes -----------------------------------------------------------------------------------------------

    def listen(self, sink: Sink | None) -> None:
        """Tell everything from now on to ``sink``, and what was pushed before; None: keep it."""
        self._sink = sink
        while sink is not None and self._early:
            sink(self._early.popleft())

    def _tell(self, event: StreamEvent) -> None:
        if self._sink is not None:
            self._sink(event)
        else:
            self._early.append(event)

    def _on_fault(self, text: str) -> None:
        self._tell(StreamStatus(state=StreamState.FAULT, detail=text))

    def _on_push(self, name: str, args: tuple[Any, ...]) -> None:
        try:
            self._read_push(name, args)
        except Exception as error:  # noqa: BLE001 -- of a frame nobody can read: told, and the next one counts
            self._on_fault(f"{name}: {type(error).__name__}: {error}")

    def _read_push(self, name: str, args: tuple[Any, ...]) -> None:
        match name:
            case "OnRtnOrder":
                self._answered(args[0])
                if (report := self.report(args[0])) is not None:
                    self._tell(report)
            case "OnRtnTrade":
                if (fill := self.fill(args[0])) is not None:
                    self._tell(fill)
            case "OnRtnTradingNotice":
                if self._context.environment is Environment.SIM:  # the simulator's own number of what has happened
                    now_ns, number = self._context.clock.market_ns(), int(args[0]["SequenceNo"])
                    self._tell(AccountUpdate(balances={}, time_ns=now_ns, sequence=number))

    # --- orders ---------------------------------------------------------------------------------------------

    def expect(self, where: str, triple: tuple[int, int, str], request_id: int) -> Callable[[], None]:
        """Take it that an order's next word answers a request: any of a placement, its end of a cancel.

        Return what forgets that.
        """
        waiting = self._placing if where == "place" else self._cancelling
        waiting[triple] = request_id

        def forget() -> None:
            if waiting.get(triple) == request_id:
                del waiting[triple]

        return forget

    def _answered(self, row: Row) -> None:
        triple = (int(row["FrontID"]), int(row["SessionID"]), row["OrderRef"].strip())
        found = [self._placing.get(triple)]
        if row["OrderStatus"] in _ENDED:
            found.append(self._cancelling.get(triple))
        for request_id in found:
            if request_id is not None and self._front is not None:
                self._front.requests.done(request_id)

    def report(self, row: Row) -> OrderReport | None:
        """Return what an order's row says, None where it is in nothing that is listed."""
        instrument = self.instruments.get(row["InstrumentID"])
        if instrument is None:
            return None
        if (number := codec.venue_order_id(row)) is not None:
            self._names[row["ExchangeID"], number] = codec.name_of(row)
        return codec.report(row, symbol=instrument.symbol, time_ns=self._context.clock.market_ns())

    def fill(self, row: Row) -> Fill | None:
        """Return a trade, None where it is in nothing that is listed; who placed it is known by its order."""
        instrument = self.instruments.get(row["InstrumentID"])
        if instrument is None:
            return None
        number = codec.venue_order_id(row)
        fees, now_ns = self.fees.get(instrument.symbol), self._context.clock.market_ns()
        at = moment_of(calendar_of(instrument.base), row["TradingDay"], row["TradeTime"], near_ns=now_ns)
        return codec.fill(
            row,
            client_order_id=self._names.get((row["ExchangeID"], number or ""), ""),
            instrument=instrument,
            fee=None
            if fees is None
            else fee_of(
                fees,
                instrument,
                price=codec.number(row["Price"]),
                quantity=Decimal(int(row["Volume"])),
                offset=codec.offset_of(row),
            ),
            time_ns=at if at is not None else now_ns,
        )

    # --- prices ---------------------------------------------------------------------------------------------

    async def snapshot(self, name: str) -> Row | None:
        """Return a contract's last tick, by its exchange's name; None where there is none."""
        front = await self.front()
        rows = await front.query("DepthMarketData", what=f"the price of {name}", InstrumentID=name)
        found = next((row for row in rows if row["InstrumentID"] == name), None)
        if found is not None:
            self.learn_band(found)
        return found

    def learn_band(self, row: Row) -> None:
        """Know between which prices orders are taken today."""
        low, high = codec.price(row["LowerLimitPrice"]), codec.price(row["UpperLimitPrice"])
        if low is not None and high is not None:
            self._bands[row["InstrumentID"]] = (low, high)

    async def band(self, name: str) -> tuple[Decimal, Decimal] | None:
        """Return the lowest and the highest price of the day, None where the front does not tell."""
        if name not in self._bands:
            await self.snapshot(name)
        return self._bands.get(name)

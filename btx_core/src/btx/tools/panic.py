"""``btx panic`` and ``btx resume``: stop an account from another process, without its strategy; and let it go on."""

import asyncio
import functools
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal

import attrs
from rich import box
from rich.console import Console
from rich.table import Table

from btx.errors import (
    BtxError,
    ConfigError,
    OrderNotFoundError,
    OutcomeUnknownError,
    TransportError,
    VenueError,
)
from btx.model.account import AccountSnapshot, PositionReport
from btx.model.instrument import Instrument
from btx.model.journal import Event, Halted, Intent, Resumed, Sent
from btx.model.order import Fill, Leg, Order, OrderReport, OrderRequest, OrderType, PositionSide, Side, Status
from btx.model.time import iso
from btx.model.venue import Environment
from btx.ports import Clock, Journal
from btx.rules.filters import check_quantity, step_of
from btx.rules.orders import apply, new_order
from btx.rules.positions import split_dust
from btx.rules.symbols import perpetual_of
from btx.storage.journal import read_journal
from btx.storage.requests import Request, RequestKind, take_requests, waiting_requests, write_request
from btx.tools.accounts import Ports, Target, connected, journal_if_free, target
from btx.tools.words import plain

__all__ = ("ID_PREFIX", "halted", "panic", "resume", "run_resume")

_log = logging.getLogger("btx.panic")

ID_PREFIX = "pn"
"""What the client order ids of a panic begin with; those of a run begin with digits for some decades."""

_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"
_IDS_EPOCH_S = 1_735_689_600  # 2025-01-01, so that six digits last until 2059
_ROUNDS = 5  # of cancels, until what is still open is reported as such
_PAUSE_S = 0.5  # before the second round; each pause is twice the last
_QUERIES = 10
_CLOSING = frozenset({(PositionSide.LONG, Side.SELL), (PositionSide.SHORT, Side.BUY)})
_LIMIT_TYPES = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT})


@attrs.frozen(kw_only=True)
class _Line:
    """One order, and what became of it."""

    order_id: str
    what: str
    outcome: str
    is_done: bool


# --- btx panic ------------------------------------------------------------------------------------------------


def panic(
    aim: Target,
    *,
    flatten: bool = False,
    everything: bool = False,
    symbols: Collection[str] = (),
    reason: str = "btx panic",
    pause_s: float = _PAUSE_S,
) -> int:
    """Halt an account, cancel its open orders and print what became of each; return the exit code.

    A paper account is only halted: nobody else can reach its orders.
    Orders that only reduce what is held stay, unless ``everything`` or
    ``flatten`` says otherwise; ``flatten`` then sells what is held, and closes positions on margin. The code is 0
    only if every cancel was confirmed and every sale filled. ``pause_s`` is the first pause between two tries.

    Raises:
        BtxError: the venue was not reached; the account is halted all the same.
    """
    with journal_if_free(aim) as journal:
        return asyncio.run(
            _panic(
                aim,
                journal,
                flatten=flatten,
                everything=everything,
                symbols=symbols,
                reason=reason,
                pause_s=pause_s,
            )
        )


async def _panic(
    aim: Target,
    journal: Journal | None,
    *,
    flatten: bool,
    everything: bool,
    symbols: Collection[str],
    reason: str,
    pause_s: float,
) -> int:
    console = Console()
    if journal is not None:
        await journal.append(Halted(reason=reason, time_ns=time.time_ns()), durable=True)
        console.print(f"{aim.session}: halted, nobody trades on it now", highlight=False)
    else:
        write_request(aim.folder, Request(kind=RequestKind.HALT, reason=reason, time_ns=time.time_ns()))
        console.print(f"{aim.session}: {aim.trader} is told to halt", highlight=False)
    if aim.endpoints is None and aim.account.environment is Environment.SIM:
        console.print("no simulator of this world runs: it has no open orders", highlight=False)
        return 0
    if aim.account.environment is Environment.PAPER:
        console.print("paper orders rest in the process that made them: it sends no more, and keeps those it has")
        return 0
    async with connected(aim) as ports:
        instruments = _chosen(await ports.guard.read("instruments", ports.store.instruments), symbols)
        panic = _Panic(ports=ports, instruments=instruments, journal=journal, aim=aim, pause_s=pause_s)
        lines = await panic.cancel(everything=everything or flatten)
        if flatten:
            lines += await panic.flatten()
    _show(console, lines)
    return 0 if all(line.is_done for line in lines) else 1


def _chosen(instruments: Mapping[str, Instrument], symbols: Collection[str]) -> dict[str, Instrument]:
    symbols = {each if each in instruments else perpetual_of(each) for each in symbols}
    if unknown := sorted(symbols - instruments.keys()):
        raise ConfigError(f"the venue has no instrument {', '.join(unknown)}: write symbols like BTC/USDT")
    return {symbol: each for symbol, each in instruments.items() if not symbols or symbol in symbols}


class _Panic:
    """What is done at the venue."""

    def __init__(
        self,
        *,
        ports: Ports,
        instruments: Mapping[str, Instrument],
        journal: Journal | None,
        aim: Target,
        pause_s: float,
    ) -> None:
        self._ports = ports
        self._instruments = instruments
        self._journal = journal
        self._aim = aim
        self._pause_s = pause_s
        self._new_ids = _client_ids()

    async def cancel(self, *, everything: bool) -> list[_Line]:
        """Cancel until the venue lists none of them any more, or the rounds are over."""
        account = await self._account()
        found = await self._open_orders()
        ending = [report for report in found if everything or self._opens(report, account)]
        kept = [report for report in found if report not in ending]
        left, errors = ending, dict[str, str]()
        for number in range(_ROUNDS):
            if not left:
                break
            if number:
                await asyncio.sleep(self._pause_s * 2 ** (number - 1))
            answers = await asyncio.gather(*(self._cancel(report) for report in left))
            errors.update({_key(report): error for report, error in zip(left, answers, strict=True) if error})
            open_now = {_key(report) for report in await self._open_orders()}
            left = [report for report in left if _key(report) in open_now]
        open_still = {_key(report) for report in left}
        lines = [
            _Line(
                order_id=report.client_order_id,
                what=_what(report),
                outcome=f"NOT CANCELLED: {errors.get(_key(report), 'the venue lists it still')}"
                if _key(report) in open_still
                else await self._end_of(report),
                is_done=_key(report) not in open_still,
            )
            for report in ending
        ]
        stays = "stays: it only reduces what is held (--all cancels it)"
        return lines + [
            _Line(order_id=report.client_order_id, what=_what(report), outcome=stays, is_done=True) for report in kept
        ]

    async def flatten(self) -> list[_Line]:
        """Sell what is held and close what is on margin, at the market."""
        account = await self._account()
        lines = []
        for report in account.positions:
            instrument = self._instruments.get(report.symbol)
            if instrument is not None and report.quantity:
                parts = _parts(instrument, abs(report.quantity))
                lines += [await self._close(_closing(instrument, report, part, self._ports.clock)) for part in parts]
        for instrument in self._instruments.values():
            if instrument.kind.is_margined:
                continue
            lines += await self._sell_all(instrument, account)
        return lines

    async def _sell_all(self, instrument: Instrument, account: AccountSnapshot) -> list[_Line]:
        held = account.balances.get(instrument.base)
        if instrument.quote != self._aim.account.settings.currency or held is None or not held.total:
            return []
        parts = _parts(instrument, held.free)
        lines = [await self._close(_sale(instrument, part, self._ports.clock)) for part in parts]
        if held.locked:
            text = f"{plain(held.locked)} {instrument.base} are locked by orders that are still open"
            lines.append(_Line(order_id="", what=f"SELL {instrument.symbol}", outcome=text, is_done=False))
        return lines

    async def _account(self) -> AccountSnapshot:
        return await self._ports.guard.read("account", self._ports.store.account)

    async def _open_orders(self) -> tuple[OrderReport, ...]:
        ask = functools.partial(self._ports.broker.open_orders, instruments=tuple(self._instruments.values()))
        reports = await self._ports.guard.read("open_orders", ask)
        return tuple(report for report in reports if report.symbol in self._instruments)

    def _opens(self, report: OrderReport, account: AccountSnapshot) -> bool:
        """A sale of what is held reduces, and on margin what may only reduce; whatever else may rest, opens."""
        instrument = self._instruments[report.symbol]
        if instrument.kind.is_margined:
            return not report.reduce_only and (report.position_side, report.side) not in _CLOSING
        held = account.balances.get(instrument.base)
        return report.side is not Side.SELL or held is None or not held.total

    async def _cancel(self, report: OrderReport) -> str:
        """Ask for an order's end; return what went wrong, empty when nothing did."""
        leg = _leg_of(report, self._instruments[report.symbol])
        try:
            await self._ports.guard.acquire("cancel")
            await self._ports.broker.cancel(leg=leg, venue_order_id=report.venue_order_id)
        except OrderNotFoundError:
            return ""  # it has ended meanwhile
        except Exception as error:  # noqa: BLE001 -- one order that breaks the adapter must not keep the others alive
            return str(error) or repr(error)
        return ""

    async def _end_of(self, report: OrderReport) -> str:
        """Say how an order that is not open any more ended, as far as the venue tells."""
        leg = _leg_of(report, self._instruments[report.symbol])
        try:
            told = await self._ports.guard.read("query", functools.partial(self._ports.broker.query, leg=leg))
            last = next(event for event in told if isinstance(event, OrderReport))
        except Exception:  # noqa: BLE001 -- it has ended, only how is not known
            return "ended"
        word = "cancelled" if last.status is Status.CANCELED else last.status.value.lower()
        return f"{word}, filled {plain(last.filled)}" if last.filled else word

    async def _close(self, request: OrderRequest) -> _Line:
        """Send a market order once; a lost answer is asked for, and never sent again."""
        instrument, quantity = request.instrument, request.quantity
        leg = Leg(client_order_id=next(self._new_ids), request=request, quantity=quantity)
        what = f"{request.side.value} {plain(quantity)} {instrument.symbol}"
        line = functools.partial(_Line, order_id=leg.client_order_id, what=what)
        violation = check_quantity(instrument, quantity, order_type=OrderType.MARKET)
        if violation is not None:
            return line(outcome=f"dust, it cannot be sold: {violation.text}", is_done=True)
        await self._write(
            Intent(
                leg=leg,
                environment=self._aim.account.environment,
                session=self._aim.session,
                run=leg.client_order_id[:10],
            )
        )
        try:
            await self._ports.guard.acquire("place")
        except (VenueError, TransportError) as error:  # what else there is to close is told all the same
            return line(outcome=f"REFUSED: {error}", is_done=False)
        await self._write(Sent(client_order_id=leg.client_order_id, time_ns=self._ports.clock.wire_ns()))
        try:
            await self._ports.broker.place(leg=leg)
        except (VenueError, TransportError) as error:
            if not isinstance(error, OutcomeUnknownError):
                return line(outcome=f"REFUSED: {error}", is_done=False)
        except Exception as error:  # noqa: BLE001 -- the adapter broke after the bytes left, perhaps: it is asked
            _log.warning("the adapter broke in place: %r", error)
        order = await self._settle(leg)
        if order is None:
            return line(outcome="NO ANSWER: look at the venue", is_done=False)
        return line(outcome=_said(order), is_done=order.status is Status.FILLED)

    async def _write(self, record: Intent | Sent) -> None:
        if self._journal is not None:
            await self._journal.append(record, durable=True)

    async def _settle(self, leg: Leg) -> Order | None:
        """Ask until the order has ended; None when the venue did not tell."""
        order = new_order(leg)
        for number in range(_QUERIES):
            if number:
                await asyncio.sleep(self._pause_s)
            try:
                told = await self._ports.guard.read("query", functools.partial(self._ports.broker.query, leg=leg))
            except BtxError as error:
                _log.warning("order %s cannot be settled yet: %s", leg.client_order_id, error)
                continue
            for event in told:
                order = self._learn(order, event)
            if order.is_settled:
                return order
        return order if order.evidence is not None else None

    def _learn(self, order: Order, event: OrderReport | Fill) -> Order:
        after = apply(order, event)
        if after is not order and self._journal is not None:
            self._journal.post(Event(order_event=event))
        return after


def _key(report: OrderReport) -> str:
    return report.venue_order_id or report.client_order_id


def _leg_of(report: OrderReport, instrument: Instrument) -> Leg:
    """Return an order nobody here placed as a leg, as far as cancelling and asking need it."""
    quantity = report.quantity or instrument.step_size
    request = OrderRequest(
        instrument=instrument,
        side=report.side or Side.BUY,
        order_type=report.order_type or OrderType.LIMIT,
        quantity=quantity,
        price=report.price or None,
        trigger_price=report.trigger_price or None,
        position_side=report.position_side or PositionSide.NET,
        signal_ns=0,
    )
    return Leg(client_order_id=report.client_order_id, request=request, quantity=quantity)


def _sale(instrument: Instrument, quantity: Decimal, clock: Clock) -> OrderRequest:
    return OrderRequest(
        instrument=instrument,
        side=Side.SELL,
        order_type=OrderType.MARKET,
        quantity=quantity,
        signal_ns=clock.market_ns(),
    )


def _closing(instrument: Instrument, report: PositionReport, quantity: Decimal, clock: Clock) -> OrderRequest:
    """Return what makes a position smaller, and cannot turn it over: of a leg its side says so."""
    return OrderRequest(
        instrument=instrument,
        side=Side.SELL if report.quantity > 0 else Side.BUY,
        order_type=OrderType.MARKET,
        quantity=quantity,
        reduce_only=report.position_side is PositionSide.NET,
        position_side=report.position_side,
        signal_ns=clock.market_ns(),
    )


def _parts(instrument: Instrument, quantity: Decimal) -> Iterator[Decimal]:
    """Yield what market orders sell a quantity in: all that is on the grid, each within the maximum."""
    step = step_of(instrument, order_type=OrderType.MARKET)
    highs = [high for high in (instrument.max_quantity, instrument.market_max_quantity) if high is not None]
    whole, dust = split_dust(quantity, step_size=step)
    most = split_dust(min(highs), step_size=step)[0] if highs else whole
    while whole > most:
        yield most
        whole -= most
    if whole or dust:
        yield whole or dust


def _client_ids() -> Iterator[str]:
    """Yield ids of twelve characters: the prefix, six of the time, two of chance, two of a counter."""
    run = _base32(int(time.time()) - _IDS_EPOCH_S, 6) + _base32(secrets.randbits(10), 2)
    return (f"{ID_PREFIX}{run}{_base32(number, 2)}" for number in itertools.count())


def _base32(number: int, width: int) -> str:
    return "".join(_BASE32[number >> 5 * place & 31] for place in reversed(range(width)))


def _what(report: OrderReport) -> str:
    parts = [
        report.side.value if report.side is not None else "",
        plain(report.quantity) if report.quantity is not None else "",
        report.symbol,
        report.order_type.value if report.order_type is not None else "",
        f"at {plain(report.price)}" if report.price else "",
        f"from {plain(report.trigger_price)}" if report.trigger_price else "",
    ]
    return " ".join(filter(None, parts))


def _said(order: Order) -> str:
    notional = sum((each.price * each.quantity for each in order.fills), Decimal(0))
    at = f" at {plain(round(notional / order.filled, 8))}" if order.filled else ""
    word = "sold" if order.leg.request.side is Side.SELL else "bought"
    return f"{order.status.value.lower()}, {word} {plain(order.filled)}{at}"


def _show(console: Console, lines: Sequence[_Line]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("order", "what", "outcome"):
        table.add_column(column, overflow="fold", min_width=12)
    for line in lines:
        table.add_row(line.order_id, line.what, line.outcome)
    console.print(table if lines else "no order is open")
    open_still = sum(not line.is_done for line in lines)
    if open_still:
        console.print(f"{open_still} of {len(lines)} are NOT done: look at the venue", style="bold red")


# --- btx resume -----------------------------------------------------------------------------------------------


def run_resume(
    name: str, *, env: str, market: str | None = None, world: str | None = None, agreed: Callable[[str], bool]
) -> int:
    """Show why an account is halted and let it trade again if the user has ``agreed``; return the exit code.

    Raises:
        ConfigError: there is no such account.
        JournalError: its journal cannot be read.
    """
    return resume(target(name, env=env, market=market, world=world), agreed=agreed)


def resume(aim: Target, *, agreed: Callable[[str], bool]) -> int:
    """Do what :func:`run_resume` does to an account that was found."""
    console = Console()
    halt = halted(aim)
    if halt is None:
        console.print(f"{aim.session} is not halted")
        return 0
    console.print(f"{aim.session} was halted at {iso(halt.time_ns)}: {halt.reason}", highlight=False, soft_wrap=True)
    if not agreed("Have you looked at it, and may orders leave again?"):
        return 1
    now_ns = time.time_ns()
    with journal_if_free(aim) as journal:
        if journal is None:
            write_request(aim.folder, Request(kind=RequestKind.RESUME, time_ns=now_ns))
            console.print(f"{aim.trader} is told to go on", highlight=False)
            return 0
        take_requests(aim.folder)  # a halt that nobody took is what the user has looked at
        asyncio.run(journal.append(Resumed(time_ns=now_ns), durable=True))
    console.print("the next run may trade again")
    return 0


def halted(aim: Target) -> Halted | None:
    """Return why an account is halted, or is about to be, None when it is not.

    Raises:
        JournalError: its journal cannot be read.
    """
    last: Halted | None = None
    if aim.journal.exists():
        reader = read_journal(aim.journal)
        try:
            for _, _, record in reader.records():
                if isinstance(record, Halted):
                    last = last or record  # the first reason is the cause of what followed
                elif isinstance(record, Resumed):
                    last = None
        finally:
            reader.close()
    asked = next((each for each in waiting_requests(aim.folder) if each.kind is RequestKind.HALT), None)
    if last is None and asked is not None:  # nobody has taken it yet
        return Halted(reason=asked.reason, time_ns=asked.time_ns)
    return last

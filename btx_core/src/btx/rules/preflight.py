"""Preflight: what is to be looked at before the first order, and a verdict on each; the facts are asked elsewhere."""

import enum
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

import attrs

from btx.model.account import AccountSnapshot, KeyRights, SymbolTerms
from btx.model.derivatives import MarginMode, MarkPrice, PositionMode
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import OrderReport, OrderRequest, OrderType, Side
from btx.model.time import NS_PER_DAY, NS_PER_MINUTE, NS_PER_MS, NS_PER_S, iso
from btx.rules.contracts import quote_value
from btx.rules.filters import MarketView, nearest_order, to_grid_price

__all__ = ("Facts", "Level", "Verdict", "Wishes", "judge", "smallest_order")

_ZERO = Decimal(0)
_CLOCK_FAR_NS = NS_PER_S  # a clock that is further off is not kept by anybody
_DISK_LEAST, _DISK_LITTLE = 100 * 2**20, 2**30  # bytes
_EXPIRES_SOON_NS = 7 * NS_PER_DAY
_FUNDING_SOON_NS = 10 * NS_PER_MINUTE


class Level(enum.Enum):
    """How a check came out: FAIL means that trading should not begin."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@attrs.frozen(kw_only=True)
class Verdict:
    """One check; ``cure`` says what to do, and is empty when all is well."""

    check: str
    level: Level
    text: str
    cure: str = ""


@attrs.frozen(kw_only=True)
class Wishes:
    """What the user means to trade with; None stays as the account has it."""

    may_withdraw: bool = False  # a key that may withdraw is fine
    leverage: int | None = None
    margin_mode: MarginMode | None = None
    position_mode: PositionMode | None = None


@attrs.frozen(kw_only=True)
class Facts:
    """What was found out; None, or what is left out of a mapping, could not be had. Times are UTC nanoseconds."""

    market_ns: int
    clock_offset_ns: int  # the venue's clock less ours
    clock_doubt_ns: int  # how wrong that may be, either way
    receive_window_ns: int
    account: AccountSnapshot
    rights: KeyRights | None
    wanted: tuple[str, ...]  # symbols, as the user wrote them
    instruments: Mapping[str, Instrument]  # of those the venue lists
    nearest: Mapping[str, str] = attrs.field(factory=dict)  # of the others: what it lists that is written most alike
    prices: Mapping[str, Decimal]  # the last ones
    fees: Mapping[str, FeeSchedule]  # the account's own
    table: Mapping[str, FeeSchedule]  # what is counted with where the account's own are not known
    marks: Mapping[str, MarkPrice]
    tiers: Mapping[str, int]  # the most leverage the venue allows
    open_orders: tuple[OrderReport, ...]
    known_orders: frozenset[str]  # client order ids of those open orders that are in our journal
    disk_free: int  # bytes
    journal_trouble: str | None  # why the journal cannot be written
    trader: str | None  # the process that trades on the account now
    is_margined: bool = False


def judge(facts: Facts, wishes: Wishes) -> tuple[Verdict, ...]:
    """Return a verdict on everything, in the order in which one would put it right."""
    found = [*_key(facts, wishes), *_clock(facts), *_machine(facts), *_account(facts, wishes)]
    for symbol in facts.wanted:
        instrument = facts.instruments.get(symbol)
        if instrument is None:
            near = facts.nearest.get(symbol, "BTC/USDT")
            found.append(_fail(symbol, "the venue lists no such instrument", f"write it like {near}"))
        else:
            for look in _OF_INSTRUMENT:
                found += look(facts, wishes, instrument)
    return (*found, *_orders(facts))


def _ok(check: str, text: str) -> Verdict:
    return Verdict(check=check, level=Level.OK, text=text)


def _warn(check: str, text: str, cure: str) -> Verdict:
    return Verdict(check=check, level=Level.WARN, text=text, cure=cure)


def _fail(check: str, text: str, cure: str) -> Verdict:
    return Verdict(check=check, level=Level.FAIL, text=text, cure=cure)


# --- key, clock, machine, account ----------------------------------------------------------------------------


def _key(facts: Facts, wishes: Wishes) -> Iterator[Verdict]:
    rights = facts.rights
    if rights is None:
        yield _warn("key", "the venue does not say what the key may do", "look at its permissions on the venue's page")
        return
    if rights.may_trade is False or not facts.account.can_trade:
        yield _fail("key", "it may not trade here", "give it the right to trade in this market")
    elif rights.may_trade is None:
        yield _warn("key", "the venue does not say whether it may trade", "look at its permissions")
    else:
        yield _ok("key", "it may trade")
    if rights.may_withdraw and not wishes.may_withdraw:
        yield _fail(
            "withdrawals", "the key may withdraw", "take the right from it, or say --allow-withdraw if it must stay"
        )
    elif rights.may_withdraw:
        yield _warn("withdrawals", "the key may withdraw, as you allow", "")
    elif rights.may_withdraw is None:
        yield _warn("withdrawals", "the venue does not say whether the key may withdraw", "look at its permissions")
    else:
        yield _ok("withdrawals", "the key may not withdraw")
    if rights.is_ip_restricted is False:
        yield _warn("addresses", "the key is good from every address", "bind it to this machine's address")


def _clock(facts: Facts) -> Iterator[Verdict]:
    offset_ns, doubt_ns = facts.clock_offset_ns, facts.clock_doubt_ns
    text = f"ours is {round(-offset_ns / NS_PER_MS):+d} ms from the venue's, ±{doubt_ns / NS_PER_MS:.0f} ms"
    if doubt_ns * 2 >= facts.receive_window_ns:
        yield _fail("clock", text, "an answer takes longer than receive_window_ms: find a better line")
    elif abs(offset_ns) > _CLOCK_FAR_NS:
        yield _warn("clock", f"{text}: it is corrected, and drifts on", "keep the machine's clock by NTP")
    else:
        yield _ok("clock", text)


def _machine(facts: Facts) -> Iterator[Verdict]:
    free = f"{facts.disk_free / 2**20:,.0f} MB are free"
    if facts.disk_free < _DISK_LEAST:
        yield _fail("disk", free, "no order leaves that is not written down: make room")
    elif facts.disk_free < _DISK_LITTLE:
        yield _warn("disk", free, "make room")
    else:
        yield _ok("disk", free)
    if facts.journal_trouble is not None:
        yield _fail("journal", facts.journal_trouble, "no order leaves that is not written down: make it writable")
    elif facts.trader is not None:
        yield _fail("journal", f"{facts.trader} trades on this account", "one at a time: stop it first")
    else:
        yield _ok("journal", "it can be written")


def _account(facts: Facts, wishes: Wishes) -> Iterator[Verdict]:
    if not facts.is_margined:
        return
    account, mode = facts.account, wishes.position_mode
    if account.is_multi_asset:
        yield _fail(
            "assets", "all assets together are margin", "switch to single-asset mode: the other is not modelled"
        )
    has = account.position_mode.value.lower() if account.position_mode is not None else "unknown"
    is_free = not account.positions and not facts.open_orders
    if mode is not None and mode is not account.position_mode and is_free:
        yield _ok("position mode", f"it is {has}, {mode.value.lower()} is set at the start")
    elif mode is not None and mode is not account.position_mode:
        yield _fail("position mode", f"it is {has}, and {mode.value.lower()} is wanted", "close all, then switch it")
    else:
        yield _ok("position mode", has)


# --- instruments -----------------------------------------------------------------------------------------------


def smallest_order(instrument: Instrument, price: Decimal) -> OrderRequest | None:
    """Return the smallest limit order to buy at ``price`` that keeps the instrument's rules, None when none does."""
    on_grid = to_grid_price(instrument, price, side=Side.BUY)
    least = OrderRequest(
        instrument=instrument,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        quantity=max(instrument.step_size, instrument.min_quantity),
        price=on_grid,
        signal_ns=0,
    )
    return nearest_order(least, MarketView(reference_price=price))


def _trading(_facts: Facts, _wishes: Wishes, instrument: Instrument) -> Iterator[Verdict]:
    if instrument.is_trading:
        yield _ok(instrument.symbol, "it is trading")
    else:
        yield _fail(instrument.symbol, "it is not trading now", "wait, or choose another instrument")


def _smallest(facts: Facts, _wishes: Wishes, instrument: Instrument) -> Iterator[Verdict]:
    name, price = f"{instrument.symbol} smallest order", facts.prices.get(instrument.symbol)
    if price is None:
        yield _warn(name, "no price is known", "look whether anybody trades it")
        return
    request = smallest_order(instrument, price)
    if request is None:
        yield _fail(name, "no order keeps all the venue's rules", "choose another instrument")
        return
    value = quote_value(instrument, request.quantity, price)
    text = f"{_plain(request.quantity)} at {_plain(price)}, {_plain(round(value, 2))} {instrument.quote}"
    asset = instrument.settle if facts.is_margined else instrument.quote
    balance = facts.account.balances.get(asset)
    free = balance.free if balance is not None else _ZERO
    if not free or (not facts.is_margined and free < value):
        yield _warn(name, f"{text}; {_plain(free)} {asset} are free", f"bring {asset} to the account")
    else:
        yield _ok(name, text)


def _fee(facts: Facts, _wishes: Wishes, instrument: Instrument) -> Iterator[Verdict]:
    name, own, table = f"{instrument.symbol} fees", facts.fees.get(instrument.symbol), facts.table[instrument.symbol]
    if own is None:
        yield _warn(
            name,
            f"the account's own are not known, {_rates(table)} is counted with ({table.tier})",
            "fills say what they cost; estimates may be off",
        )
        return
    yield _ok(name, f"{_rates(own)} ({facts.account.fee_tier or own.tier})")


def _rates(fees: FeeSchedule) -> str:
    return f"maker {_plain(fees.maker * 100)} %, taker {_plain(fees.taker * 100)} %"


def _margin(facts: Facts, wishes: Wishes, instrument: Instrument) -> Iterator[Verdict]:
    if not facts.is_margined:
        return
    name, most = f"{instrument.symbol} leverage", facts.tiers.get(instrument.symbol)
    now = facts.account.terms.get(instrument.symbol, SymbolTerms())
    open_here = [each for each in facts.account.positions if each.symbol == instrument.symbol and each.quantity]
    for position in open_here:
        yield _warn(
            f"{instrument.symbol} position",
            f"{_plain(position.quantity)} is held ({position.position_side.value.lower()}): it is taken over",
            "close it first if it is not the strategy's",
        )
    if wishes.leverage is not None and most is not None and wishes.leverage > most:
        yield _fail(name, f"{wishes.leverage} is wanted, and {most} the most", "ask for less")
    else:
        yield _ok(
            name, f"{_leverage(now.leverage, wishes.leverage)}, at most {most if most is not None else 'unknown'}"
        )
    modes = {each.margin_mode for each in open_here if each.margin_mode is not None}
    if wishes.margin_mode is not None and modes - {wishes.margin_mode}:
        yield _fail(
            f"{instrument.symbol} margin mode",
            f"the open position is not {wishes.margin_mode.value.lower()}",
            "close it: the venue does not switch under a position",
        )
    elif now.margin_mode is not None or wishes.margin_mode is not None:
        yield _ok(f"{instrument.symbol} margin mode", _mode(now.margin_mode, wishes.margin_mode))


def _leverage(now: int | None, wanted: int | None) -> str:
    has = f"it is {now}" if now is not None else "the account does not say what it is"
    if wanted is None:
        return has
    return has if wanted == now else f"{has}, {wanted} is set at the start"


def _mode(now: MarginMode | None, wanted: MarginMode | None) -> str:
    has = now.value.lower() if now is not None else "the account does not say"
    return has if wanted in {None, now} else f"{has}, {wanted.value.lower()} is set at the start"


def _future(facts: Facts, _wishes: Wishes, instrument: Instrument) -> Iterator[Verdict]:
    """Look at what lies ahead of an instrument: its end, and its next funding."""
    if instrument.delivery_ns is not None:
        left_ns = instrument.delivery_ns - facts.market_ns
        name, text = f"{instrument.symbol} expiry", f"it is delivered at {iso(instrument.delivery_ns)}"
        if left_ns <= 0:
            yield _fail(name, text, "choose a later contract")
        elif left_ns < _EXPIRES_SOON_NS:
            yield _warn(
                name, f"{text}, in {left_ns / NS_PER_DAY:.1f} days", "choose a later contract, or be out by then"
            )
        else:
            yield _ok(name, text)
    mark = facts.marks.get(instrument.symbol)
    if mark is None or mark.next_funding_ns is None:
        return
    left_ns, rate = mark.next_funding_ns - facts.market_ns, mark.funding_rate or _ZERO
    payer = "longs pay" if rate > 0 else "shorts pay" if rate else "nobody pays"
    text = f"in {_span(left_ns)}, at {iso(mark.next_funding_ns)}: {_plain(rate * 100)} %, {payer}"
    if left_ns < _FUNDING_SOON_NS and rate:
        yield _warn(f"{instrument.symbol} funding", text, "who opens now may pay it at once")
    else:
        yield _ok(f"{instrument.symbol} funding", text)


def _span(left_ns: int) -> str:
    """Return a time in whole minutes, as one says it."""
    hours, minutes = divmod(max(left_ns, 0) // NS_PER_MINUTE, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


_OF_INSTRUMENT: tuple[Callable[[Facts, Wishes, Instrument], Iterator[Verdict]], ...] = (
    _trading,
    _smallest,
    _fee,
    _margin,
    _future,
)


# --- orders ------------------------------------------------------------------------------------------------------


def _orders(facts: Facts) -> Iterator[Verdict]:
    foreign = [order for order in facts.open_orders if order.client_order_id not in facts.known_orders]
    ours = len(facts.open_orders) - len(foreign)
    if foreign:
        names = ", ".join(f"{order.symbol} {order.client_order_id}" for order in foreign[:5])
        yield _warn(
            "open orders",
            f"{len(foreign)} of somebody else's: {names}",
            'cancel them, or load with sharing="shared" or "adopt"',
        )
    else:
        yield _ok("open orders", f"{ours} of earlier runs are taken over" if ours else "none")


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"

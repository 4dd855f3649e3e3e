"""backtrader's words for an order and ours: one table each way, and the request that is made of them."""

import datetime
import difflib
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import attrs
import backtrader as bt

from btx.bt.books import Book
from btx.bt.feed import feed_of
from btx.bt.legs import reduces
from btx.errors import ConfigError
from btx.model.calendar import ALWAYS, Calendar
from btx.model.instrument import Instrument
from btx.model.order import OrderRequest, OrderType, Side, Status, TimeInForce, TriggerBy
from btx.model.time import NS_PER_DAY, NS_PER_MS, iso
from btx.model.venue import Capabilities, Environment
from btx.rules.calendar import day_bounds, trading_day
from btx.rules.capabilities import Support, resting_time, support_of
from btx.rules.filters import check, check_quantity, step_of, to_grid_price, to_grid_quantity
from btx.rules.positions import split_dust

__all__ = (
    "EXECTYPES",
    "ORDER_TYPES",
    "OWN_ARGUMENTS",
    "STATUSES",
    "Asked",
    "amended",
    "exectype_of",
    "expires_ns_of",
    "make_request",
    "misspelt",
    "number_of",
    "order_type_of",
    "refusal_of",
    "show_request",
    "time_in_force_of",
)

STATUSES: Final = {
    Status.PENDING_NEW: bt.Order.Submitted,
    Status.UNKNOWN: bt.Order.Submitted,
    Status.NEW: bt.Order.Accepted,
    Status.PENDING_CANCEL: bt.Order.Accepted,
    Status.PARTIALLY_FILLED: bt.Order.Partial,
    Status.FILLED: bt.Order.Completed,
    Status.CANCELED: bt.Order.Canceled,
    Status.EXPIRED: bt.Order.Expired,
    Status.REJECTED: bt.Order.Rejected,
}

ORDER_TYPES: Final = {
    bt.Order.Market: OrderType.MARKET,
    bt.Order.Limit: OrderType.LIMIT,
    bt.Order.Stop: OrderType.STOP_MARKET,
    bt.Order.StopLimit: OrderType.STOP_LIMIT,
    bt.Order.StopTrail: OrderType.TRAILING_STOP,
    bt.Order.StopTrailLimit: OrderType.TRAILING_STOP,
}

# backtrader knows no take-profit: to it they are stops.
EXECTYPES: Final = {
    OrderType.MARKET: bt.Order.Market,
    OrderType.LIMIT: bt.Order.Limit,
    OrderType.STOP_MARKET: bt.Order.Stop,
    OrderType.STOP_LIMIT: bt.Order.StopLimit,
    OrderType.TAKE_PROFIT_MARKET: bt.Order.Stop,
    OrderType.TAKE_PROFIT_LIMIT: bt.Order.StopLimit,
    OrderType.TRAILING_STOP: bt.Order.StopTrail,
}

# What a strategy may pass beside backtrader's own arguments.
OWN_ARGUMENTS: Final = (
    *("time_in_force", "post_only", "params", "order_type", "display_size", "native_bracket"),
    *("reduce_only", "close_position", "trigger_by"),
)

_EPOCH_DAYS: Final = 719_163  # 1970-01-01 as backtrader counts days
_MS_PER_DAY: Final = NS_PER_DAY // NS_PER_MS
_BPS: Final = 10_000
_TRIGGERED: Final = {
    OrderType.STOP_MARKET: OrderType.MARKET,
    OrderType.STOP_LIMIT: OrderType.LIMIT,
    OrderType.TAKE_PROFIT_MARKET: OrderType.MARKET,
    OrderType.TAKE_PROFIT_LIMIT: OrderType.LIMIT,
}
_LIMITED: Final = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT})
_STOPS: Final = frozenset({OrderType.STOP_MARKET, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})


@attrs.frozen(kw_only=True)
class Asked:
    """What a strategy asked for, in backtrader's words."""

    side: Side
    size: float
    price: float | None
    plimit: float | None
    valid: Any
    trailamount: float | None
    trailpercent: float | None
    info: Mapping[str, Any]
    is_child: bool = False  # of a bracket: it begins when its parent has filled


def exectype_of(exectype: Any, named: Any) -> Any:
    """Return backtrader's type of an order: the one given, or the one that ``order_type=`` is to backtrader."""
    wanted = _named(named) if exectype is None and named is not None else None
    return EXECTYPES[wanted] if wanted is not None else exectype


def order_type_of(exectype: Any, named: Any, capabilities: Capabilities) -> OrderType:
    """Return our word for an order's type; ``named`` is what ``order_type=`` says.

    Raises:
        ConfigError: neither the venue nor the core takes it; the message lists what is taken.
    """
    taken = [each for each in OrderType if support_of(each, capabilities) is not Support.NO]
    choice = _choice([*(f"bt.Order.{bt.Order.ExecTypes[name]}" for name in ORDER_TYPES if ORDER_TYPES[name] in taken)])
    if exectype == bt.Order.Close:
        raise ConfigError(
            "exectype Close fills at the close of a bar, which has passed when a live bar is known: "
            f"use {choice}, at the bar you mean"
        )
    order_type = ORDER_TYPES.get(exectype)
    if order_type is None:
        raise ConfigError(f"exectype {bt.Order.ExecTypes[exectype]} is for backtests alone: use {choice}")
    if named is not None:
        wanted = _named(named)
        if wanted is None or EXECTYPES[wanted] != EXECTYPES[order_type]:
            known = _choice([each.value for each in taken if EXECTYPES[each] == EXECTYPES[order_type]])
            raise ConfigError(f"order_type={named!r} is no bt.Order.{bt.Order.ExecTypes[exectype]}: use {known}")
        order_type = wanted
        choice = _choice([each.value for each in taken])
    if order_type not in taken:
        word = order_type.value if named is not None else f"exectype {bt.Order.ExecTypes[exectype]}"
        raise ConfigError(f"{word} is not taken here: use {choice}")
    return order_type


def _named(value: Any) -> OrderType | None:
    text = value.value if isinstance(value, OrderType) else str(value).upper()
    return next((each for each in OrderType if each.value == text), None)


def _choice(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1] if words else "nothing")))


# --- how long -----------------------------------------------------------------------------------------------


def time_in_force_of(value: Any, capabilities: Capabilities) -> TimeInForce:
    """Return what ``time_in_force=`` says; when it says nothing GTC, or DAY where nothing rests for longer.

    Raises:
        ConfigError: it is no time in force, or not one of the venue's.
    """
    usual = resting_time(capabilities)
    if value is None:
        return usual
    text = value.value if isinstance(value, TimeInForce) else str(value).upper()
    if text == TimeInForce.GTD.value:
        raise ConfigError("time_in_force='GTD' needs a time: write valid=datetime, timedelta or bt.Order.DAY alone")
    known = {each.value: each for each in capabilities.times_in_force | {TimeInForce.GTC, TimeInForce.DAY}}
    if usual is TimeInForce.DAY:
        del known[TimeInForce.GTC.value]
    known.pop(TimeInForce.GTD.value, None)
    if text not in known:
        raise ConfigError(f"time_in_force={value!r} is not taken here: use {' or '.join(sorted(known))}")
    return known[text]


def expires_ns_of(data: Any, valid: Any, *, bar_ns: int, now_ns: int, calendar: Calendar = ALWAYS) -> int | None:
    """Return the market time that backtrader's ``valid`` means, None when the order rests until cancelled.

    A datetime without a zone is in the zone of the data, a date is its first
    moment, a timedelta counts from the close of the bar, a number is a date as matplotlib counts;
    0, ``timedelta()`` and ``bt.Order.DAY`` are the end of the trading day, and where the
    market never closes that of the data's session, which is midnight UTC.

    Raises:
        ConfigError: it is none of these, or has passed.
    """
    if valid is None:
        return None
    if isinstance(valid, bool) or not isinstance(valid, datetime.date | datetime.timedelta | int | float):
        raise ConfigError(f"valid={valid!r}: give a datetime, a date, a timedelta, bt.Order.DAY or None")
    if not valid:
        day = trading_day(calendar, now_ns) if calendar.hours else None
        bounds = day_bounds(calendar, day) if day is not None else None
        return bounds[1] if bounds is not None else _session_end_ns(data, max(bar_ns, now_ns))
    if isinstance(valid, datetime.timedelta):
        expires_ns = bar_ns + valid // datetime.timedelta(milliseconds=1) * NS_PER_MS
    elif isinstance(valid, datetime.date):
        expires_ns = _moment_ns(data, valid)
    else:
        expires_ns = _from_days(valid)
    if expires_ns <= now_ns:
        raise ConfigError(f"valid={valid!r} has passed: it is {iso(now_ns)}")
    return expires_ns


def _moment_ns(data: Any, moment: datetime.date) -> int:
    if not isinstance(moment, datetime.datetime):
        moment = datetime.datetime.combine(moment, datetime.time())
    if moment.tzinfo is not None:
        return _from_days(bt.date2num(moment.astimezone(datetime.UTC).replace(tzinfo=None)))
    return _from_days(data.date2num(moment))


def _from_days(days: float) -> int:
    """Return backtrader's floating days in whole milliseconds: finer they are not."""
    return round((days - _EPOCH_DAYS) * _MS_PER_DAY) * NS_PER_MS


def _session_end_ns(data: Any, now_ns: int) -> int:
    """Return the first end of the data's session after now."""
    local = data.num2date(_EPOCH_DAYS + now_ns / NS_PER_DAY)
    end = datetime.datetime.combine(local.date(), data.p.sessionend)
    while (end_ns := _moment_ns(data, end)) <= now_ns:
        end += datetime.timedelta(days=1)
    return end_ns


# --- the request --------------------------------------------------------------------------------------------


def make_request(order: Any, asked: Asked, book: Book) -> OrderRequest:
    """Return what is asked for, on the venue's grid.

    A stop whose trigger the market has passed acts at once, as in a backtest: it
    becomes the order it would trigger, and ``order.info.triggered_at_once`` says
    so. It does not become a take-profit: a protection that comes too late must
    not wait for better prices.

    Raises:
        ConfigError: neither the venue nor the core does it; the message says what they do.
        ValueError: a number is none.
    """
    session, instrument, info, side = book.account.session, book.instrument, asked.info, asked.side
    known = session.info.capabilities[session.market]
    order_type = order_type_of(order.exectype, info.get("order_type"), known)
    trigger, limit = _prices(order, asked, book, order_type=order_type)
    trigger_by = _trigger_by(info.get("trigger_by"), known, order_type)
    seen = _price_seen(book, trigger_by)
    if trigger is not None and not asked.is_child and _has_passed(order_type, side, trigger, seen):
        order_type, trigger = _TRIGGERED[order_type], None
        order.triggered = True
        order.addinfo(triggered_at_once=True)
        if order_type not in known.order_types:
            raise ConfigError(f"the market has passed the trigger, and {order_type.value} is not taken here")
    feed = feed_of(order.data)
    assert feed is not None, "only datas of ours have a book"
    bar_ns, now_ns = feed.last_close_ns, session.clock.market_ns()
    time_in_force, expires_ns = _how_long(
        order, asked, known, order_type, bar_ns=bar_ns, now_ns=now_ns, calendar=session.calendar(instrument)
    )
    post_only = bool(info.get("post_only"))
    if post_only and (not known.post_only or order_type is not OrderType.LIMIT):
        raise ConfigError(
            f"post_only=True is for limit orders at venues that know it: not for this one at {instrument.venue}"
        )
    quantity = _quantity(book, asked, order_type=order_type)
    reduce_only = reduces(book, order, side=side, quantity=quantity, info=info, is_child=asked.is_child)
    trails = order_type is OrderType.TRAILING_STOP
    return OrderRequest(
        instrument=instrument,
        side=side,
        order_type=order_type,
        quantity=quantity,
        price=limit,
        trigger_price=trigger,
        trigger_by=trigger_by,
        time_in_force=time_in_force,
        expires_ns=expires_ns,
        post_only=post_only,
        reduce_only=reduce_only,
        position_side=book.leg,
        display_quantity=_display_quantity(book, info.get("display_size"), known, order_type, time_in_force),
        trail_amount=_trail_amount(book, asked) if trails else None,
        trail_bps=_trail_bps(order, asked) if trails else None,
        signal_ns=bar_ns,
        params=_params(info.get("params"), known, session.environment, instrument=instrument, side=side),
    )


def refusal_of(book: Book, request: OrderRequest, *, is_one_more: bool) -> str | None:
    """Return why a request must not leave: a rule of its instrument, or an extension's veto.

    ``is_one_more``: it comes on top of what is open. An amendment does not, and
    the exits of a bracket are merged where the venue takes no more.
    """
    session = book.account.session
    view = session.market_view(request.instrument)
    if not is_one_more:
        view = attrs.evolve(
            view, open_orders=None, open_conditional_orders=None, open_iceberg_orders=None, open_buys=None
        )
    violation = check(request, reference_price=book.last_close(), view=view)
    return violation.text if violation is not None else session.check_order(request)


def _params(
    given: Any, known: Capabilities, environment: Environment, *, instrument: Instrument, side: Side
) -> dict[str, Any]:
    """Return what goes to the venue as it is; numbers that are prices of exits go onto the grid, as all prices do.

    Raises:
        ConfigError: the venue would make exits of it, and there is no venue that could.
        ValueError: such a number is infinite or none.
    """
    params = dict(given or {})
    attached = sorted(params.keys() & known.attaching)
    if attached and environment in {Environment.BACKTEST, Environment.PAPER}:
        raise ConfigError(
            f"params {', '.join(attached)} have the venue make exits of an order, which nobody does in "
            f"{environment.value}: write buy_bracket() or sell_bracket(), which work everywhere"
        )
    closing = Side.SELL if side is Side.BUY else Side.BUY
    for name in params.keys() & (known.attaching | known.attached_limits):
        if isinstance(params[name], int | float | Decimal):
            params[name] = f"{to_grid_price(instrument, params[name], side=closing):f}"
    return params


def _prices(order: Any, asked: Asked, book: Book, *, order_type: OrderType) -> tuple[Decimal | None, Decimal | None]:
    """Return trigger and limit on the grid, where the type has them; backtrader's close where none was given."""
    instrument, side, created = book.instrument, asked.side, order.created
    if order_type is OrderType.LIMIT:
        price = created.price if asked.price is None else asked.price
        return None, to_grid_price(instrument, price, side=side)
    if order_type is OrderType.MARKET:
        return None, None
    if order_type is OrderType.TRAILING_STOP:
        if not asked.trailamount and not asked.trailpercent:
            raise ConfigError("a trailing stop needs trailamount= (in quote units) or trailpercent= (0.02 is 2 %)")
        trigger, limit = created.price, created.pricelimit
    else:
        trigger = created.price if asked.price is None else asked.price
        limit = trigger if asked.plimit is None else asked.plimit
    has_limit = order_type in _LIMITED or order.exectype == bt.Order.StopTrailLimit
    return (
        to_grid_price(instrument, trigger, side=_trigger_side(order_type, side)),
        to_grid_price(instrument, limit, side=side) if has_limit else None,
    )


def _trigger_side(order_type: OrderType, side: Side) -> Side:
    """Return the side whose rounding leads away from the market: a stop that buys lies above it."""
    if order_type in _STOPS:
        return Side.SELL if side is Side.BUY else Side.BUY
    return side


def _trigger_by(word: Any, known: Capabilities, order_type: OrderType) -> TriggerBy:
    """Return which price an order waits for.

    Raises:
        ConfigError: it is none, or the order waits for none.
    """
    if word is None:
        return TriggerBy.LAST
    if word not in {"last", "mark"}:
        raise ConfigError(f"trigger_by={word!r}: write 'last' or 'mark'")
    if order_type in {OrderType.MARKET, OrderType.LIMIT}:
        raise ConfigError("trigger_by= is for orders that wait for a price: leave it out")
    if word == "mark" and not known.margined:
        raise ConfigError("trigger_by='mark' is of positions on margin: what is owned has no mark price")
    return TriggerBy(word.upper())


def _price_seen(book: Book, trigger_by: TriggerBy) -> Decimal | None:
    return book.mark_price() if trigger_by is TriggerBy.MARK else book.last_close()


def _has_passed(order_type: OrderType, side: Side, trigger: Decimal, last: Decimal | None) -> bool:
    if order_type not in _TRIGGERED or last is None:
        return False
    rises = (side is Side.BUY) is (order_type in _STOPS)  # it waits for the price to rise
    return last >= trigger if rises else last <= trigger


def _how_long(
    order: Any,
    asked: Asked,
    known: Capabilities,
    order_type: OrderType,
    *,
    bar_ns: int,
    now_ns: int,
    calendar: Calendar,
) -> tuple[TimeInForce, int | None]:
    wished = asked.info.get("time_in_force")
    time_in_force = time_in_force_of(wished, known)
    valid = asked.valid
    if time_in_force is TimeInForce.DAY and not valid:
        if TimeInForce.DAY in known.times_in_force:
            return time_in_force, None
        time_in_force, valid = TimeInForce.GTC, bt.Order.DAY
    expires_ns = expires_ns_of(order.data, valid, bar_ns=bar_ns, now_ns=now_ns, calendar=calendar)
    if expires_ns is None or order_type is OrderType.MARKET:  # it is over at once
        return time_in_force, None
    if wished is not None and time_in_force is not TimeInForce.GTC:
        raise ConfigError(f"time_in_force={time_in_force.value} and valid= both say when it ends: give one of them")
    order.valid = _EPOCH_DAYS + expires_ns / NS_PER_DAY
    return TimeInForce.GTD, expires_ns


def _quantity(book: Book, asked: Asked, *, order_type: OrderType) -> Decimal:
    """Return the size on the grid; what sells the whole position sells what is there, and not a float's idea of it.

    Raises:
        ConfigError: it is below the venue's minimum, or above its maximum.
        ValueError: it is no number.
    """
    size, held, instrument = asked.size, book.mirror.held, book.instrument
    if held and asked.info.get("close_position"):
        size = abs(book.mirror.size)
    sells_all = held and (held > 0) is (asked.side is Side.SELL) and float(size) == abs(book.mirror.size)
    if sells_all and not asked.is_child:
        quantity, _ = split_dust(abs(held), step_size=step_of(instrument, order_type=order_type))
    else:
        quantity = to_grid_quantity(instrument, size, order_type=order_type)
    wanted = quantity or Decimal(repr(float(size)))  # of what is below a step nothing is left to tell
    if (violation := check_quantity(instrument, wanted, order_type=order_type)) is not None:
        raise ConfigError(violation.text)
    return quantity


def _display_quantity(
    book: Book, size: float | None, known: Capabilities, order_type: OrderType, time_in_force: TimeInForce
) -> Decimal | None:
    if size is None:
        return None
    if not known.iceberg:
        raise ConfigError(f"display_size= is not taken here: {book.instrument.venue} has no iceberg orders")
    if order_type not in _LIMITED or time_in_force in {TimeInForce.IOC, TimeInForce.FOK}:
        raise ConfigError("display_size= is for orders with a limit that rest: leave it out, or send such a one")
    shown = to_grid_quantity(book.instrument, size)
    if (violation := check_quantity(book.instrument, shown, order_type=order_type)) is not None:
        raise ConfigError(f"display_size: {violation.text}")
    return shown


def _trail_amount(book: Book, asked: Asked) -> Decimal | None:
    """Return the distance in quote units, on the tick; up, which is away from the market."""
    return to_grid_price(book.instrument, asked.trailamount, side=Side.SELL) if asked.trailamount else None


def _trail_bps(order: Any, asked: Asked) -> int | None:
    """Return the distance in whole basis points; what was between two is told in ``order.info.trail_bps``."""
    if asked.trailamount or not asked.trailpercent:
        return None
    exact = Decimal(repr(float(asked.trailpercent))) * _BPS
    trail_bps = round(exact)
    if trail_bps <= 0:
        raise ConfigError(f"trailpercent={asked.trailpercent!r} is less than a basis point: 0.02 is 2 %")
    if exact != trail_bps:
        order.addinfo(trail_bps=trail_bps)
    return trail_bps


# --- amendments ---------------------------------------------------------------------------------------------


def amended(
    book: Book,
    request: OrderRequest,
    *,
    filled: Decimal,
    price: float | None,
    size: float | None,
    plimit: float | None,
    trailamount: float | None,
) -> OrderRequest:
    """Return a request as it should be now; what is None stays.

    Raises:
        ConfigError: its type has no such price, nothing would be left of it, or it is so already.
        ValueError: a number is none.
    """
    if request.order_type is OrderType.MARKET:
        raise ConfigError("a market order cannot be amended: it is on its way to be filled")
    changes: dict[str, Any] = {}
    if size is not None:
        quantity = to_grid_quantity(request.instrument, abs(size), order_type=request.order_type)
        if quantity <= filled:
            raise ConfigError(f"{filled.normalize():f} is filled already: an order of {quantity:f} is to be cancelled")
        changes["quantity"] = quantity
    if trailamount is not None:
        if request.order_type is not OrderType.TRAILING_STOP:
            raise ConfigError("trailamount= is for trailing stops")
        distance = to_grid_price(request.instrument, trailamount, side=Side.SELL)
        changes |= {"trail_amount": distance, "trail_bps": None}
        price = _trailed(book, request.side, trailamount) if price is None else price
    changes |= _amended_prices(book, request, price=price, plimit=plimit)
    if not changes:
        raise ConfigError("nothing to amend: give price=, size=, plimit= or trailamount=")
    if (wanted := attrs.evolve(request, **changes)) == request:
        raise ConfigError("nothing to amend: on the venue's grid the order is so already")
    return wanted


def _amended_prices(
    book: Book, request: OrderRequest, *, price: float | None, plimit: float | None
) -> dict[str, Decimal]:
    instrument, side, order_type = request.instrument, request.side, request.order_type
    changes: dict[str, Decimal] = {}
    if price is not None and order_type is OrderType.LIMIT:
        changes["price"] = to_grid_price(instrument, price, side=side)
    elif price is not None:
        trigger = to_grid_price(instrument, price, side=_trigger_side(order_type, side))
        if _has_passed(order_type, side, trigger, _price_seen(book, request.trigger_by)):
            raise ConfigError(f"the market has passed {trigger:f} already: cancel the order and send another")
        changes["trigger_price"] = trigger
    if plimit is not None:
        if request.price is None or order_type is OrderType.LIMIT:
            raise ConfigError("plimit= is the limit of a StopLimit or StopTrailLimit: a limit order has price=")
        changes["price"] = to_grid_price(instrument, plimit, side=side)
    return changes


def _trailed(book: Book, side: Side, distance: float) -> float | None:
    last = book.last_close()
    return float(last) + side.sign * distance if last is not None else None


def show_request(order: Any, request: OrderRequest) -> None:
    """Write an amended request into backtrader's order."""
    created = order.created
    created.size = order.size = float(request.side.sign * request.quantity)
    order.executed.remsize = created.size - order.executed.size
    first, second = number_of(request.trigger_price), number_of(request.price)
    created.price = first if first is not None else second if second is not None else created.price
    created.pricelimit = second if second is not None else created.price
    created.trailamount = number_of(request.trail_amount)


def number_of(value: Decimal | None) -> float | None:
    """Return backtrader's float of an exact number."""
    return float(value) if value is not None else None


def misspelt(info: Iterable[str], own: Collection[str]) -> str | None:
    """Return which of an order's remarks looks like an argument written wrong, None when none does.

    backtrader keeps any word an order is given. A ``postonly=True`` kept as a
    remark would be an order that takes where it was meant to rest.
    """
    known = {word.replace("_", ""): word for word in (*own, "exectype")}
    for name in info:
        near = difflib.get_close_matches(name.replace("_", "").lower(), known, n=1, cutoff=0.85)
        if near and name != known[near[0]]:
            return f"{name}= is no argument of an order: write {known[near[0]]}="
    return None

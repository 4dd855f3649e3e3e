"""``store.would_accept``: what the venue's rules say of an order that is not sent."""

from decimal import Decimal
from typing import Any

import attrs
import backtrader as bt

from btx.bt.words import symbol_of
from btx.errors import ConfigError
from btx.model.instrument import Instrument
from btx.model.order import OrderRequest, OrderType, Side
from btx.rules.filters import MarketView, check, nearest_order, step_of, to_grid_price, to_grid_quantity

__all__ = ("Verdict", "judge", "request_of", "verdict_of")

_ORDER_TYPES = {
    bt.Order.Market: OrderType.MARKET,
    bt.Order.Limit: OrderType.LIMIT,
    bt.Order.Stop: OrderType.STOP_MARKET,
    bt.Order.StopLimit: OrderType.STOP_LIMIT,
}
_BY_NAME = {name: OrderType(name) for name in OrderType.__members__ if name != "TRAILING_STOP"}
_NOISE = Decimal("1e-6")  # of a step: what float arithmetic leaves


@attrs.frozen(kw_only=True)
class Verdict:
    """True where the venue's rules let the order pass; otherwise which one does not, and what would pass."""

    rule: str | None = None  # a field of Instrument
    text: str = ""
    nearest: OrderRequest | None = None  # the order with the least changes that passes, None where there is none

    def __bool__(self) -> bool:
        return self.rule is None


def judge(request: OrderRequest, view: MarketView) -> Verdict:
    """Return what the rules of its instrument say of an order."""
    violation = check(request, view=view)
    if violation is None:
        return Verdict(nearest=request)
    return Verdict(rule=violation.rule, text=violation.text, nearest=nearest_order(request, view))


def verdict_of(session: Any, request: OrderRequest | None, words: dict[str, Any]) -> Verdict:
    """Return what the rules say of a request, or of an order in backtrader's words, as a session knows them.

    Raises:
        ConfigError: a word of the order is unknown or missing.
    """
    if request is None:
        data = words.pop("data", None)
        symbol = symbol_of(words.pop("dataname", None) or getattr(data, "_dataname", None))
        if "side" not in words or "size" not in words:
            raise ConfigError('would_accept(side="buy", dataname="BTC/USDT", size=1): an order has a side and a size')
        wanted: dict[str, Any] = dict.fromkeys(("price", "plimit", "exectype", "display_size")) | words
        request = request_of(session.instrument(symbol), **wanted)
    return judge(request, session.market_view(request.instrument))


def request_of(
    instrument: Instrument,
    *,
    side: str | Side,
    size: float | Decimal | str,
    price: float | Decimal | str | None = None,
    plimit: float | Decimal | str | None = None,
    exectype: Any = None,
    display_size: float | Decimal | str | None = None,
) -> OrderRequest:
    """Return an order in backtrader's words as it stands: nothing is rounded but what float arithmetic left.

    Raises:
        ConfigError: a word is unknown, or a price is missing or too much.
    """
    order_type = _order_type(exectype, has_price=price is not None)
    is_market = order_type is OrderType.MARKET
    has_limit = order_type in (OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT)
    if is_market is (price is not None) or has_limit is (plimit is None):
        raise ConfigError(
            f"{order_type.value}: a market order has no price=, stop and limit orders have one, "
            "and stop-limit orders have plimit= as well"
        )
    try:
        asked = Side(str(getattr(side, "value", side)).upper())
        limit = price if order_type is OrderType.LIMIT else plimit
        trigger = None if order_type is OrderType.LIMIT else price
        return OrderRequest(
            instrument=instrument,
            side=asked,
            order_type=order_type,
            quantity=_quantity(instrument, size, order_type),
            price=_price(instrument, limit, asked),
            trigger_price=_price(instrument, trigger, asked),
            display_quantity=_quantity(instrument, display_size, order_type) if display_size is not None else None,
            signal_ns=0,
        )
    except ValueError as error:
        raise ConfigError(f"would_accept(side={side!r}, size={size!r}, price={price!r}): {error}") from None


def _order_type(exectype: Any, *, has_price: bool) -> OrderType:
    if exectype is None:
        return OrderType.LIMIT if has_price else OrderType.MARKET
    if isinstance(exectype, OrderType):
        exectype = exectype.value
    found = _BY_NAME.get(exectype.upper()) if isinstance(exectype, str) else _ORDER_TYPES.get(exectype)
    if found is None:
        raise ConfigError(
            f"exectype={exectype!r}: write bt.Order.Market, Limit, Stop or StopLimit, or one of {', '.join(_BY_NAME)}"
        )
    return found


def _quantity(instrument: Instrument, value: float | Decimal | str, order_type: OrderType) -> Decimal:
    return _as_meant(
        value, to_grid_quantity(instrument, value, order_type=order_type), step_of(instrument, order_type=order_type)
    )


def _price(instrument: Instrument, value: float | Decimal | str | None, side: Side) -> Decimal | None:
    return (
        None if value is None else _as_meant(value, to_grid_price(instrument, value, side=side), instrument.tick_size)
    )


def _as_meant(value: float | Decimal | str, on_grid: Decimal, step: Decimal) -> Decimal:
    exact = Decimal(repr(float(value)) if isinstance(value, float) else str(value))
    return on_grid if abs(exact - on_grid) <= _NOISE * step else exact

"""The broker's counter behind the fronts: sessions and references, offsets and lots, over the exchange's engine.

The engine keeps a long and a short position of each contract (hedge mode); here stands what only CTP has: which day
a lot was opened on, what an order may close, and who an order is by (FrontID, SessionID, OrderRef).
"""

import datetime
import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import attrs

from btx.model.derivatives import PositionMode
from btx.model.order import OrderType, PositionSide, Side, Status, TimeInForce
from btx.model.time import NS_PER_S
from btx.rules.calendar import trading_day
from btx.sim.exchange import NewOrder, Refusal, Refused
from btx.sim.orders import ExecutionEvent, SimFill, SimOrder
from btx.sim.world import World
from btx_ctp.sim.tables import CURRENCY, LEVERAGE, Product, product_of

__all__ = ("SHANGHAI", "Booked", "Counter", "CtpError", "Lot", "stamp")

SHANGHAI = datetime.timezone(datetime.timedelta(hours=8))
_ZERO = Decimal(0)
_OPEN, _CLOSE, _CLOSE_TODAY, _CLOSE_YESTERDAY = "0", "1", "3", "4"
_BUY, _SELL = "0", "1"
_LIMIT, _ANY_PRICE = "2", "1"
_IOC, _GFD = "1", "3"
_ALL = "3"
_LIMIT_SHARE = Decimal("0.1")  # how far from the last settlement an order's price may lie
_REFUSALS = {
    Refusal.INSUFFICIENT_MARGIN: 31,
    Refusal.TIER_EXCEEDED: 31,
    Refusal.DUPLICATE_CLIENT_ID: 22,
    Refusal.UNKNOWN_SYMBOL: 16,
}


class CtpError(Exception):
    """The counter refuses, by an ErrorID."""

    def __init__(self, error_id: int) -> None:
        super().__init__(str(error_id))
        self.error_id = error_id


@attrs.define(kw_only=True)
class Lot:
    """What an account has on one side of a contract, by the day it was opened on."""

    today: Decimal = _ZERO
    yesterday: Decimal = _ZERO

    @property
    def total(self) -> Decimal:
        """Both together."""
        return self.today + self.yesterday


@attrs.define(kw_only=True)
class Booked:
    """An order as the counter has it beside the exchange: what it was asked with, and its number there."""

    account: str  # the key
    request: dict[str, Any]  # the fields of ReqOrderInsert
    front_id: int
    session_id: int
    number: int  # of the orders of a day
    day: str
    closes: str  # the offset it counts as: 0, 1 (whatever there is), 3 or 4
    name: str  # the exchange's client order id
    time_ns: int
    asked: NewOrder | None = None  # of the exchange; None: it refuses
    order: SimOrder | None = None  # as the exchange has it
    reason: str = ""  # of an exchange that refused

    @property
    def triple(self) -> tuple[int, int, str]:
        """What names it before the exchange has."""
        return self.front_id, self.session_id, str(self.request.get("OrderRef", "")).strip()

    @property
    def sys_id(self) -> str:
        """The exchange's number; text, flush right, as the exchanges send it."""
        return f"{self.order.order_id:>12d}" if self.order is not None else ""

    @property
    def remaining(self) -> Decimal:
        """What is left of an order that may still fill."""
        return self.order.remaining if self.order is not None and self.order.is_open else _ZERO


def stamp(time_ns: int) -> datetime.datetime:
    """Return a market time as a clock in Shanghai shows it."""
    return datetime.datetime.fromtimestamp(time_ns // NS_PER_S, SHANGHAI)


class Counter:
    """Accounts, orders and lots of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.orders: list[Booked] = []
        self.fills: list[tuple[Booked, SimFill]] = []
        self._by_name: dict[tuple[str, str], Booked] = {}
        self._lots: dict[tuple[str, str, PositionSide], Lot] = {}
        self._numbers = itertools.count(1)
        self._settled: dict[str, Decimal] = {}  # prices the limits are counted from, by contract
        self.day = self._day_now()
        for account in world.accounts:
            world.margin.set_position_mode(api_key=account.api_key, mode=PositionMode.HEDGE, now_ns=world.market.now_ns)
            for symbol in world.listings:
                world.margin.set_leverage(
                    api_key=account.api_key, venue_symbol=symbol, leverage=LEVERAGE, now_ns=world.market.now_ns
                )
        self._settle()

    # --- days -------------------------------------------------------------------------------------------------

    def _day_now(self) -> str:
        symbol = next(iter(self.world.listings))
        day = trading_day(self.world.market.calendar(symbol), self.world.market.now_ns)
        return f"{day or stamp(self.world.market.now_ns).date():%Y%m%d}"

    def roll(self) -> bool:
        """See whether another trading day has begun; what was opened before it is yesterday's then."""
        day = self._day_now()
        if day == self.day:
            return False
        self.day = day
        for lot in self._lots.values():
            lot.yesterday, lot.today = lot.total, _ZERO
        self._settle()
        return True

    def _settle(self) -> None:
        self._settled = {symbol: self.world.market.last_price(symbol) for symbol in self.world.listings}

    def settlement(self, symbol: str) -> Decimal:
        """Return yesterday's settlement price: the last one of the day before."""
        return self._settled[symbol]

    def limits(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Return the lowest and the highest price of the day."""
        tick, base = product_of(symbol).tick, self._settled[symbol]
        low, high = base * (1 - _LIMIT_SHARE), base * (1 + _LIMIT_SHARE)
        return -(-low // tick) * tick, high // tick * tick

    # --- accounts -----------------------------------------------------------------------------------------------

    def lot(self, account: str, symbol: str, side: PositionSide) -> Lot:
        """Return what an account has on one side of a contract."""
        return self._lots.setdefault((account, symbol, side), Lot())

    def frozen(self, account: str, symbol: str, side: PositionSide) -> Lot:
        """Return what of it orders under way close."""
        held = Lot()
        closing = _SELL if side is PositionSide.LONG else _BUY
        for each in self.of(account):
            if each.request.get("InstrumentID") == symbol and each.request.get("Direction") == closing:
                if each.closes == _CLOSE_TODAY:
                    held.today += each.remaining
                elif each.closes != _OPEN:
                    held.yesterday += each.remaining
        return held

    def of(self, account: str, *, symbol: str = "") -> Iterator[Booked]:
        """Yield today's orders of an account, oldest first."""
        for each in self.orders:
            if each.account == account and each.day == self.day and symbol in {"", each.request.get("InstrumentID")}:
                yield each

    def unrealised(self, account: str) -> Decimal:
        """Return what closing every position at the last price would bring."""
        found = _ZERO
        for position in self.world.margin.positions(api_key=account):
            move = self.world.market.last_price(position.venue_symbol) - position.entry_price
            found += move * position.quantity * product_of(position.venue_symbol).multiplier
        return found

    def balance(self, account: str) -> Decimal:
        """Return the money of an account, what positions would bring not counted."""
        return self.world.margin.wallet(api_key=account, asset=CURRENCY).wallet

    # --- orders -------------------------------------------------------------------------------------------------

    def book(self, account: str, request: dict[str, Any], *, front_id: int, session_id: int) -> Booked:
        """Take an order in, checked as a counter checks it; the exchange has not seen it.

        Raises:
            CtpError: it is refused here.
        """
        symbol = str(request.get("InstrumentID", ""))
        if symbol not in self.world.listings:
            raise CtpError(16)
        product = product_of(symbol)
        if request.get("OrderPriceType") not in {_LIMIT, _ANY_PRICE} or int(request.get("VolumeTotalOriginal", 0)) < 1:
            raise CtpError(15)
        if request.get("OrderPriceType") == _ANY_PRICE and product.has_days:
            raise CtpError(15)  # SHFE and INE have no market orders
        number = next(self._numbers)
        ref = str(request.get("OrderRef", "")).strip()
        booked = Booked(
            account=account,
            request=request,
            front_id=front_id,
            session_id=session_id,
            number=number,
            day=self.day,
            closes=self._closes(product, str(request.get("CombOffsetFlag", _OPEN))[:1]),
            name=str(request.get("OrderMemo") or f"{front_id}.{session_id}.{ref}"),
            time_ns=self.world.market.now_ns,
        )
        self._check_lots(booked, symbol, product)
        booked.asked = self._asked(booked)
        self.orders.append(booked)
        self._by_name[account, booked.name] = booked
        return booked

    @staticmethod
    def _closes(product: Product, offset: str) -> str:
        """Return what an offset means at an exchange: a plain close is one of yesterday's at SHFE and INE."""
        if offset not in {_OPEN, _CLOSE, _CLOSE_TODAY, _CLOSE_YESTERDAY}:
            raise CtpError(15)
        if offset == _OPEN:
            return _OPEN
        if not product.has_days:
            return _CLOSE
        return _CLOSE_TODAY if offset == _CLOSE_TODAY else _CLOSE_YESTERDAY

    def _check_lots(self, booked: Booked, symbol: str, product: Product) -> None:
        if booked.closes == _OPEN:
            return
        side = PositionSide.LONG if booked.request.get("Direction") == _SELL else PositionSide.SHORT
        lot, frozen = self.lot(booked.account, symbol, side), self.frozen(booked.account, symbol, side)
        wanted = Decimal(int(booked.request["VolumeTotalOriginal"]))
        if booked.closes == _CLOSE and wanted > lot.total - frozen.total:
            raise CtpError(30)
        if booked.closes == _CLOSE_TODAY and wanted > lot.today - frozen.today:
            raise CtpError(50)
        if booked.closes == _CLOSE_YESTERDAY and wanted > lot.yesterday - frozen.yesterday:
            raise CtpError(51 if product.has_days else 30)

    def _asked(self, booked: Booked) -> NewOrder | None:
        """Return what the exchange is asked for; None where it will refuse the price.

        Raises:
            CtpError: the account has not the margin for it.
        """
        request, symbol = booked.request, str(booked.request["InstrumentID"])
        side = Side.BUY if request.get("Direction", _BUY) == _BUY else Side.SELL
        price = Decimal(repr(float(request.get("LimitPrice", 0)))) if request["OrderPriceType"] == _LIMIT else None
        low, high = self.limits(symbol)
        if price is not None and not low <= price <= high:
            where = f"{product_of(symbol).exchange}:价格{'跌破跌' if price < low else '超过涨'}停板"
            booked.reason = f"已撤单报单被拒绝{where}"
            return None
        order = NewOrder(
            venue_symbol=symbol,
            side=side,
            order_type=OrderType.LIMIT if price is not None else OrderType.MARKET,
            time_in_force=self._time_in_force(request),
            quantity=Decimal(int(request["VolumeTotalOriginal"])),
            price=price,
            client_order_id=booked.name,
            position_side=PositionSide.LONG if (side is Side.BUY) is (booked.closes == _OPEN) else PositionSide.SHORT,
        )
        try:
            self.world.margin.test(api_key=booked.account, order=order, now_ns=self.world.market.now_ns)
        except Refused as refused:
            if refused.reason in _REFUSALS:
                raise CtpError(_REFUSALS[refused.reason]) from refused
            booked.reason = f"已撤单报单被拒绝{product_of(symbol).exchange}:{refused}"
            return None
        return order

    def send(self, booked: Booked) -> None:
        """Hand an order to the exchange; what comes of it is told to the world's listeners."""
        if booked.asked is not None:
            self.world.margin.place(api_key=booked.account, order=booked.asked, now_ns=self.world.market.now_ns)

    @staticmethod
    def _time_in_force(request: dict[str, Any]) -> TimeInForce:
        if request["OrderPriceType"] == _ANY_PRICE or request.get("TimeCondition", _GFD) == _IOC:
            return TimeInForce.FOK if request.get("VolumeCondition") == _ALL else TimeInForce.IOC
        return TimeInForce.DAY

    def find(self, account: str, request: dict[str, Any]) -> Booked:
        """Return the order that a cancel is about.

        Raises:
            CtpError: there is none.
        """
        triple = request.get("FrontID", 0), request.get("SessionID", 0), str(request.get("OrderRef", "")).strip()
        sys_id = str(request.get("OrderSysID", "")).strip()
        for each in self.of(account):
            if each.triple == triple or (sys_id and each.sys_id.strip() == sys_id):
                return each
        raise CtpError(25)

    def cancel(self, booked: Booked) -> None:
        """End an order; it is told to the world's listeners.

        Raises:
            CtpError: it has ended.
        """
        if booked.order is None or not booked.order.is_open:
            raise CtpError(26)
        try:
            self.world.margin.cancel(
                api_key=booked.account,
                venue_symbol=booked.order.venue_symbol,
                order_id=booked.order.order_id,
                now_ns=self.world.market.now_ns,
            )
        except Refused as refused:
            raise CtpError(26) from refused

    def take(self, event: ExecutionEvent) -> Booked | None:
        """Take what the exchange says; return the order it is about, None where it is not one of a client's."""
        booked = self._by_name.get((event.api_key, event.order.client_order_id))
        if booked is None:
            return None
        booked.order = event.order
        if event.fill is not None:
            self.fills.append((booked, event.fill))
            self._move(booked, event.fill)
        return booked

    def _move(self, booked: Booked, fill: SimFill) -> None:
        lot = self.lot(booked.account, fill.venue_symbol, fill.position_side)
        if booked.closes == _OPEN:
            lot.today += fill.quantity
        elif booked.closes == _CLOSE_TODAY:
            lot.today -= fill.quantity
        else:  # what is older goes first
            old = min(lot.yesterday, fill.quantity)
            lot.yesterday -= old
            lot.today -= fill.quantity - old

    @staticmethod
    def status(booked: Booked) -> tuple[str, str, str]:
        """Return OrderStatus, OrderSubmitStatus and StatusMsg as they are now."""
        order = booked.order
        if booked.reason:
            return "5", "4", booked.reason
        if order is None:
            return "a", "0", "报单已提交"
        if order.status is Status.FILLED:
            return "0", "3", "全部成交报单已提交"
        if order.status is Status.PARTIALLY_FILLED:
            return "1", "3", "部分成交还在队列中"
        if order.status.is_final:
            return "5", "3", "已撤单"
        return "3", "3", "未成交"

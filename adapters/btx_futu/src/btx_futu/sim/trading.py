"""Trading of the simulated OpenD: paper accounts of one market, their orders, cash and holdings."""

import datetime
import zoneinfo
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from btx.model.order import OrderType, Side, Status, TimeInForce
from btx.model.time import NS_PER_MS, NS_PER_S
from btx.rules.calendar import trading_day
from btx.sim.faults import Where
from btx.sim.orders import NewOrder, Refusal, Refused, SimOrder
from btx.sim.world import World
from btx_futu.sim.answers import WireError
from btx_futu.sim.connections import Connection
from btx_futu.sim.tables import Exchange, spread_at

__all__ = ("TRADES", "Trading")

_SIMULATE = 0  # Trd_Common.TrdEnv
_BUY, _SELL = 1, 2
_NORMAL, _MARKET = 1, 2  # Trd_Common.OrderType
_DAY = 0  # Trd_Common.TimeInForce
_NORMAL_CHANGE, _CANCEL = 1, 2  # Trd_Common.ModifyOrderOp
_REMARK_BYTES = 64
_UNNAMED = "btxsim"  # how the exchange calls an order that has no name; its number follows
_PREFIX = "FS"
_ZERO = Decimal(0)

# Trd_Common.OrderStatus; which of two depends on whether something was filled.
_STATUSES = {
    Status.PENDING_NEW: (2, 2),
    Status.NEW: (5, 5),
    Status.PARTIALLY_FILLED: (10, 10),
    Status.FILLED: (11, 11),
    Status.CANCELED: (15, 14),
    Status.REJECTED: (21, 21),
    Status.EXPIRED: (22, 22),
}


class Trading:
    """What is asked about accounts and orders."""

    def __init__(self, world: World, exchange: Exchange) -> None:
        self._world = world
        self._exchange = exchange
        self._zone = zoneinfo.ZoneInfo(exchange.zone)
        self._numbers = {int(account.api_key): account.api_key for account in world.accounts}

    # --- accounts -------------------------------------------------------------------------------------------

    def accounts(self, _connection: Connection, _asked: Any, answer: Any) -> None:
        """List the paper accounts."""
        for number in self._numbers:
            account = answer.accList.add()
            account.trdEnv, account.accID = _SIMULATE, number
            account.trdMarketAuthList.append(self._exchange.trade_market)
            account.accType, account.simAccType, account.accStatus = 1, 1, 0

    def unlock(self, _connection: Connection, _asked: Any, _answer: Any) -> None:
        """Refuse: there is no real account that could be locked."""
        raise WireError("unlock is for real accounts, and there is none here")

    def hear(self, connection: Connection, asked: Any, _answer: Any) -> None:
        """Push the orders of some accounts on a connection from now on."""
        connection.accounts = set(asked.accIDList) & self._numbers.keys()

    def funds(self, _connection: Connection, asked: Any, answer: Any) -> None:
        """Tell an account's cash."""
        key = self._key(asked.header)
        answer.header.CopyFrom(asked.header)
        cash = self._world.exchange.balances(api_key=key)[self._exchange.currency]
        worth = sum((self._worth(key, code) for code in self._world.listings), _ZERO)
        funds = answer.funds
        funds.cash, funds.frozenCash, funds.debtCash = float(cash.total), float(cash.locked), 0.0
        funds.power = funds.avlWithdrawalCash = float(cash.free)
        funds.marketVal, funds.totalAssets = float(worth), float(cash.total + worth)

    def positions(self, _connection: Connection, asked: Any, answer: Any) -> None:
        """Tell what an account holds."""
        key = self._key(asked.header)
        answer.header.CopyFrom(asked.header)
        balances = self._world.exchange.balances(api_key=key)
        for number, (code, listing) in enumerate(self._world.listings.items()):
            held = balances[listing.instrument.base]
            if not held.total:
                continue
            price, cost = self._world.market.last_price(code), self._cost(key, code)
            line = answer.positionList.add()
            line.positionID, line.positionSide = number, 0
            line.code, line.name, line.secMarket = code.partition(".")[2], code, self._exchange.security_market
            line.qty, line.canSellQty, line.price = float(held.total), float(held.free), float(price)
            line.costPrice, line.val = float(cost), float(held.total * price)
            line.plVal = float(held.total * (price - cost))

    def _worth(self, key: str, code: str) -> Decimal:
        held = self._world.exchange.balances(api_key=key)[self._world.listings[code].instrument.base]
        return held.total * self._world.market.last_price(code)

    def _cost(self, key: str, code: str) -> Decimal:
        """Return the average price of what is held, sales taken off at it."""
        held = paid = _ZERO
        for fill in self._world.exchange.fills(api_key=key, venue_symbol=code):
            if fill.side is Side.BUY:
                held, paid = held + fill.quantity, paid + fill.quote_quantity
            elif held:
                paid -= paid / held * min(fill.quantity, held)
                held = max(held - fill.quantity, _ZERO)
        return paid / held if held else _ZERO

    # --- orders ---------------------------------------------------------------------------------------------

    def place(self, _connection: Connection, asked: Any, answer: Any) -> None:
        """Take an order; it is pushed before this is answered."""
        key, code = self._key(asked.header), f"{self._exchange.prefix}.{asked.code}"
        if asked.orderType not in (_NORMAL, _MARKET) or asked.timeInForce != _DAY:
            raise WireError("paper trading takes normal and market orders for the day alone")
        if len(asked.remark.encode()) > _REMARK_BYTES:
            raise WireError("the remark is longer than 64 bytes")
        price = self._on_steps(asked.price) if asked.orderType == _NORMAL else None
        order = self._world.exchange.place(
            api_key=key,
            order=NewOrder(
                venue_symbol=code,
                side=Side.BUY if asked.trdSide == _BUY else Side.SELL,
                order_type=OrderType.LIMIT if price is not None else OrderType.MARKET,
                time_in_force=TimeInForce.DAY if price is not None else TimeInForce.GTC,
                quantity=Decimal(repr(asked.qty)),
                price=price,
                client_order_id=asked.remark or None,
            ),
            now_ns=self._world.market.now_ns,
        )
        answer.header.CopyFrom(asked.header)
        answer.orderID, answer.orderIDEx = order.order_id, _name(order)

    def modify(self, _connection: Connection, asked: Any, answer: Any) -> None:
        """Cancel an order, or give it another price and whole quantity."""
        key = self._key(asked.header)
        if asked.modifyOrderOp not in (_NORMAL_CHANGE, _CANCEL) or asked.forAll:
            raise WireError("the simulated OpenD changes and cancels orders one by one, and nothing else")
        found = next((each for each in self._orders(key) if _name(each) == asked.orderIDEx), None)
        if found is None:
            raise Refused(Refusal.UNKNOWN_ORDER)
        which: dict[str, Any] = {"api_key": key, "venue_symbol": found.venue_symbol, "order_id": found.order_id}
        if asked.modifyOrderOp == _CANCEL:
            self._world.exchange.cancel(**which, now_ns=self._world.market.now_ns)
        else:
            price = self._on_steps(asked.price)
            self._world.exchange.modify(
                **which,
                price=price,
                quantity=Decimal(repr(asked.qty)),
                trigger_price=None,
                now_ns=self._world.market.now_ns,
            )
        answer.header.CopyFrom(asked.header)
        answer.orderID, answer.orderIDEx = found.order_id, _name(found)

    def _on_steps(self, price: float) -> Decimal:
        asked = Decimal(repr(price))
        if asked % spread_at(self._exchange.prefix.lower(), asked):
            raise WireError("the price is not a multiple of the price spread")
        return asked

    def orders(self, _connection: Connection, asked: Any, answer: Any) -> None:
        """List the orders of this trading day."""
        self._list(asked, answer, is_history=False)

    def history(self, _connection: Connection, asked: Any, answer: Any) -> None:
        """List the orders of other days."""
        self._list(asked, answer, is_history=True)

    def deals(self, _connection: Connection, _asked: Any, _answer: Any) -> None:
        """Refuse: nothing tells of a paper account's executions."""
        raise WireError("Simulated trade does not support deal list")

    def _list(self, asked: Any, answer: Any, *, is_history: bool) -> None:
        key, wanted = self._key(asked.header), asked.filterConditions
        answer.header.CopyFrom(asked.header)
        for order in self._orders(key):
            line = type(answer.orderList.add())()
            del answer.orderList[-1]
            self.write_order(line, order)
            if self._is_past(order) is not is_history:
                continue
            if wanted.orderIDExList and line.orderIDEx not in wanted.orderIDExList:
                continue
            if wanted.codeList and line.code not in wanted.codeList:
                continue
            if asked.filterStatusList and line.orderStatus not in asked.filterStatusList:
                continue
            answer.orderList.add().CopyFrom(line)

    def _orders(self, key: str) -> tuple[SimOrder, ...]:
        return self._world.exchange.all_orders(api_key=key)

    def _is_past(self, order: SimOrder) -> bool:
        calendar = self._world.listings[order.venue_symbol].calendar
        days = [trading_day(calendar, moment) for moment in (order.created_ns, self._world.market.now_ns - 1)]
        return not order.is_open and days[0] != days[1]

    # --- words ----------------------------------------------------------------------------------------------

    def write_header(self, header: Any, number: int) -> None:
        """Say whose orders a message is about."""
        header.trdEnv, header.accID, header.trdMarket = _SIMULATE, number, self._exchange.trade_market

    def write_order(self, line: Any, order: SimOrder) -> None:
        """Write an order as it is."""
        line.trdSide = _BUY if order.side is Side.BUY else _SELL
        line.orderType = _NORMAL if order.order_type is OrderType.LIMIT else _MARKET
        line.orderStatus = _STATUSES[order.status][bool(order.executed_quantity)]
        line.orderID, line.orderIDEx = order.order_id, _name(order)
        line.code, line.name = order.venue_symbol.partition(".")[2], order.venue_symbol
        line.secMarket, line.trdMarket = self._exchange.security_market, self._exchange.trade_market
        line.qty, line.price = float(order.quantity), float(order.price or _ZERO)
        line.createTime, line.updateTime = self._text(order.created_ns), self._text(order.updated_ns)
        line.createTimestamp, line.updateTimestamp = order.created_ns / NS_PER_S, order.updated_ns / NS_PER_S
        line.fillQty, line.fillAvgPrice = float(order.executed_quantity), float(order.average_price or _ZERO)
        line.remark, line.timeInForce = order.client_order_id.removeprefix(_UNNAMED + str(order.order_id)), _DAY
        line.lastErrMsg = "the trading day is over" if order.status is Status.EXPIRED else ""

    def _key(self, header: Any) -> str:
        key = self._numbers.get(header.accID)
        if key is None or header.trdEnv != _SIMULATE or header.trdMarket != self._exchange.trade_market:
            raise WireError(f"Nonexisting acc_id {header.accID} in this environment and market")
        return key

    def _text(self, time_ns: int) -> str:
        moment = datetime.datetime.fromtimestamp(time_ns // NS_PER_S, self._zone)
        return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ns // NS_PER_MS % 1000:03d}"


def _name(order: SimOrder) -> str:
    return f"{_PREFIX}{order.order_id:010d}"


Handler = Callable[[Trading, Connection, Any, Any], None]

TRADES: Mapping[int, tuple[str, Where, Handler]] = {
    2001: ("Trd_GetAccList", Where.ACCOUNT, Trading.accounts),
    2005: ("Trd_UnlockTrade", Where.ACCOUNT, Trading.unlock),
    2008: ("Trd_SubAccPush", Where.ACCOUNT, Trading.hear),
    2101: ("Trd_GetFunds", Where.ACCOUNT, Trading.funds),
    2102: ("Trd_GetPositionList", Where.ACCOUNT, Trading.positions),
    2201: ("Trd_GetOrderList", Where.QUERY, Trading.orders),
    2202: ("Trd_PlaceOrder", Where.PLACE, Trading.place),
    2205: ("Trd_ModifyOrder", Where.CANCEL, Trading.modify),
    2211: ("Trd_GetOrderFillList", Where.QUERY, Trading.deals),
    2221: ("Trd_GetHistoryOrderList", Where.QUERY, Trading.history),
}
"""By protocol id: its name, the class of the operation, who answers."""

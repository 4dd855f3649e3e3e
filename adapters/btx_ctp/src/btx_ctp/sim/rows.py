"""The structs a front sends, made of what the counter and the exchange have."""

from decimal import Decimal
from typing import Any

import attrs

from btx.model.order import PositionSide
from btx.sim.exchange import Listing
from btx.sim.market import PublicTrade
from btx.sim.orders import SimFill
from btx_ctp.sim.counter import Booked, Counter, Lot, stamp
from btx_ctp.sim.tables import CURRENCY, LEVERAGE, product_of

__all__ = (
    "Row",
    "Snapshot",
    "account",
    "commission",
    "instrument",
    "margin_rate",
    "order",
    "positions",
    "tick",
    "trade",
)

Row = tuple[str, dict[str, Any]]
BROKER = "9999"
_ECHOED = (
    *("InstrumentID", "OrderRef", "OrderPriceType", "Direction", "CombOffsetFlag", "CombHedgeFlag", "LimitPrice"),
    *("TimeCondition", "VolumeCondition", "MinVolume", "ContingentCondition", "OrderMemo"),
)
_RATE = 1 / LEVERAGE


def instrument(listing: Listing) -> Row:
    """Return a contract as ReqQryInstrument tells it."""
    symbol, product = listing.venue_symbol, product_of(listing.venue_symbol)
    month = symbol.removeprefix(product.name)
    last = stamp(listing.instrument.delivery_ns or 0)
    return "CThostFtdcInstrumentField", {
        "InstrumentID": symbol,
        "ExchangeInstID": symbol,
        "ExchangeID": product.exchange,
        "InstrumentName": symbol,
        "ProductID": product.name,
        "ProductClass": "1",
        "DeliveryYear": last.year,
        "DeliveryMonth": int(month[-2:]),
        "MaxLimitOrderVolume": 500,
        "MinLimitOrderVolume": 1,
        "MaxMarketOrderVolume": 0 if product.has_days else 30,
        "MinMarketOrderVolume": 1,
        "VolumeMultiple": product.multiplier,
        "PriceTick": float(product.tick),
        "ExpireDate": f"{last:%Y%m%d}",
        "InstLifePhase": "1",
        "IsTrading": 1,
        "PositionType": "2",
        "PositionDateType": "1" if product.has_days else "2",
        "LongMarginRatio": _RATE,
        "ShortMarginRatio": _RATE,
        "MaxMarginSideAlgorithm": "1",
    }


def margin_rate(symbol: str, user: str) -> Row:
    """Return what a contract's positions take as margin."""
    return "CThostFtdcInstrumentMarginRateField", {
        "InstrumentID": symbol,
        "InvestorRange": "3",
        "BrokerID": BROKER,
        "InvestorID": user,
        "HedgeFlag": "1",
        "ExchangeID": product_of(symbol).exchange,
        "LongMarginRatioByMoney": _RATE,
        "ShortMarginRatioByMoney": _RATE,
    }


def commission(listing: Listing, user: str) -> Row:
    """Return what trading a contract costs; it is told of the product."""
    rate = float(listing.fees.taker)
    return "CThostFtdcInstrumentCommissionRateField", {
        "InstrumentID": product_of(listing.venue_symbol).name,
        "InvestorRange": "3",
        "BrokerID": BROKER,
        "InvestorID": user,
        "OpenRatioByMoney": rate,
        "CloseRatioByMoney": rate,
        "CloseTodayRatioByMoney": rate,
    }


def account(counter: Counter, key: str, user: str) -> Row:
    """Return the money of an account: balance is with what positions would bring at the last prices."""
    view = counter.world.margin.wallet(api_key=key, asset=CURRENCY)
    profit = counter.unrealised(key)
    return "CThostFtdcTradingAccountField", {
        "BrokerID": BROKER,
        "AccountID": user,
        "CurrencyID": CURRENCY,
        "TradingDay": counter.day,
        "CurrMargin": float(view.position_margin),
        "FrozenMargin": float(view.order_margin),
        "PositionProfit": float(profit),
        "Balance": float(view.wallet + profit),
        "Available": float(view.wallet + profit - view.position_margin - view.order_margin),
    }


def positions(counter: Counter, key: str, user: str) -> list[Row]:
    """Return the rows of an account's positions: at SHFE and INE one of today and one of before, of each side."""
    rows: list[Row] = []
    for held in counter.world.margin.positions(api_key=key):
        symbol, side = held.venue_symbol, held.position_side
        lot, frozen = counter.lot(key, symbol, side), counter.frozen(key, symbol, side)
        product = product_of(symbol)
        price = held.entry_price * product.multiplier
        parts = [lot]
        if product.has_days:
            parts = [Lot(today=lot.today), Lot(yesterday=lot.yesterday)]
        profit_each = (counter.world.market.last_price(symbol) - held.entry_price) * product.multiplier
        sign = 1 if side is PositionSide.LONG else -1
        for part in parts:
            if not part.total:
                continue
            is_history = product.has_days and not part.today
            rows.append(
                (
                    "CThostFtdcInvestorPositionField",
                    {
                        "InstrumentID": symbol,
                        "BrokerID": BROKER,
                        "InvestorID": user,
                        "ExchangeID": product.exchange,
                        "PosiDirection": "2" if side is PositionSide.LONG else "3",
                        "HedgeFlag": "1",
                        "PositionDate": "2" if is_history else "1",
                        "YdPosition": int(part.yesterday),
                        "TodayPosition": int(part.today),
                        "Position": int(part.total),
                        "LongFrozen": int(_frozen(part, frozen)) if side is PositionSide.SHORT else 0,
                        "ShortFrozen": int(_frozen(part, frozen)) if side is PositionSide.LONG else 0,
                        "OpenCost": float(part.total * price),
                        "PositionCost": float(part.total * price),
                        "PositionProfit": float(sign * part.total * profit_each),
                        "UseMargin": float(part.total * price) * _RATE,
                        "TradingDay": counter.day,
                        "SettlementPrice": float(counter.world.market.last_price(symbol)),
                        "PreSettlementPrice": float(counter.settlement(symbol)),
                    },
                )
            )
    return rows


def _frozen(part: Lot, frozen: Lot) -> Decimal:
    return (frozen.today if part.today else Decimal(0)) + (frozen.yesterday if part.yesterday else Decimal(0))


def order(counter: Counter, booked: Booked, user: str) -> Row:
    """Return an order as it is now."""
    status, submit, message = counter.status(booked)
    asked, made = booked.request, booked.order
    volume = int(asked["VolumeTotalOriginal"])
    traded = int(made.executed_quantity) if made is not None else 0
    at = stamp(booked.time_ns)
    fields: dict[str, Any] = {name: asked[name] for name in _ECHOED if name in asked}
    return "CThostFtdcOrderField", {
        **fields,
        "BrokerID": BROKER,
        "InvestorID": user,
        "UserID": user,
        "ExchangeID": product_of(str(asked["InstrumentID"])).exchange,
        "VolumeTotalOriginal": volume,
        "VolumeTraded": traded,
        "VolumeTotal": volume - traded,
        "OrderStatus": status,
        "OrderSubmitStatus": submit,
        "StatusMsg": message,
        "OrderSysID": booked.sys_id,
        "OrderLocalID": f"{booked.number:>12d}",
        "FrontID": booked.front_id,
        "SessionID": booked.session_id,
        "TradingDay": booked.day,
        "InsertDate": f"{at:%Y%m%d}",
        "InsertTime": f"{at:%H:%M:%S}",
        "BrokerOrderSeq": booked.number,
    }


def trade(booked: Booked, fill: SimFill, user: str) -> Row:
    """Return an execution; who reads it finds its order by exchange and OrderSysID."""
    at = stamp(fill.time_ns)
    return "CThostFtdcTradeField", {
        "BrokerID": BROKER,
        "InvestorID": user,
        "UserID": user,
        "InstrumentID": fill.venue_symbol,
        "ExchangeInstID": fill.venue_symbol,
        "ExchangeID": product_of(fill.venue_symbol).exchange,
        "OrderRef": booked.triple[2],
        "OrderSysID": booked.sys_id,
        "TradeID": f"{fill.trade_id:>12d}",
        "Direction": booked.request.get("Direction", "0"),
        "OffsetFlag": str(booked.request.get("CombOffsetFlag", "0"))[:1],
        "HedgeFlag": "1",
        "Price": float(fill.price),
        "Volume": int(fill.quantity),
        "TradeDate": f"{at:%Y%m%d}",
        "TradeTime": f"{at:%H:%M:%S}",
        "TradingDay": booked.day,
        "BrokerOrderSeq": booked.number,
    }


@attrs.define(kw_only=True)
class Snapshot:
    """What has traded of a contract in its trading day."""

    symbol: str
    day: str
    open: Decimal
    high: Decimal
    low: Decimal
    last: Decimal
    volume: Decimal
    turnover: Decimal
    time_ns: int

    def take(self, trade: PublicTrade) -> None:
        """Count a print."""
        self.high, self.low = max(self.high, trade.price), min(self.low, trade.price)
        self.last, self.time_ns = trade.price, trade.time_ns
        self.volume += trade.quantity
        self.turnover += trade.quantity * trade.price * product_of(self.symbol).multiplier


def tick(counter: Counter, shown: Snapshot, *, time_ns: int) -> Row:
    """Return a contract's snapshot as it is sent at a time; volume and turnover are of the trading day."""
    symbol, product = shown.symbol, product_of(shown.symbol)
    quote, at = counter.world.market.quote(symbol), stamp(time_ns)
    low, high = counter.limits(symbol)
    natural = f"{at:%Y%m%d}"
    return "CThostFtdcDepthMarketDataField", {
        "TradingDay": natural if product.exchange == "CZCE" else shown.day,
        "InstrumentID": symbol,
        "ExchangeID": product.exchange if product.exchange == "CZCE" else "",
        "LastPrice": float(shown.last),
        "PreSettlementPrice": float(counter.settlement(symbol)),
        "OpenPrice": float(shown.open),
        "HighestPrice": float(shown.high),
        "LowestPrice": float(shown.low),
        "Volume": int(shown.volume),
        "Turnover": float(shown.turnover),
        "UpperLimitPrice": float(high),
        "LowerLimitPrice": float(low),
        "UpdateTime": f"{at:%H:%M:%S}",
        "UpdateMillisec": time_ns // 500_000_000 % 2 * 500,
        "BidPrice1": float(quote.bid_price),
        "BidVolume1": int(quote.bid_quantity),
        "AskPrice1": float(quote.ask_price),
        "AskVolume1": int(quote.ask_quantity),
        "ActionDay": shown.day if product.exchange == "DCE" else natural,
    }

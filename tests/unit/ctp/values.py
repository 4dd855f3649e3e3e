"""What the tests of CTP's adapter are made of: a contract, rows as the binding's structs say them, and orders."""

from decimal import Decimal
from typing import Any

from btx.model.instrument import Instrument
from btx.model.order import Leg, Offset, OrderRequest, OrderType, Side
from btx_ctp import codec

CONTRACT: dict[str, Any] = {
    "InstrumentID": "rb2601",
    "ExchangeID": "SHFE",
    "ProductID": "rb",
    "ProductClass": "1",
    "VolumeMultiple": 10,
    "PriceTick": 1.0,
    "ExpireDate": "20260115",
    "MaxLimitOrderVolume": 500,
    "MinLimitOrderVolume": 1,
    "IsTrading": 1,
    "LongMarginRatio": 0.13,
    "ShortMarginRatio": 0.13,
}
ORDER: dict[str, Any] = {
    "InstrumentID": "rb2601",
    "ExchangeID": "SHFE",
    "OrderRef": "  7 ",
    "OrderSysID": "       42",
    "OrderMemo": "a1",
    "FrontID": 1,
    "SessionID": -9,
    "Direction": "0",
    "CombOffsetFlag": "0",
    "OrderPriceType": "2",
    "LimitPrice": 3000.0,
    "VolumeTotalOriginal": 4,
    "VolumeTraded": 0,
    "TimeCondition": "3",
    "OrderStatus": "3",
    "OrderSubmitStatus": "3",
    "StatusMsg": "",
    "TradingDay": "20251103",
    "InsertTime": "09:00:01",
}
TRADE: dict[str, Any] = {
    "InstrumentID": "rb2601",
    "ExchangeID": "SHFE",
    "OrderSysID": "       42",
    "OrderRef": "7",
    "TradeID": "      9001",
    "Direction": "1",
    "OffsetFlag": "3",
    "Price": 3001.0,
    "Volume": 2,
    "TradingDay": "20251103",
    "TradeTime": "09:00:02",
}


def contract(**changes: Any) -> Instrument:
    made = codec.instrument(CONTRACT | changes)
    assert made is not None
    return made


def request(**changes: Any) -> OrderRequest:
    whole: dict[str, Any] = {
        "instrument": contract(),
        "side": Side.SELL,
        "order_type": OrderType.LIMIT,
        "quantity": Decimal(5),
        "price": Decimal(3000),
        "signal_ns": 0,
    }
    if (changed := whole | changes)["order_type"] is OrderType.MARKET:
        changed["price"] = None
    return OrderRequest(**changed)


def leg(offset: Offset = Offset.OPEN, **changes: Any) -> Leg:
    asked = request(**changes)
    return Leg(client_order_id="a1", request=asked, quantity=asked.quantity, offset=offset)

"""The callbacks: on threads of the vendor's library, so they copy, hand over to the loop, and return.

The structs that a callback is given are gone when it returns, and an exception in it is printed by the binding and
swallowed: each is caught here, and handed over like news.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ("FAULT", "Hear", "Row", "spi_of")

Row = Mapping[str, Any]
Hear = Callable[[str, tuple[Any, ...]], None]
"""Gets the name of a callback and its arguments, structs as their fields. On the loop."""

FAULT = "fault"
"""The name under which is told that a callback could not be read."""

_CONNECTION = ("OnFrontConnected", "OnFrontDisconnected", "OnRspError", "OnRspUserLogin")
_CALLBACKS = {
    "Trader": (
        *_CONNECTION,
        *("OnRspAuthenticate", "OnRspSettlementInfoConfirm", "OnRspOrderInsert", "OnRspOrderAction"),
        *("OnErrRtnOrderInsert", "OnErrRtnOrderAction", "OnRtnOrder", "OnRtnTrade", "OnRtnTradingNotice"),
        *("OnRspQryInstrument", "OnRspQryTradingAccount", "OnRspQryInvestorPosition", "OnRspQryOrder"),
        *("OnRspQryTrade", "OnRspQryInstrumentCommissionRate", "OnRspQryDepthMarketData"),
    ),
    "Md": (*_CONNECTION, "OnRspSubMarketData", "OnRspUnSubMarketData", "OnRtnDepthMarketData"),
}
_TICK = (
    *("TradingDay", "InstrumentID", "LastPrice", "Volume", "Turnover", "UpdateTime", "UpdateMillisec"),
    *("BidPrice1", "BidVolume1", "AskPrice1", "AskVolume1", "UpperLimitPrice", "LowerLimitPrice"),
)
_FIELDS = {
    "CThostFtdcRspInfoField": ("ErrorID", "ErrorMsg"),
    "CThostFtdcRspUserLoginField": ("TradingDay", "FrontID", "SessionID", "MaxOrderRef"),
    "CThostFtdcRspAuthenticateField": (),
    "CThostFtdcSettlementInfoConfirmField": (),
    "CThostFtdcInputOrderField": ("InstrumentID", "OrderRef", "OrderMemo"),
    "CThostFtdcInputOrderActionField": ("InstrumentID", "OrderRef", "FrontID", "SessionID", "OrderSysID"),
    "CThostFtdcOrderActionField": ("InstrumentID", "OrderRef", "FrontID", "SessionID", "OrderSysID"),
    "CThostFtdcOrderField": (
        *("InstrumentID", "ExchangeID", "OrderRef", "OrderSysID", "OrderMemo", "FrontID", "SessionID", "Direction"),
        *("CombOffsetFlag", "OrderPriceType", "LimitPrice", "VolumeTotalOriginal", "VolumeTraded", "TimeCondition"),
        *("OrderStatus", "OrderSubmitStatus", "StatusMsg", "TradingDay", "InsertTime"),
    ),
    "CThostFtdcTradeField": (
        *("InstrumentID", "ExchangeID", "OrderSysID", "OrderRef", "TradeID", "Direction", "OffsetFlag", "Price"),
        *("Volume", "TradingDay", "TradeTime"),
    ),
    "CThostFtdcTradingNoticeInfoField": ("FieldContent", "SequenceNo"),
    "CThostFtdcInstrumentField": (
        *("InstrumentID", "ExchangeID", "ProductID", "ProductClass", "VolumeMultiple", "PriceTick", "ExpireDate"),
        *("MaxLimitOrderVolume", "MinLimitOrderVolume", "IsTrading", "LongMarginRatio", "ShortMarginRatio"),
    ),
    "CThostFtdcTradingAccountField": ("Balance", "PositionProfit", "CurrencyID"),
    "CThostFtdcInvestorPositionField": (
        *("InstrumentID", "ExchangeID", "PosiDirection", "PositionDate", "Position", "TodayPosition", "OpenCost"),
        "PositionCost",
    ),
    "CThostFtdcInstrumentCommissionRateField": (
        *("InstrumentID", "OpenRatioByMoney", "OpenRatioByVolume", "CloseRatioByMoney", "CloseRatioByVolume"),
        *("CloseTodayRatioByMoney", "CloseTodayRatioByVolume"),
    ),
    "CThostFtdcDepthMarketDataField": _TICK,
    "CThostFtdcSpecificInstrumentField": ("InstrumentID",),
}


def spi_of(module: Any, kind: str, loop: asyncio.AbstractEventLoop, hear: Hear) -> Any:
    """Return an SPI object of the binding's that hands everything over to ``hear``, on the loop."""

    def hand_over(name: str, args: tuple[Any, ...]) -> None:
        try:
            copied = tuple(_copied(each) for each in args)
        except Exception as error:  # noqa: BLE001 -- whatever broke: nobody else would hear of it
            name, copied = FAULT, (f"{name}: {type(error).__name__}: {error}",)
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            loop.call_soon_threadsafe(hear, name, copied)

    def callback(name: str) -> Callable[..., None]:
        return lambda _self, *args: hand_over(name, args)

    base = getattr(module, f"CThostFtdc{kind}Spi")
    return type(f"Btx{kind}Spi", (base,), {name: callback(name) for name in _CALLBACKS[kind]})()


def _copied(value: Any) -> Any:
    """Return what a struct says in the fields that are read here; anything else as it is."""
    fields = _FIELDS.get(type(value).__name__)
    return {name: getattr(value, name) for name in fields} if fields is not None else value

"""A library of a few lines in the vendor's place, for connections for prices."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import attrs

from btx_ctp.config import Login

__all__ = (
    "LOGIN",
    "CThostFtdcRspInfoField",
    "CThostFtdcSpecificInstrumentField",
    "Library",
    "answers",
    "binding",
    "tick",
)

LOGIN = Login(
    user="me",
    password="x",
    broker_id="9999",
    trading_front="tcp://127.0.0.1:1",
    market_front="tcp://127.0.0.1:2",
    app_id="",
    auth_code="",
    is_production=True,
    answer_s=60.0,
)


@attrs.define(slots=False)
class CThostFtdcSpecificInstrumentField:
    InstrumentID: str


@attrs.define(slots=False)
class CThostFtdcRspInfoField:
    ErrorID: int
    ErrorMsg: str = ""


class CThostFtdcDepthMarketDataField(SimpleNamespace):
    """A tick."""


def tick(time: str, volume: int) -> CThostFtdcDepthMarketDataField:
    """Return a tick of rb2601 at 3,000 yuan, of a Monday's morning; ``volume`` is the day's."""
    return CThostFtdcDepthMarketDataField(
        TradingDay="20251103",
        InstrumentID="rb2601",
        LastPrice=3000.0,
        Volume=volume,
        Turnover=volume * 30_000.0,
        UpdateTime=time,
        UpdateMillisec=0,
        BidPrice1=2999.0,
        BidVolume1=1,
        AskPrice1=3001.0,
        AskVolume1=1,
        UpperLimitPrice=3300.0,
        LowerLimitPrice=2700.0,
    )


def answers(**errors: int) -> Callable[[Any, list[str]], None]:
    """Answer for each contract, with these ErrorIDs and zero for the rest."""

    def answer(spi: Any, names: list[str]) -> None:
        for name in names:
            info = CThostFtdcRspInfoField(errors.get(name, 0))
            spi.OnRspSubMarketData(CThostFtdcSpecificInstrumentField(name), info, 0, name == names[-1])

    return answer


class Library:
    """An API object: it lets everybody in, and answers a subscription as the test says."""

    def __init__(self, answer: Callable[[Any, list[str]], None]) -> None:
        self.spi: Any = None
        self.asked: list[str] = []
        self._answer = answer

    def RegisterSpi(self, spi: Any) -> None:  # noqa: N802
        self.spi = spi

    def RegisterFront(self, address: str) -> None:  # noqa: N802
        pass

    def Init(self) -> None:  # noqa: N802
        self.spi.OnFrontConnected()

    def Release(self) -> None:  # noqa: N802
        pass

    def ReqUserLogin(self, _request: Any, number: int) -> int:  # noqa: N802
        self.spi.OnRspUserLogin(None, CThostFtdcRspInfoField(0), number, True)
        return 0

    def SubscribeMarketData(self, names: list[bytes], count: int) -> int:  # noqa: N802
        self.asked = [each.decode() for each in names[:count]]
        self._answer(self.spi, self.asked)
        return 0

    def UnSubscribeMarketData(self, _names: list[bytes], _count: int) -> int:  # noqa: N802
        return 0


def binding(*libraries: Library) -> Any:
    """Return the package ``openctp_ctp`` as far as it is asked for: it makes these API objects, one after the other."""
    made = iter(libraries)
    return SimpleNamespace(
        mdapi=SimpleNamespace(
            CThostFtdcMdSpi=type("CThostFtdcMdSpi", (), {}),
            CThostFtdcMdApi=SimpleNamespace(CreateFtdcMdApi=lambda *_: next(made)),
            CThostFtdcReqUserLoginField=SimpleNamespace,
        )
    )

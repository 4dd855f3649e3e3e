"""The connection for orders, through a library of a few lines in the vendor's place."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from btx.errors import TransportError
from btx_ctp.front import TradingFront
from tests.unit.ctp.library import LOGIN, CThostFtdcRspInfoField


class CThostFtdcRspUserLoginField(SimpleNamespace):
    """Who one is, once one is in."""


class Forgetful:
    """An API object: it lets everybody in, and knows nobody at the first question."""

    def __init__(self, error_id: int) -> None:
        self.spi: Any = None
        self._error_id = error_id

    def RegisterSpi(self, spi: Any) -> None:  # noqa: N802
        self.spi = spi

    def RegisterFront(self, address: str) -> None:  # noqa: N802
        pass

    def SubscribePrivateTopic(self, resume: int) -> None:  # noqa: N802
        pass

    def SubscribePublicTopic(self, resume: int) -> None:  # noqa: N802
        pass

    def Init(self) -> None:  # noqa: N802
        self.spi.OnFrontConnected()

    def Release(self) -> None:  # noqa: N802
        pass

    def ReqUserLogin(self, _request: Any, number: int) -> int:  # noqa: N802
        told = CThostFtdcRspUserLoginField(TradingDay="20251103", FrontID=1, SessionID=-77, MaxOrderRef="1")
        self.spi.OnRspUserLogin(told, CThostFtdcRspInfoField(0), number, True)
        return 0

    def ReqSettlementInfoConfirm(self, _request: Any, number: int) -> int:  # noqa: N802
        self.spi.OnRspSettlementInfoConfirm(None, CThostFtdcRspInfoField(0), number, True)
        return 0

    def ReqQryOrder(self, _request: Any, number: int) -> int:  # noqa: N802
        self.spi.OnRspError(CThostFtdcRspInfoField(self._error_id), number, True)
        return 0


def asked(error_id: int) -> tuple[TransportError, bool]:
    """Ask a front for the orders that answers with an error; return what was raised, and whether it still stands."""
    tdapi = SimpleNamespace(
        CThostFtdcTraderSpi=type("CThostFtdcTraderSpi", (), {}),
        CThostFtdcTraderApi=SimpleNamespace(CreateFtdcTraderApi=lambda *_: Forgetful(error_id)),
        CThostFtdcReqUserLoginField=SimpleNamespace,
        CThostFtdcSettlementInfoConfirmField=SimpleNamespace,
        CThostFtdcQryOrderField=SimpleNamespace,
    )

    async def main() -> tuple[TransportError, bool]:
        binding = SimpleNamespace(tdapi=tdapi)
        front = TradingFront(binding, LOGIN, hear=lambda _name, _args: None, on_fault=pytest.fail)
        try:
            await front.log_in()
            with pytest.raises(TransportError) as caught:
                await front.query("Order", what="the orders", InstrumentID="")
            return caught.value, front.is_up
        finally:
            await front.close()

    return asyncio.run(main())


@pytest.mark.parametrize(("error_id", "stands"), [(6, False), (8, True)])
def test_a_front_that_has_forgotten_the_login_is_lost_so_that_it_is_dialled_again(
    error_id: int, *, stands: bool
) -> None:
    error, is_up = asked(error_id)

    assert f"({error_id} " in str(error)
    assert is_up is stands

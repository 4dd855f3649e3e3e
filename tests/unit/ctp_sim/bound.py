"""The real binding before a front of a few lines: ``bound.py``; prints what was seen as one JSON object."""

import asyncio
import json
import sys
import threading
from typing import Any

from btx_ctp.locale import gb18030
from btx_ctp.sim import dropin
from btx_ctp.sim.wire import callback_line, hello_line, parse

DEADLINE_S = 60.0
LOGIN = {"TradingDay": "20251103", "FrontID": 1, "SessionID": -77, "MaxOrderRef": "1"}


class Front:
    """Answers a login and one kind of order; what it is asked for otherwise it keeps."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.port = 0
        self._ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        assert self._ready.wait(DEADLINE_S)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await server.serve_forever()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(hello_line(query_frequency=2, package_frequency=6))
        waiting: list[int] = []
        async for line in reader:
            said = parse(line)
            self.heard.append(said)
            if said["call"] == "ReqUserLogin":
                info = ("CThostFtdcRspInfoField", {"ErrorMsg": "\u6b63\u786e"})
                told = ("CThostFtdcRspUserLoginField", LOGIN)
                writer.write(callback_line("OnRspUserLogin", told, info, said["id"], True))
            elif said["call"] == "ReqQryOrder":
                waiting.append(said["id"])
            elif said["call"] == "ReqSettlementInfoConfirm":  # now it may answer
                writer.write(callback_line("OnRspQryOrder", None, None, waiting.pop(), True))
            elif said["call"] == "ReqOrderInsert":
                order = ("CThostFtdcOrderField", {"OrderMemo": "a1", "LimitPrice": 3.5})
                writer.write(callback_line("OnRtnOrder", order))
                writer.write(b"what nobody can read\n")


def main() -> None:
    """Load the binding, trade a little, and say what was seen."""
    with gb18030():
        import openctp_ctp
        from openctp_ctp import tdapi
    before = dropin.is_installed()
    dropin.install(openctp_ctp, clock_s=lambda: 0.0)  # all of it happens within a second
    dropin.install(openctp_ctp)
    front, news, seen = Front(), threading.Event(), dict[str, Any]()
    kept: list[Any] = []

    class Spi(tdapi.CThostFtdcTraderSpi):  # type: ignore[misc]
        def OnFrontConnected(self) -> None:  # noqa: N802
            seen["thread"] = threading.current_thread().name
            news.set()

        def OnFrontDisconnected(self, reason: int) -> None:  # noqa: N802
            seen["reason"] = reason
            news.set()

        def OnRspUserLogin(self, told: Any, info: Any, request_id: int, is_last: bool) -> None:  # noqa: N802
            seen["login"] = [told.SessionID, info.ErrorMsg, request_id, is_last]
            news.set()

        def OnRspQryOrder(self, told: Any, info: Any, request_id: int, is_last: bool) -> None:  # noqa: N802
            seen["rows"] = [told, info, request_id, is_last]
            news.set()

        def OnRtnOrder(self, told: Any) -> None:  # noqa: N802
            seen["order"] = [told.OrderMemo, told.LimitPrice]
            kept.append(told)

    def await_news() -> None:
        assert news.wait(DEADLINE_S)
        news.clear()

    api = tdapi.CThostFtdcTraderApi.CreateFtdcTraderApi(f"{sys.argv[1]}/", True)
    spi = Spi()
    login, query = tdapi.CThostFtdcReqUserLoginField(), tdapi.CThostFtdcQryOrderField()
    seen["before"] = [before, dropin.is_installed(), api.ReqUserLogin(login, 1)]
    api.RegisterSpi(spi)
    api.RegisterFront(f"tcp://127.0.0.1:{front.port}")
    api.SubscribePrivateTopic(2)
    api.Init()
    await_news()
    login.UserID = "me"
    api.ReqUserLogin(login, 7)
    await_news()
    limits = tdapi.CThostFtdcFrontInfoField()
    api.GetFrontInfo(limits)
    seen["limits"] = [limits.QryFreq, limits.FTDPkgFreq, limits.FrontAddr == f"tcp://127.0.0.1:{front.port}"]
    seen["day"] = api.GetTradingDay()
    confirm = tdapi.CThostFtdcSettlementInfoConfirmField()
    seen["queries"] = [api.ReqQryOrder(query, 8), api.ReqQryOrder(query, 9)]
    api.ReqSettlementInfoConfirm(confirm, 20)
    await_news()
    seen["queries"].append(api.ReqQryOrder(query, 10))
    api.ReqSettlementInfoConfirm(confirm, 21)
    await_news()
    seen["queries"].append(api.ReqQryOrder(query, 11))
    order = tdapi.CThostFtdcInputOrderField()
    order.OrderMemo, order.LimitPrice = "a1", 3.5
    api.ReqOrderInsert(order, 12)
    await_news()
    seen["kept"] = kept[0].OrderMemo
    seen["heard"] = [said["request"] for said in front.heard if said["call"] in {"ReqUserLogin", "ReqOrderInsert"}]
    api.RegisterSpi(None)
    api.Release()
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()

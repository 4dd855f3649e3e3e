"""Faults strike the futures' requests by the same names as spot's."""

import json
from typing import Any

import aiohttp
import pytest

from btx.sim.faults import Fault, FaultScript, Kind, Where, script_to_json
from btx_binance.sim.faults import operation_of
from btx_binance.sim.futures.calls import calls
from btx_binance.sim.futures.market import COINM, USDM
from btx_binance.sim.futures.protocol import Protocol
from tests.unit.binance_sim.futures.served import Futures, play

CLASSES = {
    Where.PLACE: {"POST order", "PUT order", "POST batchOrders", "PUT batchOrders", "POST algoOrder"},
    Where.CANCEL: {"DELETE order", "DELETE batchOrders", "DELETE allOpenOrders", "DELETE algoOrder",
                   "DELETE algoOpenOrders"},
    Where.QUERY: {"GET order", "GET openOrder", "GET openOrders", "GET allOrders", "GET userTrades",
                  "GET orderAmendment", "GET forceOrders", "GET algoOrder", "GET openAlgoOrders", "GET allAlgoOrders",
                  "POST order/test"},
}  # fmt: skip


@pytest.mark.parametrize("dialect", [USDM, COINM])
def test_each_request_belongs_to_the_class_of_what_it_does(dialect: Any) -> None:
    found: dict[Where, set[str]] = {}
    for call in calls(dialect, Protocol()):
        verb, path = call.rest or ("", "")
        if path.startswith(f"{dialect.prefix}/v1/"):
            found.setdefault(operation_of(call), set()).add(f"{verb} {path.removeprefix(f'{dialect.prefix}/v1/')}")

    assert {where: found[where] for where in CLASSES} == CLASSES
    assert {"POST leverage", "POST positionSide/dual", "POST countdownCancelAll"} <= found[Where.ACCOUNT]
    assert {"GET exchangeInfo", "GET premiumIndex"} <= found[Where.MARKET]


def test_an_order_may_be_done_although_its_answer_says_otherwise_or_is_lost() -> None:
    faults = (
        Fault(kind=Kind.ERROR_AFTER, where=Where.PLACE, at=1),
        Fault(kind=Kind.LOSE, where=Where.PLACE, at=2),
        Fault(kind=Kind.RATE_LIMIT, where=Where.PLACE, at=3, for_s=1),
        Fault(kind=Kind.ERROR_BEFORE, where=Where.CANCEL, at=1),
    )

    async def scene(venue: Futures) -> Any:
        await venue.do("faults", script=json.loads(script_to_json(FaultScript(faults=faults))))
        after = await venue.answer("POST", "order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.1")
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
            await venue.stop(triggerPrice=await venue.level("0.9"))
        cancel = await venue.answer("DELETE", "algoOpenOrders", symbol="BTCUSDT")
        orders = await venue.call("GET", "allOrders", symbol="BTCUSDT")
        waiting = await venue.call("GET", "openAlgoOrders")
        status, body, headers = await venue.answer("POST", "order", symbol="BTCUSDT", side="BUY", type="MARKET")
        return after[:2], (status, body["code"], headers["Retry-After"]), cancel[0], len(orders), len(waiting)

    after, limited, cancel, orders, waiting = play(scene)

    assert (after[0], after[1]["code"]) == (408, -1007)
    assert (limited, cancel, orders, waiting) == ((429, -1003, "1"), 503, 1, 1)


def test_signatures_keys_and_windows_are_looked_at_as_at_spot() -> None:
    async def scene(venue: Futures) -> Any:
        late = await venue.call("GET", "openOrders", timestamp=venue.clock.now_ns // 10**6 - 60_000)
        key = {"X-MBX-APIKEY": "alice"}
        forged = await venue.ask("GET", "/fapi/v1/openOrders", {"timestamp": 1, "signature": "00"}, headers=key)
        unknown = await venue.ask("GET", "/fapi/v1/openOrders", headers={"X-MBX-APIKEY": "eve"})
        keyless = await venue.ask("GET", "/fapi/v1/historicalTrades", {"symbol": "BTCUSDT"})
        return [late["code"], forged[1]["code"], unknown[1]["code"], keyless[1]["code"]]

    assert play(scene) == [-1021, -1021, -2015, -2014]

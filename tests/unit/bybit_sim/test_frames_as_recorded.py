"""The keys of the simulator's frames against frames recorded at the venue, and those other people's tests show."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.bybit_sim.served import served
from tests.unit.bybit_sim.test_private import place

_ACCOUNT = {
    "spot": ("order", "execution", "wallet"),
    "linear": ("order", "execution", "wallet", "position", "execution.fast"),
}
# Of later than the example is.
_NEWER = {
    "publicTrade": {"RPI", "seq"},
    "order": {
        "closedPnl",
        "createType",
        "cumFeeDetail",
        "isLeverage",
        "marketUnit",
        "slippageTolerance",
        "slippageToleranceType",
    },
    "execution.fast": {"isMaker"},
    "execution": {"createType", "execPnl", "extraFees", "feeCurrency"},
    "position": {"breakEvenPrice", "positionIMByMp", "positionMMByMp"},
    "wallet": {
        "accountIMRateByMp",
        "accountMMRateByMp",
        "totalInitialMarginByMp",
        "totalMaintenanceMarginByMp",
    },
}


@pytest.fixture(scope="module")
def told() -> dict[tuple[str, str], Any]:
    """The first frame of each topic of markets that run, by the market and the topic without its symbol."""
    return {(market, topic): frame for market in _ACCOUNT for topic, frame in asyncio.run(heard(market)).items()}


async def heard(market: str) -> dict[str, Any]:
    frames: dict[str, Any] = {}
    async with (
        served(market, speed=60.0) as client,
        client.socket(f"/v5/public/{market}") as public,
        client.account(*_ACCOUNT[market]) as private,
    ):
        topics = [f"{name}.BTCUSDT" for name in ("orderbook.50", "publicTrade", "kline.1", "tickers")]
        await public.say(op="subscribe", args=topics)
        place(client)
        for socket, count in ((public, len(topics)), (private, len(_ACCOUNT[market]))):
            known = len(frames)
            while len(frames) < known + count:
                frame = await socket.hear()
                if "topic" in frame:
                    frames.setdefault(frame["topic"].removesuffix(".BTCUSDT"), frame)
    return frames


def row_of(frame: Any) -> Any:
    data = frame["data"]
    return data[0] if isinstance(data, list) else data


def first_line(path: Path) -> Any:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        line = json.loads(next(lines))
    return line.get("msg", line)


@pytest.mark.parametrize(
    ("market", "topic", "name"),
    [
        ("linear", "tickers", "wire/bybit_v5_linear_BTCUSDT_tickers_2026-09-30_excerpt.jsonl"),
        ("linear", "orderbook.50", "wire/bybit_v5_linear_XRPUSDT_ob500_2024-12-01.jsonl.gz"),
        ("spot", "orderbook.50", "wire/bybit_v5_spot_BTCUSDT_ob50_2024-11-08.jsonl"),
        ("spot", "order", "userdata/bybit_v5_spot_order_filled_FOK.jsonl"),
    ],
)
def test_frames_have_exactly_the_keys_of_recorded_ones(
    told: dict[tuple[str, str], Any], btx_data: Path, market: str, topic: str, name: str
) -> None:
    ours, theirs = told[market, topic], first_line(btx_data / name)

    assert ours.keys() == theirs.keys()
    assert row_of(ours).keys() == row_of(theirs).keys()


@pytest.mark.parametrize(
    ("market", "topic", "name"),
    [
        ("spot", "tickers", "V5/Spot/Ticker"),
        ("linear", "publicTrade", "V5/Linear/Trades"),
        ("linear", "kline.1", "V5/Option/Klines"),
        ("linear", "order", "V5/Private/Order"),
        ("linear", "execution", "V5/Private/UserTrades"),
        ("linear", "execution.fast", "V5/Private/MinimalUserTrades"),
        ("linear", "position", "V5/Private/Position"),
        ("linear", "wallet", "V5/Private/Balance"),
    ],
)
def test_frames_have_the_keys_of_the_manual_s_examples_and_those_that_came_later(
    told: dict[tuple[str, str], Any], btx_data: Path, market: str, topic: str, name: str
) -> None:
    lines = (
        gzip.decompress((btx_data / "docs_examples/bybit_v5_rest_ws_examples.jsonl.gz").read_bytes())
        .decode()
        .splitlines()
    )
    [script] = [each["script"] for each in map(json.loads, lines) if each["name"] == name]
    ours, theirs = told[market, topic], json.loads(script.rpartition("\n=")[2])

    assert ours.keys() == theirs.keys()
    assert row_of(ours).keys() == row_of(theirs).keys() | _NEWER.get(topic, set())

"""The simulated venue's public files: months that are over, as the venue zips them."""

import asyncio
import csv
import hashlib
import io
import json
import zipfile
from typing import Any

import pytest

from btx.model.time import NS_PER_DAY, NS_PER_MINUTE
from tests.unit.binance_sim.served import Client, served

FOLDER = "/data/spot/monthly/klines/BTCUSDT"
MAY = 1_746_057_600_000_000_000  # 2025-05-01
DECEMBER = 1_733_011_200_000_000_000  # 2024-12-01


async def fetch(client: Client, path: str) -> tuple[int, bytes]:
    async with client.http.get(f"{client.endpoints.extra['archive']}{path}") as answer:  # type: ignore[attr-defined]
        return answer.status, await answer.read()


def rows(data: bytes, name: str) -> list[list[str]]:
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        assert zipped.namelist() == [name]
        return list(csv.reader(io.StringIO(zipped.read(name).decode())))


def world(origin_ns: int, days: int, **more: Any) -> dict[str, Any]:
    return {"symbols": ("BTC/USDT",), "origin_ns": origin_ns, "warmup_ns": days * NS_PER_DAY, **more}


def test_a_month_that_is_over_has_the_klines_of_the_rest_interface_in_microseconds_since_2025() -> None:
    async def ask() -> None:
        async with served(**world(MAY + NS_PER_DAY, 35)) as client:
            status, data = await fetch(client, f"{FOLDER}/4h/BTCUSDT-4h-2025-04.zip")
            _, told = await fetch(client, f"{FOLDER}/4h/BTCUSDT-4h-2025-04.zip.CHECKSUM")
            query = {"symbol": "BTCUSDT", "interval": "4h", "startTime": MAY // 10**6 - 30 * 86_400_000, "limit": 180}
            _, klines, _ = await client.get("/api/v3/klines", **query)

        assert status == 200
        assert told == f"{hashlib.sha256(data).hexdigest()}  BTCUSDT-4h-2025-04.zip\n".encode()
        expected = [[str(k[0] * 1000), *map(str, k[1:6]), str((k[6] + 1) * 1000 - 1), *map(str, k[7:])] for k in klines]
        assert len(expected) == 180
        assert rows(data, "BTCUSDT-4h-2025-04.csv") == expected

    asyncio.run(ask())


def test_before_2025_times_are_milliseconds_and_a_month_that_began_before_the_data_is_there_in_part() -> None:
    async def ask() -> None:
        async with served(**world(DECEMBER, 3)) as client:
            _, data = await fetch(client, f"{FOLDER}/1d/BTCUSDT-1d-2024-11.zip")
            _, whole = await fetch(client, f"{FOLDER}/1mo/BTCUSDT-1mo-2024-11.zip")

        days = rows(data, "BTCUSDT-1d-2024-11.csv")
        assert [int(row[0]) for row in days] == [DECEMBER // 10**6 - left * 86_400_000 for left in (3, 2, 1)]
        assert len(rows(whole, "BTCUSDT-1mo-2024-11.csv")) == 1

    asyncio.run(ask())


@pytest.mark.parametrize(
    "path",
    [
        "1h/BTCUSDT-1h-2025-05.zip",  # not over
        "1h/BTCUSDT-1h-2025-05.zip.CHECKSUM",
        "1h/BTCUSDT-1h-2024-05.zip",  # before the data
        "1M/BTCUSDT-1M-2025-04.zip",
        "1h/BTCUSDT-1h-2025-13.zip",
        "1h/BTCUSDT-4h-2025-04.zip",
        "../DOGEUSDT/1h/DOGEUSDT-1h-2025-04.zip",
    ],
)
def test_other_files_are_not_there(path: str) -> None:
    async def ask() -> None:
        async with served(**world(MAY + NS_PER_DAY, 5)) as client:
            assert (await fetch(client, f"{FOLDER}/{path}"))[0] == 404

    asyncio.run(ask())


def test_files_are_asked_for_in_the_request_log_and_a_fault_strikes_them() -> None:
    faults = [{"kind": "rate_limit", "where": "market", "at": 2}]

    async def ask() -> None:
        more = {"faults": json.dumps(faults), "until_ns": NS_PER_MINUTE}
        async with served(**world(MAY + NS_PER_DAY, 5, **more)) as client, client.control() as do:
            path = f"{FOLDER}/1d/BTCUSDT-1d-2025-04.zip"
            answers = [(await fetch(client, path))[0] for _ in range(3)]
            counted = (await do("requests"))["requests"]

        assert answers == [200, 429, 429]  # until the limit is over
        assert counted[f"GET {path}"] == 3

    asyncio.run(ask())

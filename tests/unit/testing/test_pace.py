import asyncio
import time
from typing import Any

import attrs

from btx.defaults import open_venue
from btx.model.venue import RateLimit, VenueInfo
from btx.testing.pace import Pace, Paced

WINDOW_S = 0.2


def info(limit: int) -> VenueInfo:
    return attrs.evolve(
        open_venue("binance").info,
        limits={"spot": (RateLimit(name="orders", limit=limit, window_s=WINDOW_S),)},
        costs={"spot": {"place": {"orders": 1}, "time": {"orders": 1}}},
    )


class Port:
    """Counts what it was asked."""

    name = "a port"

    def __init__(self) -> None:
        self.asked: list[tuple[float, Any]] = []

    async def place(self, *, leg: Any) -> Any:
        self.asked.append((time.monotonic(), leg))
        return leg

    async def query(self, *, leg: Any) -> Any:
        return leg


def test_requests_wait_until_their_window_has_room_and_those_without_a_cost_do_not() -> None:
    port = Port()
    paced = Paced(port, Pace(info(5), "spot"))

    began: list[float] = []  # counted is what is asked for after that

    async def one(number: int) -> Any:
        began.append(time.monotonic())
        return await paced.place(leg=number)

    async def many() -> list[Any]:
        return [await one(number) for number in range(6)]

    answers = asyncio.run(many())

    assert answers == list(range(6))
    stamps = [stamp for stamp, _ in port.asked]
    assert all(later - earlier >= WINDOW_S for earlier, later in zip(began, stamps[4:], strict=False))
    assert asyncio.run(paced.query(leg=1)) == 1
    assert paced.name == "a port"
    assert repr(paced) == repr(port)


def test_a_single_request_that_needs_all_of_a_limit_is_not_held_up_for_ever() -> None:
    paced = Paced(Port(), Pace(info(1), "spot"))

    assert asyncio.run(paced.place(leg="a")) == "a"


def test_a_world_is_worn_when_a_long_window_of_its_has_little_room_left() -> None:
    def worn_after(orders: int, *, window_s: float) -> bool:
        of_orders = RateLimit(name="orders", limit=15, window_s=window_s)
        pace = Pace(attrs.evolve(info(15), limits={"spot": (of_orders,)}), "spot")

        async def spend() -> None:
            for _ in range(orders):
                await pace.take("place")

        asyncio.run(spend())
        return pace.is_worn()

    assert [worn_after(orders, window_s=30.0) for orders in (0, 6, 7)] == [False, False, True]
    assert not worn_after(12, window_s=4.0)

"""Pacing: the ports of a bench keep to the limits that the adapter declares, as the runtime keeps to them."""

import asyncio
import functools
import inspect
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from btx.model.order import ListKind
from btx.model.venue import RateLimit, VenueInfo

__all__ = ("Pace", "Paced")

_SHARE = 0.8  # of a limit, for requests that are under way longer than others
_WAITED_FOR_S = 120.0  # a longer window is never full in the life of a bench
_LONG_S = 5.0  # seconds: a window for whose end nobody waits who can make a new world
_ROOM = 6  # units that one card may want, as orders are counted
_NAMES = {"server_time_ns": "time"}
_LISTS = {ListKind.OCO: "place_oco", ListKind.OTO: "place_oto", ListKind.OTOCO: "place_otoco"}


class Pace:
    """Counts what was asked of a venue in each window, and waits before it would be too much."""

    def __init__(self, info: VenueInfo, market: str) -> None:
        self._costs = info.costs.get(market, {})
        self._limits = [each for each in info.limits.get(market, ()) if each.window_s <= _WAITED_FOR_S]
        self._spent: dict[RateLimit, deque[tuple[float, int]]] = {each: deque() for each in self._limits}

    async def take(self, operation: str) -> None:
        """Wait until an operation may be asked for."""
        for limit in self._limits:
            units = self._costs.get(operation, {}).get(limit.name, 0)
            spent = self._spent[limit]
            if not units:
                continue
            while (wait_s := self._wait_s(limit, units)) > 0:  # noqa: ASYNC110 -- time itself is what is waited for
                await asyncio.sleep(wait_s)
            spent.append((time.monotonic(), units))

    def is_worn(self) -> bool:
        """Say whether somebody would soon wait long: a new world, which has counted nothing, is made sooner."""
        long = [each for each in self._limits if each.window_s >= _LONG_S]
        return any(self._spent[each] and each.limit * _SHARE - self._used(each) < _ROOM for each in long)

    def _wait_s(self, limit: RateLimit, units: int) -> float:
        used, spent = self._used(limit), self._spent[limit]
        if not spent or used + units <= max(limit.limit * _SHARE, units):
            return 0.0
        return spent[0][0] + limit.window_s - time.monotonic()

    def _used(self, limit: RateLimit) -> int:
        spent, now_s = self._spent[limit], time.monotonic()
        while spent and spent[0][0] + limit.window_s <= now_s:
            spent.popleft()
        return sum(count for _, count in spent)


class Paced:
    """A port whose methods wait for their turn; everything else is as it is."""

    def __init__(self, port: Any, pace: Pace) -> None:
        self._port = port
        self._pace = pace

    def __repr__(self) -> str:
        return repr(self._port)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return self._waiting(name, found) if inspect.iscoroutinefunction(found) else found

    def _waiting(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        async def wait(**arguments: Any) -> Any:
            await self._pace.take(_operation(name, arguments))
            return await method(**arguments)

        return wait


def _operation(name: str, arguments: dict[str, Any]) -> str:
    if name == "place_list":
        return _LISTS[arguments["order_list"].kind]
    if name == "open_orders" and len(arguments["instruments"]) == 1:
        return "open_orders_one"
    if name == "book" and arguments["depth"] <= 5:
        return "book_top"
    return _NAMES.get(name, name)

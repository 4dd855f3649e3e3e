"""What one connection should carry, said by whoever keeps it. Lives on btx-io."""

import asyncio
from collections.abc import Iterable

from btx.model.venue import Subscription

__all__ = ("Wishes",)


class Wishes:
    """A ``ports.Wanted`` that can be changed; several connections may follow it, as while one replaces another."""

    def __init__(self, subscriptions: Iterable[Subscription] = ()) -> None:
        self._now = frozenset(subscriptions)
        self._change = asyncio.Event()

    @property
    def now(self) -> frozenset[Subscription]:
        """What is wanted at this moment."""
        return self._now

    def set(self, subscriptions: Iterable[Subscription]) -> None:
        """Want these from now on, and nothing else."""
        self._now = frozenset(subscriptions)
        change, self._change = self._change, asyncio.Event()
        change.set()

    async def changed(self, known: frozenset[Subscription]) -> frozenset[Subscription]:
        """Wait until what is wanted differs from ``known``, and return it."""
        while self._now == known:
            await self._change.wait()
        return self._now

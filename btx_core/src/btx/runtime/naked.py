"""How much of each group is naked, and for how long."""

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal

import attrs

__all__ = ("NakedWatch",)


@attrs.define(kw_only=True)
class _Stretch:
    """A time in which a group is naked."""

    quantity: Decimal
    since_s: float
    alarm: asyncio.TimerHandle


class NakedWatch:
    """Measures what brackets have filled and no exit protects. Lives on btx-io.

    ``on_naked(group_id, quantity, seconds)`` is told once of each stretch that
    lasts longer than ``alarm_s``.
    """

    def __init__(
        self,
        *,
        on_naked: Callable[[str, Decimal, float], None],
        alarm_s: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._on_naked = on_naked
        self._alarm_s = alarm_s
        self._monotonic = monotonic
        self._stretches: dict[str, _Stretch] = {}
        self._ended_s = 0.0
        self._longest_s = 0.0

    @property
    def quantities(self) -> Mapping[str, Decimal]:
        """What is naked now, by group id."""
        return {group_id: each.quantity for group_id, each in tuple(self._stretches.items())}

    @property
    def seconds_total(self) -> float:
        """For how long groups were naked, summed over all of them."""
        return self._ended_s + sum(self._running())

    @property
    def longest_s(self) -> float:
        """The longest single stretch in which a group was naked."""
        return max([self._longest_s, *self._running()])

    def measure(self, group_id: str, quantity: Decimal) -> None:
        """Take it that so much of a group is naked from here on; zero is none of it."""
        stretch = self._stretches.get(group_id)
        if quantity > 0 and stretch is None:
            alarm = asyncio.get_running_loop().call_later(self._alarm_s, self._alert, group_id)
            self._stretches[group_id] = _Stretch(quantity=quantity, since_s=self._monotonic(), alarm=alarm)
        elif quantity > 0 and stretch is not None:
            stretch.quantity = quantity
        elif stretch is not None:
            del self._stretches[group_id]
            lasted_s = self._monotonic() - stretch.since_s
            self._ended_s += lasted_s
            self._longest_s = max(self._longest_s, lasted_s)
            stretch.alarm.cancel()

    def stop(self) -> None:
        """Sound no alarm any more."""
        for stretch in self._stretches.values():
            stretch.alarm.cancel()

    def _running(self) -> list[float]:
        return [self._monotonic() - each.since_s for each in tuple(self._stretches.values())]

    def _alert(self, group_id: str) -> None:
        stretch = self._stretches[group_id]
        self._on_naked(group_id, stretch.quantity, self._monotonic() - stretch.since_s)

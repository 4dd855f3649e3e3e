"""A tape on the toy venue, and what it told."""

import asyncio
from typing import Any

from btx.model.market import Trade
from btx.model.time import NS_PER_S
from btx.runtime.tape import Tape, TapeReader
from tests.toy_venue import ToyVenue
from tests.unit.runtime.rig import AT_ONCE, Log, ToyClock, quick_guard
from tests.values import BTC, trade


class Reader(TapeReader):
    def __init__(self, log: Log) -> None:
        self.log = log
        self.room = True

    def on_trade(self, trade: Trade) -> None:
        self.log.add(trade.trade_id)

    def on_synced(self) -> None:
        self.log.add("synced")

    def on_lost(self, reason: str) -> None:
        self.log.add(f"lost: {reason}")

    def on_polled(self, asked_ns: int) -> None:
        self.log.add("polled")

    def on_gap(self, start_ns: int, end_ns: int, reason: str) -> None:
        self.log.add(f"gap of {(end_ns - start_ns) // NS_PER_S} s: {reason}")

    def has_room(self) -> bool:
        return self.room

    def on_slow(self) -> None:
        self.log.add("slow")

    def on_broken(self, error: Exception) -> None:
        self.log.add(f"broken: {error}")


class TapeRig:
    """The tape hears of a trade only what the test lets it hear."""

    def __init__(self, toy: ToyVenue, *, start_ns: int = 0, dense: bool = True, **changes: Any) -> None:
        self.toy = toy
        self.log = Log()
        self.notes: list[tuple[str, str]] = []
        self.reader = Reader(self.log)
        settings: dict[str, Any] = {
            "instrument": BTC,
            "start_ns": start_ns,
            "dense": dense,
            "reader": self.reader,
            "feed": toy,
            "clock": ToyClock(toy),
            "guard": quick_guard(),
            "note": lambda kind, text: (self.notes.append((kind, text)), self.log.touch()),
            "backoff": AT_ONCE,
            "poll_s": 0.001,
            "lag_pause_s": 0.001,
        }
        self.tape = Tape(**(settings | changes))

    def happen(self, *ids: int, push: bool = True) -> None:
        """Let trades happen, one a second; the tape hears of them when they are pushed."""
        for number in ids:
            one = numbered(number)
            self.toy.print(one)
            if push:
                self.tape.on_event(one)

    async def up(self) -> None:
        self.tape.on_up()
        await self.log.until(lambda: self.tape.is_synced)

    @property
    def told(self) -> list[Any]:
        return self.log.items

    @property
    def ids(self) -> list[int]:
        return [each for each in self.log.items if isinstance(each, int)]

    async def stop(self) -> None:
        await self.tape.stop()
        await asyncio.sleep(0)


def numbered(number: int) -> Trade:
    return trade(number, number * NS_PER_S / (60 * NS_PER_S), 100 + number % 7, 1 + number % 3)

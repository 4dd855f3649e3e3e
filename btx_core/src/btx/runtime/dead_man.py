"""A dead man's switch: the venue cancels what rests when nothing has been heard of us for a while."""

import asyncio
import functools
from collections.abc import Callable, Collection

from btx.errors import BtxError
from btx.model.instrument import Instrument
from btx.model.venue import DeadMan as Kind
from btx.ports import Broker
from btx.runtime.guard import Guard

__all__ = ("DeadMan",)

_PARTS = 3  # renewed so often in the time: two renewals may be lost


class DeadMan:
    """Renews the venue's countdown for every instrument that is traded, as long as the session is healthy.

    A venue that watches the account's stream itself is told once how long to wait.
    ``after_s`` is in seconds of the venue's market, of which ``speed`` pass in one
    of ours; None: nothing is asked for.  A renewal that fails is told once, and tried again with the next, which is
    told when it succeeds; so long as none does the countdown goes on, which is what it is for.
    """

    def __init__(
        self,
        *,
        after_s: float | None,
        kind: Kind = Kind.COUNTDOWN,
        speed: float,
        broker: Broker,
        guard: Guard,
        instruments: Callable[[], Collection[Instrument]],
        is_healthy: Callable[[], bool],
        note: Callable[[str, str], None],
    ) -> None:
        self._after_s = after_s
        self._pause_s = after_s / speed / _PARTS if after_s is not None else 0.0
        self._kind = kind
        self._broker = broker
        self._guard = guard
        self._instruments = instruments
        self._is_healthy = is_healthy
        self._note = note
        self._set: dict[str, Instrument] = {}  # by symbol: where a countdown may run
        self._trouble: str | None = None

    async def run(self) -> None:
        """Renew until cancelled; where the venue watches the stream, until it knows."""
        while self._after_s is not None:
            if self._is_healthy():
                await self.renew()
                if self._kind is Kind.STREAM and self._set:
                    return
            elif self._trouble is None:
                self._tell("the account stream is down")
            await asyncio.sleep(self._pause_s)

    async def renew(self) -> None:
        """Begin the countdowns anew; what fails is told."""
        try:
            async with asyncio.timeout(self._pause_s):
                for instrument in self._instruments():
                    if self._kind is Kind.COUNTDOWN:
                        self._set[instrument.symbol] = instrument  # it may run even if nobody says so
                        await self._ask(instrument, self._after_s)
                    elif not self._set:
                        await self._ask(instrument, self._after_s)
                        self._set[instrument.symbol] = instrument
        except TimeoutError:
            self._tell("no answer")
        except BtxError as error:
            self._tell(str(error))
        else:
            if self._trouble is not None:
                self._note("DEADMAN", "it is set now: after a crash the venue cancels what rests")
            self._trouble = None

    async def release(self) -> None:
        """Stop the countdowns: this is an orderly end. One that is not stopped is told."""
        while self._set and self._kind is Kind.COUNTDOWN:
            symbol, instrument = self._set.popitem()
            try:
                await self._ask(instrument, None)
            except BtxError as error:
                self._note("DEADMAN", f"{symbol}: the countdown goes on, and cancels what rests: {error}")

    async def _ask(self, instrument: Instrument, after_s: float | None) -> None:
        ask = functools.partial(self._broker.dead_man, instrument=instrument, after_s=after_s)
        await self._guard.send("dead_man", ask)

    def _tell(self, trouble: str) -> None:
        if self._trouble is None:
            counts_down = self._kind is Kind.COUNTDOWN
            what = "not renewed, so the venue may cancel" if counts_down else "not set, so after a crash nobody cancels"
            self._note("DEADMAN", f"{what} what rests: {trouble}")
        self._trouble = trouble

"""Breaks the sockets of a simulator that runs, again and again, and measures how long a strategy is without them."""

import asyncio
import contextlib
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import attrs

from btx.runtime.control import Control

POLL_S = 0.01
MARKET = "market_stream"

Subscriptions = frozenset[str]


@attrs.frozen(kw_only=True)
class Recovery:
    """One cut, and how long it took until all was well again, in seconds."""

    kind: str
    line_s: float  # until the venue pushed all streams to sockets that are heard
    live_s: float  # until every data was live and had seen a bar that closed after the cut


@attrs.frozen(kw_only=True)
class Blow:
    """One way of cutting: what the control channel is asked to do."""

    kind: str
    strikes: Sequence[Mapping[str, Any]]  # arguments of `strike`, in this order
    lasts_s: float = 0.0
    needs_subscribe: bool = False  # it strikes at a message that asks for streams
    ends_sockets: bool = True


def cut(form: int) -> dict[str, Any]:
    return {"fault": {"kind": "cut", "where": MARKET, "form": form}}


def refused(where: str, form: int, for_s: float) -> dict[str, Any]:
    return {"fault": {"kind": "refuse", "where": where, "form": form, "for_s": for_s}}


def outage(form: int, for_s: float) -> dict[str, Any]:
    return {"fault": {"kind": "outage", "where": "any", "form": form, "for_s": for_s}}


def blow(dice: random.Random, streams: Sequence[str], kinds: Collection[str]) -> Blow:
    """Return the next way of cutting, of these kinds; of all when there are none."""
    for_s = round(dice.uniform(0.05, 0.6), 3)
    silence = {"fault": {"kind": "silence", "where": MARKET}, "stream": dice.choice(streams)}
    ways = (
        Blow(kind="RST", strikes=[cut(0)]),
        Blow(kind="close 1001", strikes=[cut(1)]),
        Blow(kind="FIN", strikes=[cut(2)]),
        Blow(kind="close 1000", strikes=[cut(3)]),
        Blow(kind="close 1008", strikes=[cut(4)]),
        Blow(kind="half open", strikes=[{"fault": {"kind": "half_open", "where": MARKET, "for_s": 0}}]),
        Blow(
            kind="silent stream",
            strikes=[silence],
            ends_sockets=False,
        ),
        Blow(kind="refused dial", strikes=[refused("dial", dice.randrange(4), for_s), cut(0)], lasts_s=for_s),
        Blow(kind="refused port", strikes=[outage(1, for_s)], lasts_s=for_s),
        Blow(kind="REST out too", strikes=[outage(0, for_s)], lasts_s=for_s),
        Blow(
            kind="subscribe rejected",
            strikes=[refused("subscribe", dice.randrange(2), 0.3)],
            lasts_s=0.3,
            needs_subscribe=True,
            ends_sockets=False,
        ),
        Blow(
            kind="announced end",
            strikes=[{"fault": {"kind": "shutdown", "where": MARKET, "for_s": for_s, "form": dice.randrange(2)}}],
            lasts_s=for_s,
        ),
    )
    return dice.choice([way for way in ways if way.kind in kinds] or ways)


class Cutter:
    """Strikes ``count`` times, each time when the last blow is over; runs on a thread of its own.

    ``streams`` are pushed at the beginning and at the end, when what the client itself may be about to mend is mended.
    ``bars`` tells how many bars each data has seen, ``live`` whether all are live.
    ``resubscribe`` makes the client ask for a stream, and tells when it got it and gave it back.
    """

    def __init__(
        self,
        control: str,
        *,
        count: int,
        seed: int,
        streams: Subscriptions,
        bars: Callable[[], Mapping[str, int]],
        live: Callable[[], bool],
        resubscribe: Callable[[], threading.Event],
        done: Callable[[], None],
        kinds: Collection[str] = (),
        patience_s: float = 60.0,
        prints: bool = False,
    ) -> None:
        self.recoveries: list[Recovery] = []
        self.error: BaseException | None = None
        self.dials = 0
        self._streams = streams
        self._control = control
        self._count = count
        self._dice = random.Random(seed)
        self._bars = bars
        self._live = live
        self._resubscribe = resubscribe
        self._done = done
        self._kinds = kinds
        self._patience_s = patience_s
        self._prints = prints
        self._thread = threading.Thread(target=self._run, name="cutter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Wait for the end; raises what went wrong."""
        self._thread.join(self._patience_s)
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            self.error = error
        finally:
            self._done()

    async def _main(self) -> None:
        control = await Control.connect(self._control)

        async def is_whole() -> bool:
            return heard(await self._sockets(control)) == self._streams

        try:
            # More dials than the venue's 300 in five minutes are the point; pings are counted among its five messages.
            await control.ask("terms", dials=10**9)
            await self._until(self._live_now, "the first bars")
            await self._until(is_whole, "all streams")
            for _ in range(self._count):
                await asyncio.sleep(self._dice.uniform(0.0, 0.3))  # anywhere in a bar
                await self._strike(control, blow(self._dice, sorted(self._streams), self._kinds))
            await self._until(is_whole, "all streams at the end")
            self.dials = (await control.ask("sockets"))["counts"]["dials"]
        finally:
            with contextlib.suppress(Exception):
                await control.close()

    async def _strike(self, control: Control, this: Blow) -> None:
        struck = {each["number"] for each in await self._sockets(control)} if this.ends_sockets else set()
        got = threading.Event()
        got.set()
        seen = dict(self._bars())
        began_s = time.monotonic()
        for strike in this.strikes:
            await control.ask("strike", **strike)
        if this.needs_subscribe:
            got = self._resubscribe()

        async def is_heard() -> bool:
            if time.monotonic() - began_s < this.lasts_s or not got.is_set():
                return False
            sockets = await self._sockets(control)
            return heard(sockets) == self._streams and not struck & {each["number"] for each in sockets}

        async def is_live() -> bool:
            return self._live() and all(count > seen[name] for name, count in self._bars().items())

        line_s = await self._until(is_heard, f"{this.kind}: all streams again", began_s)
        live_s = await self._until(is_live, f"{this.kind}: live again", began_s)
        self.recoveries.append(Recovery(kind=this.kind, line_s=line_s, live_s=live_s))
        if self._prints:
            print(f"{len(self.recoveries):5} {this.kind:20} {line_s:7.3f} {live_s:7.3f}", flush=True)  # noqa: T201

    async def _live_now(self) -> bool:
        return self._live() and all(self._bars().values())

    async def _sockets(self, control: Control) -> list[dict[str, Any]]:
        """Return the market sockets that are heard."""
        sockets = (await control.ask("sockets"))["sockets"]
        return [each for each in sockets if each["where"] == MARKET and not each["is_mute"]]

    async def _until(self, holds: Callable[[], Awaitable[bool]], what: str, began_s: float | None = None) -> float:
        began_s = time.monotonic() if began_s is None else began_s
        deadline_s = time.monotonic() + self._patience_s
        while not await holds():
            if time.monotonic() > deadline_s:
                raise AssertionError(f"cut {len(self.recoveries) + 1}: waited {self._patience_s:g} s for {what}")
            await asyncio.sleep(POLL_S)  # what another process knows is asked for, with a deadline
        return time.monotonic() - began_s


def heard(sockets: Sequence[Mapping[str, Any]]) -> Subscriptions:
    """Return the streams that are pushed."""
    return frozenset(name for each in sockets for name in each["subscriptions"] if name not in each["silent"])


def summary(recoveries: Sequence[Recovery]) -> str:
    """Return a table of the times to recovery."""
    lines = [f"{'':20} {'cuts':>5} {'line p50':>9} {'p99':>7} {'live p50':>9} {'p99':>7} {'max':>7}   seconds"]
    kinds = Counter(each.kind for each in recoveries)
    for kind in (*sorted(kinds), "all"):
        of_kind = [each for each in recoveries if kind in (each.kind, "all")]
        line, live = [each.line_s for each in of_kind], [each.live_s for each in of_kind]
        lines.append(
            f"{kind:20} {len(of_kind):5} {statistics.median(line):9.3f} {p99(line):7.3f} "
            f"{statistics.median(live):9.3f} {p99(live):7.3f} {max(live):7.3f}"
        )
    return "\n".join(lines)


def p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98] if len(values) > 1 else values[0]

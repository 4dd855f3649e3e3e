"""``btx replay``: a recording through the live path once more, and what it makes of it beside what it was."""

import asyncio
import datetime
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs
from rich import box
from rich.console import Console
from rich.table import Table

from btx.compose import replay_store
from btx.errors import BtxError, DataError, NotSupportedError
from btx.model.account import AccountSnapshot
from btx.model.frames import FrameKind
from btx.model.instrument import Instrument
from btx.model.market import Bar
from btx.model.order import VENUE_MADE, Fill, Leg, Order, OrderList, OrderReport, Receipt
from btx.model.time import iso
from btx.model.venue import Channel, Endpoints, Environment
from btx.ports import Broker, Tap
from btx.rules.backoff import Backoff
from btx.runtime.bars import BarTimes
from btx.runtime.facts import Timing
from btx.sim.replay import Moment, Replay
from btx.storage.handed import RecordingBroker, amendment_id, leg_of, outcome_of
from btx.storage.recorded import frame_of, lines, market_ns, parts
from btx.storage.tally import Tally
from btx.tools.interrupts import interrupting_at_once

__all__ = ("Seen", "read_seen", "run_replay")

_UNREADABLE = 2
_SETTLE_S = 3.0  # for what the last frames lead to
_LOOK_S = 0.02
_BESIDE = {"quote": "quotes", "trade": "trades", "book": "book"}
_NEVER_S = 1e6


@attrs.define(kw_only=True)
class Seen:
    """What a run made of its frames, in lines that can be compared."""

    bars: dict[str, list[str]] = attrs.field(factory=dict)  # by data
    events: dict[str, str] = attrs.field(factory=dict)  # of fills and orders: the last line of each
    balances: Mapping[str, str] | None = None  # None: nothing is said of them
    left: Mapping[str, int] | None = None  # how many bars there were of each data when the recorded strategy went

    def take_bar(self, name: str, line: str) -> None:
        """Take the next bar of a data."""
        self.bars.setdefault(name, []).append(line)

    def take_event(self, line: str) -> None:
        """Take what the account stream told."""
        subject, _, what = line.partition(": ")
        self.events[subject] = what


class _Feeds:
    """The datas of a run, each once, from its earliest start on; what was beside them is with the first of a symbol."""

    def __init__(self) -> None:
        self._datas: dict[tuple[str, str, bool], Mapping[str, Any]] = {}
        self._beside: dict[str, dict[str, Any]] = {}

    def take_data(self, line: Mapping[str, Any]) -> None:
        """Take a feed that was opened."""
        key = (line["symbol"], line["interval"], line["from_trades"])
        known = self._datas.setdefault(key, line)
        if line["start_ns"] is not None and line["start_ns"] < known["start_ns"]:
            self._datas[key] = line

    def take_market(self, line: Mapping[str, Any]) -> None:
        """Take what was asked for beside the bars."""
        self._beside.setdefault(line["symbol"], {})[_BESIDE[line["channel"]]] = (
            line["depth"] if line["channel"] == Channel.BOOK.value else True
        )

    def all(self) -> tuple[dict[str, Any], ...]:
        """Return the arguments of ``store.getdata``."""
        beside = dict(self._beside)
        return tuple({**_feed(line), **beside.pop(line["symbol"], {})} for line in self._datas.values())


def _feed(line: Mapping[str, Any]) -> dict[str, Any]:
    of_trades = line["from_trades"]
    feed = {
        "dataname": line["symbol"],
        "interval": line["interval"],
        "historical": not line["live"],
        "from_trades": of_trades,
        "fill": "previous" if line["fills"] else None,
        "name": f"{line['symbol']} {line['interval']}{' of trades' if of_trades else ''}",
    }
    if line["start_ns"] is not None:
        seconds = -(-line["start_ns"] // 10**9)  # up: the bar before must not slip in
        feed["fromdate"] = datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
    elif line.get("counted"):  # the first recordings have none
        feed["backfill"] = line["counted"]
    return feed


@attrs.define(kw_only=True)
class _Recorded:
    """A recording without its frames."""

    header: Mapping[str, Any]
    seen: Seen
    feeds: tuple[dict[str, Any], ...]  # the arguments of ``store.getdata``
    until: int | None  # how many lines are played; None: all
    is_whole: bool  # it ended of its own will
    dropped: int
    compared_at_ns: int | None
    speed: float  # market seconds per second of wall time, on the whole
    is_lockstep: bool  # the market stood while the strategy worked

    @property
    def is_paper(self) -> bool:
        """Its account was never at the venue: of it there are no frames."""
        return bool(self.header["environment"] == Environment.PAPER.value)


def read_seen(files: tuple[Path, ...]) -> _Recorded:
    """Read what a recording says that was made of it, up to its trailer, or to the last mark of a run that was killed.

    Raises:
        DataError: it cannot be read, or ends before the session had begun.
    """
    marks = [(at, line) for at, line in enumerate(lines(files)) if line["k"] in {"mark", "trailer"}]
    at, last = marks[-1] if marks else (None, None)
    is_whole = last is not None and last["k"] == "trailer"
    seen, feeds, dropped, header = Seen(), _Feeds(), 0, None
    before, stood = (0, 0), False
    for line in itertools.islice(lines(files), None if at is None else at + 1):
        stamps = line.get("w", 0), line.get("m", 0)
        stood = stood or (stamps[0] > before[0] and stamps[1] == before[1] != 0)
        before = stamps
        match line["k"]:
            case "header":
                header = header or line
            case "bar":
                seen.take_bar(line["n"], line["t"])
            case "event":
                seen.take_event(line["t"])
            case "dropped":
                dropped += line["n"]
            case "data":
                feeds.take_data(line)
            case "market":
                feeds.take_market(line)
    assert header is not None, "a recording without a header is not read to here"
    if header["environment"] == Environment.PAPER.value:
        seen.events.clear()
    elif last is not None:
        seen.balances = last["state"]["balances"]
    return _Recorded(
        header=header,
        seen=seen,
        feeds=feeds.all(),
        until=None if at is None or is_whole else at,
        is_whole=is_whole,
        dropped=dropped,
        compared_at_ns=market_ns(last) if last is not None else None,
        speed=_speed(header, line),
        is_lockstep=stood,
    )


def _speed(first: Mapping[str, Any], last: Mapping[str, Any]) -> float:
    """Return how fast the market was between the first line and the last."""
    began_ns, ended_ns = market_ns(first), market_ns(last)
    if began_ns is None or ended_ns is None or ended_ns <= began_ns or last["w"] <= first["w"]:
        return 1.0
    return float((ended_ns - began_ns) / (last["w"] - first["w"]))


class _Again:
    """Counts what the live path makes of a recording this time; a ``ports.Recording``."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._tally = Tally()
        self.seen = Seen()
        self._outcomes: dict[str, asyncio.Future[Receipt | BtxError]] = {}

    @property
    def tap(self) -> Tap:
        return self._tap

    def data(self, **_: Any) -> None:
        """Nothing: the recording says which there were."""

    def market(self, **_: Any) -> None:
        """Likewise."""

    def bar(self, bar: Bar) -> None:
        if (counted := self._tally.bar(bar)) is not None:
            self.seen.take_bar(*counted)

    def left(self) -> None:
        """Nothing: this strategy stays until everything was played."""

    def account(self, event: OrderReport | Fill) -> None:
        if (line := self._tally.account(event)) is not None:
            self.seen.take_event(line)

    def broker(self, inner: Broker) -> Broker:
        return _MuteBroker(inner, self._outcome)

    def order(self, before: Order | None, after: Order) -> None:  # noqa: ARG002 -- the port's
        if after.leg.parent_id is not None or after.client_order_id.startswith(VENUE_MADE):
            return  # the venue made it: a recording has what it pushed of it
        if (line := self._tally.own(after)) is not None:
            self.seen.take_event(line)

    def placed(self, line: Mapping[str, Any]) -> None:
        """Let the orders of a ``placed`` line be answered as they were."""
        for client_order_id in line["ids"]:
            answered = self._outcome(client_order_id)
            if not answered.done():
                answered.set_result(outcome_of(line))

    def _outcome(self, client_order_id: str) -> "asyncio.Future[Receipt | BtxError]":
        if client_order_id not in self._outcomes:
            self._outcomes[client_order_id] = asyncio.get_running_loop().create_future()
        return self._outcomes[client_order_id]

    def mark(self, account: AccountSnapshot | None, *, ended: bool = False) -> None:  # noqa: ARG002 -- the port's
        if account is not None:
            self.seen.balances = self._tally.state(account)["balances"]

    def close(self) -> None:
        """Nothing is open."""


class _MuteBroker(RecordingBroker):
    """Hands nothing over and cancels nothing; what is asked of it goes to the recording."""

    def __init__(self, inner: Broker, outcome: "Callable[[str], asyncio.Future[Receipt | BtxError]]") -> None:
        super().__init__(inner, lambda _line: None)
        self._outcome = outcome

    async def place(self, *, leg: Leg) -> Receipt:
        return await self._answer(leg.client_order_id)

    async def place_list(self, *, order_list: OrderList) -> Receipt:
        raise NotSupportedError(f"a replay sends no list {order_list.list_id}")

    async def replace(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:  # noqa: ARG002
        raise NotSupportedError(f"a replay replaces no order {leg.client_order_id}")

    async def amend(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:  # noqa: ARG002
        return await self._answer(amendment_id(new))

    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:
        """Nothing: what the recorded cancel came to, the account stream tells."""

    async def cancel_all(self, *, instrument: Instrument) -> None:
        """Nothing, likewise."""

    async def _answer(self, name: str) -> Receipt:
        found = await self._outcome(name)
        if isinstance(found, BtxError):
            raise found
        return found

    async def dead_man(self, *, instrument: Instrument, after_s: float | None) -> None:
        """Nothing: there is no venue to hear of us."""


def run_replay(file: Path, *, speed: float | None, strategy: str | None, as_json: bool) -> int:
    """Replay a recording and return the exit code: 0 equal, 1 different, 2 unreadable.

    Raises:
        ConfigError: the strategy cannot be used.
        PluginError: the adapter of the recording's venue cannot be used.
    """
    from btx.bt.samples import Watch
    from btx.bt.witness import load_strategy

    console = Console(highlight=False)
    chosen = load_strategy(strategy) if strategy is not None else Watch
    try:
        files = parts(file)
        recorded = read_seen(files)
    except DataError as error:
        print(f"btx: {error}", file=sys.stderr)  # noqa: T201 -- with --json, too
        return _UNREADABLE
    began = time.monotonic()
    with interrupting_at_once():
        again, replay = _play(files, recorded, speed=speed, strategy=chosen)
    result = _Result(
        recorded=recorded,
        again=again.seen,
        differences=tuple(_differences(recorded.seen, again.seen)),
        remarks=tuple(replay.remarks),
        lines=replay.played,
        took_s=time.monotonic() - began,
    )
    if as_json:
        print(json.dumps(_as_json(result)))  # noqa: T201 -- for programs: not to be wrapped
    else:
        _show(console, file, result)
    return 1 if result.differences else 0


def _play(
    files: tuple[Path, ...], recorded: _Recorded, *, speed: float | None, strategy: type[Any]
) -> tuple[_Again, Replay]:
    from btx.bt.samples import watch_cerebro

    again: _Again

    async def settled() -> None:
        """Wait until nothing is missing any more, though not for ever."""
        deadline = time.monotonic() + _SETTLE_S
        while time.monotonic() < deadline and any(_differences(recorded.seen, again.seen)):
            await asyncio.sleep(_LOOK_S)
            again.mark(store.session.account_now())

    def set_clock(market_ns: int) -> None:
        store.session.clock.step_to(market_ns)  # each start has its own

    def on_note(line: Mapping[str, Any]) -> None:
        if line["k"] == "placed":
            again.placed(line)
        elif line["k"] == "left":
            again.seen.left = {name: len(bars) for name, bars in again.seen.bars.items()}
        elif line["k"] in {"order", "amend"} and line["t"] and not recorded.is_paper:
            store.session.know(leg_of(line))

    replay = Replay(
        lambda: _moments(files, recorded.until),
        set_clock=set_clock,
        on_note=on_note,
        settled=settled,
        speed=speed,
        recorded_speed=recorded.speed,
    )
    again = _Again(replay)

    async def served(resources: AsyncExitStack) -> Endpoints | None:
        return await resources.enter_async_context(replay.serve())

    header = recorded.header
    store = replay_store(
        header["venue"],
        header["market"],
        endpoints=served,
        recording=lambda _clock, _settings, _on_fault: again,
        timing=_timing(recorded),
        world=f"a recording of {header['session']}",
        paper=recorded.is_paper,
    )
    watch_cerebro(store, recorded.feeds, strategy).run()
    return again, replay


def _timing(recorded: _Recorded) -> Timing:
    """Return what a session that replays waits for.

    A bar is late when it was in the recording's own time.  What an answer says is
    believed at once: here it is asked for a moment sooner than it was, or later.
    """
    overdue_s = _NEVER_S if recorded.is_lockstep else BarTimes().overdue_s
    bars = BarTimes(late_pause_s=0.05, settle_s=0.0, overdue_s=overdue_s)
    return Timing(redial=Backoff(base_s=0.02, cap_s=0.2), grace_drift_s=0.05, bars=bars)


def _moments(files: tuple[Path, ...], until: int | None) -> Iterator[Moment]:
    """Read what is to be played; not that we hung up at the end, which would look as if the venue had."""
    ends: list[Moment] = []
    has_left = False
    for line in itertools.islice(lines(files), until):
        stamp = market_ns(line)
        if stamp is None:
            continue
        moment = Moment(market_ns=stamp, frame=frame_of(line), note=line)
        if line["k"] == FrameKind.CLOSED.value:
            ends.append(moment)
            continue
        if line["k"] == "trailer":
            break
        has_left = has_left or line["k"] == "left"
        # Once the strategy goes we hang up one socket after the other; only one that was dialled anew had been cut.
        if line["k"] == FrameKind.OPENED.value or not (has_left or line["k"] == "mark"):
            yield from ends
            ends.clear()
        yield moment


# --- the two side by side -------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Result:
    recorded: _Recorded
    again: Seen
    differences: tuple[str, ...]
    remarks: tuple[str, ...]
    lines: int
    took_s: float


def _differences(then: Seen, now: Seen) -> Iterator[str]:
    for name in sorted(then.bars.keys() | now.bars.keys()):
        yield from _first_bar(name, then.bars.get(name, []), _heard_in_time(name, then, now))
    for subject in sorted(then.events.keys() | now.events.keys()):
        was, came = (_heard(seen.events.get(subject)) for seen in (then, now))
        if was != came and not _goes_on(was, came):
            yield f"{subject}: {was} was recorded, {came} came"
    for asset, was, came in _balances(then, now):
        if was != came:
            yield f"balance of {asset}: {was} was recorded, {came} came"


def _heard(said: str | None) -> str:
    """Return what was heard of a subject; of an order that was written down, and no more, nothing was."""
    return "nothing" if said is None or said.startswith("PENDING_NEW 0 of ") else said


def _goes_on(was: str, came: str) -> bool:
    """Say whether an outcome was open when the recording ended, and a replay, which takes longer, settled it."""
    open_end, never_came = "UNKNOWN 0 of ", "REJECTED 0 of "
    if was == "nothing":
        return came.startswith((open_end, never_came))
    return was.startswith(open_end) and came == never_came + was.removeprefix(open_end)


def _balances(then: Seen, now: Seen) -> Iterator[tuple[str, str, str]]:
    was, came = then.balances, now.balances or {}
    if was is not None:
        yield from ((asset, was.get(asset, "0"), came.get(asset, "0")) for asset in sorted(was.keys() | came.keys()))


def _heard_in_time(name: str, then: Seen, now: Seen) -> list[str]:
    """Return the bars of a data, without those pushed after the recorded strategy had begun to go, which it missed."""
    bars, recorded = now.bars.get(name, []), len(then.bars.get(name, ()))
    is_tail = now.left is not None and now.left.get(name, 0) <= recorded
    return bars[:recorded] if is_tail else bars


def _first_bar(name: str, then: list[str], now: list[str]) -> Iterator[str]:
    for number, (was, came) in enumerate(itertools.zip_longest(then, now), 1):
        if was != came:
            yield f"{name}, bar {number}: {_bar(was)} was recorded, {_bar(came)} came"
            return


def _bar(line: str | None) -> str:
    if line is None:
        return "nothing"
    open_ns, _, prices = line.partition(" ")
    return f"{iso(int(open_ns))} {prices}"


def _preface(file: Path, result: _Result) -> Iterator[str]:
    recorded = result.recorded
    yield f"btx replay: {recorded.header['session']}, {result.lines} lines in {result.took_s:.1f} s"
    if not recorded.is_whole:
        mark_ns = recorded.compared_at_ns
        at = f"its last mark, {iso(mark_ns)}" if mark_ns is not None else "what it says before it breaks off"
        yield f"{file.name} has no trailer, its process was killed: compared with {at}"
    if recorded.is_paper:
        yield "its account was a paper one, of which there are no frames: the bars are compared"
    if recorded.dropped:
        yield f"{recorded.dropped} lines are missing in it: the disk was too slow"


def _show(console: Console, file: Path, result: _Result) -> None:
    for line in _preface(file, result):
        console.print(line, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "recorded", "replayed"):
        table.add_column(column, justify="left" if not column else "right")
    then, now = result.recorded.seen, result.again
    for name in sorted(then.bars.keys() | now.bars.keys()):
        table.add_row(f"bars {name}", str(len(then.bars.get(name, ()))), str(len(now.bars.get(name, ()))))
    for kind, title in (("fill ", "fills pushed"), ("order ", "orders pushed"), ("our order ", "our orders")):
        counts = (sum(each.startswith(kind) for each in seen.events) for seen in (then, now))
        table.add_row(title, *map(str, counts))
    for row in _balances(then, now):
        table.add_row(*row)
    console.print(table)
    for remark in dict.fromkeys(result.remarks):
        console.print(f"  remark: {remark}", style="dim", soft_wrap=True)
    if result.differences:
        console.print("[bold red]✗ The live path made something else of it:")
        for difference in result.differences:
            console.print(f"  {difference}", style="red", soft_wrap=True)
    else:
        console.print("[bold green]✓ The live path made the same of it: bars, fills, orders and balances.")


def _as_json(result: _Result) -> dict[str, Any]:
    recorded = result.recorded
    return {
        "equal": not result.differences,
        "differences": list(result.differences),
        "remarks": list(dict.fromkeys(result.remarks)),
        "is_whole": recorded.is_whole,
        "compared_at_ns": recorded.compared_at_ns,
        "dropped": recorded.dropped,
        "lines": result.lines,
        "bars": {name: len(found) for name, found in sorted(result.again.bars.items())},
        "events": len(result.again.events),
        "balances": dict(result.again.balances or {}),
    }

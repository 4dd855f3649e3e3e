"""A desk of bars made of trades on the toy venue, over the real lines, and what came out of it."""

from typing import Any

from btx.model.market import Bar
from btx.model.time import NS_PER_S, Interval
from btx.runtime.lines import MarketLines
from btx.runtime.mailbox import FeedDelayed, FeedEnd, FeedGap, FeedLive, FeedLost, Mailbox, Note, Wakeup
from btx.runtime.prints import Making, TradeChannel, TradeDesk
from tests.toy_venue import ToyVenue
from tests.unit.runtime.rig import AT_ONCE, Log, ToyClock, items, quick_guard
from tests.unit.runtime.tape_rig import numbered
from tests.values import BTC

WORDS = {FeedLive: "live", FeedLost: "lost", FeedDelayed: "delayed", FeedGap: "gap", FeedEnd: "end"}


class PrintsRig:
    def __init__(self, toy: ToyVenue, **changes: Any) -> None:
        self.toy = toy
        self.log = Log()
        self.notes: list[tuple[str, str]] = []
        self.holes: list[str] = []
        self.lines = MarketLines(stream=toy, tell=self._tell, on_fatal=self._on_fatal, redial=AT_ONCE)
        settings: dict[str, Any] = {
            "lines": self.lines,
            "feed": toy,
            "clock": ToyClock(toy),
            "guard": quick_guard(),
            "dense": True,
            "post": lambda mailbox, item, _order: (mailbox.put(item), self.log.add(item)),
            "note": lambda kind, text: (self.notes.append((kind, text)), self.log.touch()),
            "progressed": self.log.touch,
            "on_close": lambda _bar, _instrument: None,
            "on_hole": self.holes.append,
            "span_ns": lambda wall_s: int(wall_s * NS_PER_S),
            "grace_s": 0.001,
            "backoff": AT_ONCE,
            "poll_s": 0.001,
            "lag_pause_s": 0.001,
        }
        self.desk = TradeDesk(**(settings | changes))

    def _tell(self, note: Note) -> None:
        self.notes.append((note.kind, note.text))
        self.log.touch()

    def _on_fatal(self, error: Exception) -> None:
        self.desk.end(error)

    def open(self, interval: str = "5s", *, seconds: int = 0, live: bool = True, **changes: Any) -> Mailbox[Any]:
        mailbox: Mailbox[Any] = Mailbox(Wakeup())
        settings: dict[str, Any] = {
            "index": 0,
            "instrument": BTC,
            "interval": Interval.parse(interval),
            "mailbox": mailbox,
            "live": live,
            "history": lambda now_ns: now_ns - seconds * NS_PER_S,
            "end_ns": None,
            "making": Making(),
        }
        self.desk.open(TradeChannel(**(settings | changes)))
        return mailbox

    async def ready(self) -> None:
        self.desk.connect()
        await self.log.until(lambda: self.desk.is_ready)

    def happen(self, *ids: int, push: bool = True) -> None:
        """Let trades happen, number n in second n."""
        self.toy.print(*map(numbered, ids), push=push)

    async def taken(self, trade_id: int) -> None:
        tapes = [roll.tape for roll in self.desk._rolls]
        await self.log.until(lambda: all((tape.next_id or 0) > trade_id for tape in tapes))

    async def stop(self) -> None:
        await self.desk.stop()
        await self.lines.stop()


def spelled(mailbox: Mailbox[Any]) -> list[Any]:
    """Take what is in a mailbox: bars by the second they open at and their number of trades, words by name."""
    return [_spelled(item) for item in items(mailbox)]


def _spelled(item: Any) -> Any:
    return (item.open_ns // NS_PER_S, item.trades) if isinstance(item, Bar) else WORDS[type(item)]

"""What the tests of the shell share: a log that can be waited for, and desks with a toy venue behind them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from btx.model.order import Fill, Leg, OrderReport, OrderRequest
from btx.model.venue import Channel, Subscription, VenueInfo
from btx.rules.backoff import Backoff
from btx.rules.breaker import Breaker
from btx.runtime.bars import BarDesk, BarTimes
from btx.runtime.channel import BarChannel
from btx.runtime.facts import Timing
from btx.runtime.guard import Guard
from btx.runtime.lines import MarketLines
from btx.runtime.mailbox import Mailbox, Note, OrderUpdate, Wakeup
from btx.runtime.orders import OrderDesk
from btx.runtime.wishes import Wishes
from tests.toy_venue import DEADLINE_S, INFO, ToyVenue
from tests.values import BTC, MINUTE, request

AT_ONCE = Backoff(base_s=0.001, cap_s=0.002)
QUICK_BARS = BarTimes(late_pause_s=0.001, settle_s=0.0)
QUICK = Timing(redial=AT_ONCE, settle_pause_s=0.001, patience_s=0.05, grace_s=0.2, bars=QUICK_BARS)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine; nothing of it may be left on the loop."""

    async def whole() -> None:
        async with asyncio.timeout(4 * DEADLINE_S):
            await work
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left

    asyncio.run(whole())


class Log:
    """A list that can be waited for."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._changed = asyncio.Event()

    def add(self, item: Any) -> None:
        self.items.append(item)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"in vain: {self.items}") from None

    def touch(self) -> None:
        self._changed.set()

    def of(self, kind: type) -> list[Any]:
        return [item for item in self.items if isinstance(item, kind)]


class ToyClock:
    def __init__(self, toy: ToyVenue) -> None:
        self._toy = toy

    def wire_ns(self) -> int:
        return self._toy.now_ns

    def market_ns(self) -> int:
        return self._toy.now_ns


def quick_guard(info: VenueInfo = INFO) -> Guard:
    return Guard(info=info, backoff=AT_ONCE, breaker=Breaker(open_ns=1_000_000))


class BarRig:
    """A bar desk and what came out of it."""

    def __init__(self, toy: ToyVenue, **changes: Any) -> None:
        self.toy = toy
        self.log = Log()
        self.notes: list[tuple[str, str]] = []
        self.closes: list[Any] = []
        self.holes: list[str] = []  # what would halt trading
        self.lines = MarketLines(
            stream=changes.pop("stream", toy),
            tell=self.tell,
            on_fatal=self._on_fatal,
            redial=AT_ONCE,
            **changes.pop("lines", {}),
        )
        settings: dict[str, Any] = {
            "feed": toy,
            "lines": self.lines,
            "clock": ToyClock(toy),
            "guard": quick_guard(),
            "post": lambda mailbox, item, _order: (mailbox.put(item), self.log.add(item)),
            "note": lambda kind, text: (self.notes.append((kind, text)), self.log.touch()),
            "progressed": self.log.touch,
            "on_close": lambda bar, _instrument: self.closes.append(bar),
            "backoff": AT_ONCE,
            "times": QUICK_BARS,
            "on_hole": lambda reason: (self.holes.append(reason), self.log.touch()),
        }
        self.desk = BarDesk(**(settings | changes))

    def tell(self, note: Note) -> None:
        self.notes.append((note.kind, note.text))
        self.log.touch()

    def _on_fatal(self, error: Exception) -> None:
        self.notes.append(("FATAL", f"market stream: {error}"))
        self.desk.end(error)

    async def stop(self) -> None:
        await self.desk.stop()
        await self.lines.stop()

    def open(self, *, bars: int = 0, live: bool = True, **changes: Any) -> Mailbox[Any]:
        mailbox: Mailbox[Any] = Mailbox(Wakeup())
        settings: dict[str, Any] = {
            "index": 0,
            "instrument": BTC,
            "interval": MINUTE,
            "mailbox": mailbox,
            "live": live,
            "history": lambda now_ns: now_ns - bars * MINUTE.nominal_ns,
            "end_ns": None,
        }
        self.desk.open(BarChannel(**(settings | changes)))
        return mailbox

    async def ready(self) -> None:
        self.desk.connect()
        await self.log.until(lambda: self.desk.is_ready)


class OrderRig:
    """An order desk that hears the account stream of a toy venue."""

    def __init__(self, toy: ToyVenue, **changes: Any) -> None:
        self.toy = toy
        self.log = Log()
        self.notes: list[tuple[str, str]] = []
        settings: dict[str, Any] = {
            "broker": toy,
            "clock": ToyClock(toy),
            "guard": quick_guard(),
            "receive_window_s": 5.0,
            "one_at_a_time": False,
            "post": self._post,
            "note": lambda kind, text: (self.notes.append((kind, text)), self.log.touch()),
            "progressed": self.log.touch,
            "patience_s": 0.05,
            "settle_pause_s": 0.001,
            "grace_s": 0.05,
        }
        self.submitted: list[str] = []  # client order ids whose intent is on disk, in the order they were told
        self.desk = OrderDesk(**(settings | changes))

    def _post(self, item: Any) -> None:
        if isinstance(item, OrderUpdate) and item.event is None:
            self.submitted.append(item.order.client_order_id)
        else:
            self.log.add(item)

    def submit(self, client_order_id: str = "a1", **changes: Any) -> Leg:
        asked: OrderRequest = request(**changes)
        leg = Leg(client_order_id=client_order_id, request=asked, quantity=asked.quantity)
        self.desk.submit(leg)
        return leg

    def order(self, client_order_id: str = "a1") -> Any:
        return self.desk.orders[client_order_id]

    async def quiet(self) -> None:
        await self.log.until(lambda: not self.desk.outstanding)


def items(mailbox: Mailbox[Any]) -> list[Any]:
    """Take everything a mailbox holds."""
    taken = []
    while (item := mailbox.take()) is not None:
        taken.append(item)
    return taken


@contextlib.asynccontextmanager
async def listening(rig: OrderRig) -> AsyncIterator[None]:
    """Let the desk hear the account stream; at the end the desk and the stream are stopped."""
    reader = asyncio.create_task(
        rig.toy.run(wanted=Wishes({Subscription(channel=Channel.ACCOUNT)}), sink=lambda event: _hear(rig, event))
    )
    await rig.toy.until(lambda: bool(rig.toy.connections))
    try:
        yield
    finally:
        await rig.desk.stop()
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


def _hear(rig: OrderRig, event: Any) -> None:
    if isinstance(event, OrderReport | Fill):
        rig.desk.on_event(event)

"""The strategy's side of a session, without backtrader: takes what comes, waits where cerebro would."""

import threading
import time
from collections.abc import Callable
from typing import Any

from btx.config import Secret, Settings
from btx.model.venue import Endpoints, Environment
from btx.runtime.io_thread import IoThread, acquire_io
from btx.runtime.mailbox import FeedEnd, Mailbox, Note, OrderUpdate, Wakeup
from btx.runtime.session import Session
from tests.control_peer import ControlPeer
from tests.toy_venue import ToyVenue, loaded
from tests.unit.runtime.rig import QUICK

DEADLINE_S = 60.0
KEYS = Settings(api_key=Secret("the-key"), api_secret=Secret("the-secret"))


async def no_simulator(_resources: Any) -> Endpoints | None:
    return None


def session_with(toy: ToyVenue, *extensions: object, peer: ControlPeer | None = None, **changes: Any) -> Session:
    async def simulator(resources: Any) -> Endpoints | None:
        assert peer is not None
        return await resources.enter_async_context(peer.served())  # type: ignore[no-any-return]

    settings: dict[str, Any] = {
        "venue": loaded(toy, *extensions),
        "environment": Environment.SIM,
        "market": "spot",
        "settings": KEYS if peer is None else Settings(),
        "endpoints": no_simulator if peer is None else simulator,
        "start_timeout_s": DEADLINE_S,
        "timing": QUICK,
    }
    return Session(**(settings | changes))


class Strategy:
    """One loop over the mailboxes of a session, as cerebro would run it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.wakeup = Wakeup()
        session.attach(self.wakeup)
        self.feeds: list[Mailbox[Any]] = []
        self.told: list[tuple[str, Any]] = []  # ("events", item) or ("feed 0", item)
        self.batches: list[list[tuple[str, Any]]] = []
        self.on_item: Callable[[Any], None] = lambda _item: None

    def open(self, **changes: Any) -> Mailbox[Any]:
        mailbox = self.session.open_bars(**changes)
        self.feeds.append(mailbox)
        return mailbox

    def take(self) -> None:
        batch: list[tuple[str, Any]] = []
        boxes = [("events", self.session.events), *((f"feed {n}", box) for n, box in enumerate(self.feeds))]
        for name, box in boxes:
            while (item := box.take()) is not None:
                batch.append((name, item))
        if batch:
            self.batches.append(batch)
        self.told.extend(batch)
        for _, item in batch:
            self.on_item(item)

    def until(self, condition: Callable[[], bool]) -> None:
        """Run the loop until ``condition``; a watchdog ends a patient wait that would last for ever.

        All that was told before the condition was met has been taken then.
        """
        deadline = time.monotonic() + DEADLINE_S
        watchdog = threading.Timer(DEADLINE_S, self.wakeup.signal)
        watchdog.daemon = True
        watchdog.start()
        try:
            while True:
                self.take()
                if condition():
                    self.take()  # it may be met by what the session does between the two lines above
                    return
                assert time.monotonic() < deadline, self.told
                self.wakeup.wait(0.05)
        finally:
            watchdog.cancel()
            watchdog.join()

    def run(self) -> None:
        """Run the loop until every feed has ended."""
        self.until(lambda: len(self.of(FeedEnd)) == len(self.feeds))

    def of(self, kind: type) -> list[Any]:
        return [item for _, item in self.told if isinstance(item, kind)]

    def notes(self, kind: str) -> list[str]:
        return [note.text for note in self.of(Note) if note.kind == kind]

    def statuses(self, client_order_id: str) -> list[str]:
        return [u.order.status.name for u in self.of(OrderUpdate) if u.order.client_order_id == client_order_id]


class Outside:
    """The test's own hold on btx-io: where a toy venue is told what to do."""

    def __init__(self) -> None:
        self.io: IoThread = acquire_io()

    def do(self, action: Callable[..., Any], *args: Any) -> Any:
        async def on_loop() -> Any:
            return action(*args)

        return self.io.run(on_loop(), timeout_s=DEADLINE_S)

    def wait(self, work: Any) -> Any:
        return self.io.run(work, timeout_s=DEADLINE_S)

    def release(self) -> None:
        self.io.release()

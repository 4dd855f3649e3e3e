"""What the journal holds: one record for each thing that must outlive the process."""

import attrs

from btx.model.order import Leg, OrderEvent
from btx.model.venue import Environment

__all__ = ("Event", "Intent", "Note", "Record", "RunEnded", "RunStarted", "Sent", "UnknownRecord")


@attrs.frozen(kw_only=True)
class Intent:
    """A leg that is about to be sent: on disk before its first byte leaves."""

    leg: Leg
    environment: Environment
    session: str  # as in every log line: binance/live/spot
    run: str  # what the client order ids of its run begin with

    @property
    def client_order_id(self) -> str:
        return self.leg.client_order_id

    @property
    def signal_ns(self) -> int:
        """Market time: close of the bar the decision stands on."""
        return self.leg.request.signal_ns


@attrs.frozen(kw_only=True)
class Sent:
    """The leg leaves now: from here on it may rest at the venue. Without it, it certainly does not."""

    client_order_id: str
    time_ns: int  # wire time


@attrs.frozen(kw_only=True)
class Event:
    """What happened to an order: what ``rules.orders.apply`` folds."""

    order_event: OrderEvent

    @property
    def client_order_id(self) -> str:
        return self.order_event.client_order_id


@attrs.frozen(kw_only=True)
class RunStarted:
    """A process began to trade."""

    run: str
    session: str
    environment: Environment
    version: str  # of btx
    time_ns: int  # wire time


@attrs.frozen(kw_only=True)
class RunEnded:
    """It ended of its own will; a run without this one crashed."""

    run: str
    reason: str = ""
    time_ns: int  # wire time


@attrs.frozen(kw_only=True)
class Note:
    """A remark for whoever reads the story; nothing is decided by it."""

    kind: str  # an upper-case word, FAULT
    text: str
    client_order_id: str | None = None
    time_ns: int  # wire time


@attrs.frozen(kw_only=True)
class UnknownRecord:
    """A record of a kind that only a newer btx can read; kept as it stands."""

    kind: str
    client_order_id: str | None
    body: str


Record = Intent | Sent | Event | RunStarted | RunEnded | Note | UnknownRecord

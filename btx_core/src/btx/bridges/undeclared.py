"""What ports answer to what their card does not declare: nobody asks, and who does is told so.

An adapter whose ports are made of these has to write what its venue can do, and nothing else.
"""

from btx.errors import NotSupportedError
from btx.model.instrument import Instrument
from btx.model.market import Bar
from btx.model.order import Leg, OrderList, Receipt
from btx.model.time import Interval

__all__ = ("UndeclaredBroker", "UndeclaredFeed")


class UndeclaredBroker:
    """A broker's operations that ``Capabilities`` may leave out; see :class:`btx.ports.Broker`."""

    async def place_list(self, *, order_list: OrderList) -> Receipt:
        """Refuse: the core ties orders together itself."""
        raise NotSupportedError(f"the venue takes no lists of orders such as {order_list.list_id}")

    async def cancel_all(self, *, instrument: Instrument) -> None:
        """Refuse: the core cancels one order after the other."""
        raise NotSupportedError(f"the venue does not cancel all orders in {instrument.symbol} at once")

    async def replace(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:  # noqa: ARG002
        """Refuse: the core cancels and places instead."""
        raise NotSupportedError(f"the venue replaces no orders: cancel {leg.client_order_id}")

    async def amend(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:  # noqa: ARG002
        """Refuse: the core replaces instead."""
        raise NotSupportedError(f"the venue amends no orders: cancel {leg.client_order_id}")

    async def dead_man(self, *, instrument: Instrument, after_s: float | None) -> None:  # noqa: ARG002
        """Refuse: nothing is cancelled by itself."""
        raise NotSupportedError(f"the venue cancels nothing by itself in {instrument.symbol}")


class UndeclaredFeed:
    """A feed's operation that ``Capabilities`` may leave out; see :class:`btx.ports.Feed`."""

    async def archive(self, *, instrument: Instrument, interval: Interval, year: int, month: int) -> list[Bar] | None:
        """Refuse: history is asked for page by page."""
        raise NotSupportedError(f"the venue has no files of {instrument.symbol} {interval} in {year}-{month:02d}")

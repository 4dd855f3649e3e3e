"""Paper trading: the venue's public streams, and an account of our own that trades against them.

What rests is filled by the public trades, behind the queue that was there before
it; what takes, takes from the book as a request fetched it when the order was
placed, so an order is as late as it would be at the venue.  The account keeps the
venue's grids, fees and order types.  It is an account stream that is lost when the
public stream is, and what traded meanwhile is fetched and matched, also after a
restart.

What differs from real orders: nobody notices a paper order, so it moves no price
and two of them never meet; the rules that an instrument's description does not
carry are not checked; rate limits on orders are ours alone.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from btx.config import Secret
from btx.model.venue import VenueInfo
from btx.plugins import Venue
from btx.ports import Broker, Context, Feed, Store, Stream
from btx.sim.manners import Manners
from btx.sim.paper_broker import PaperBroker
from btx.sim.paper_desk import PaperDesk
from btx.sim.paper_ledger import Ledger
from btx.sim.paper_margin_broker import MarginPaperBroker
from btx.sim.paper_margin_desk import MarginPaperDesk

__all__ = ("PaperVenue",)

_PLACING = ("place", "replace")


class PaperVenue(Venue):
    """A venue whose orders stay here. Everything else is the adapter's.

    ``balances`` is what a new account begins with; ``ledger`` opens where it is
    kept, with each run.
    """

    def __init__(self, venue: Venue, *, balances: Mapping[str, Decimal], ledger: Callable[[], Ledger]) -> None:
        super().__init__(venue.manager, _on_paper(venue.info))
        self._inner = venue
        self._balances = balances
        self._ledger = ledger

    def store(self, context: Context) -> Store:
        return self._desk(context)

    def broker(self, context: Context) -> Broker:
        desk = self._desk(context)
        return MarginPaperBroker(desk) if isinstance(desk, MarginPaperDesk) else PaperBroker(desk)

    def feed(self, context: Context) -> Feed:
        return self._desk(context).feed

    def websocket(self, context: Context) -> Stream:
        return self._desk(context)

    def _desk(self, context: Context) -> PaperDesk | MarginPaperDesk:
        known: PaperDesk | MarginPaperDesk | None = context.shared.get("paper")
        if known is None:
            # The adapter is given no key: the name of a paper account is none, and public data want none.
            settings = attrs.evolve(context.settings, api_key=Secret(""), api_secret=Secret(""))
            public = attrs.evolve(context, settings=settings)
            ledger = self._ledger()
            context.resources.callback(ledger.close)
            parts: dict[str, Any] = {
                "clock": context.clock,
                "store": self._inner.store(public),
                "feed": self._inner.feed(public),
                "stream": self._inner.websocket(public),
                "fees": lambda instrument: self._inner.commission(instrument, None),
                "balances": self._balances,
                "ledger": ledger,
            }
            can = self._inner.info.capabilities[context.market]
            manners = Manners(charges_closing=can.charges_closing)
            known = MarginPaperDesk(**parts, manners=manners) if can.margined else PaperDesk(**parts)
            context.shared["paper"] = known
        return known


def _on_paper(info: VenueInfo) -> VenueInfo:
    """Return a visiting card whose orders cost the book they are placed against, too.

    No trailing stop is kept with a position: nobody does that on paper. On spot no order is amended in place.
    """
    return attrs.evolve(
        info,
        costs={market: _placing_costs(costs) for market, costs in info.costs.items()},
        capabilities={
            market: attrs.evolve(can, position_trail=None, amend=can.amend and can.margined)
            for market, can in info.capabilities.items()
        },
    )


def _placing_costs(costs: Mapping[str, Mapping[str, int]]) -> Mapping[str, Mapping[str, int]]:
    book = costs.get("book", {})
    return {
        name: {limit: cost.get(limit, 0) + book.get(limit, 0) for limit in (*cost, *book)}
        if name.startswith(_PLACING)
        else cost
        for name, cost in costs.items()
    }

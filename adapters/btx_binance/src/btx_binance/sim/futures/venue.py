"""What every request and every socket of one simulated futures market shares."""

from collections.abc import Mapping
from decimal import Decimal

import attrs

from btx.model.account import Balance
from btx.model.order import PositionSide
from btx.sim.exchange import Listing
from btx.sim.world import World
from btx_binance.sim.futures.market import LIMITS, Dialect
from btx_binance.sim.futures.protocol import Protocol
from btx_binance.sim.venue import Venue
from btx_binance.sim.wire import WireError

__all__ = ("FuturesVenue", "MarginChange")


@attrs.frozen(kw_only=True)
class MarginChange:
    """Money a client moved to or from an isolated position."""

    venue_symbol: str
    position_side: PositionSide
    amount: Decimal  # positive: to the position
    asset: str
    time_ns: int


class FuturesVenue(Venue):
    """A world on margin behind the wire, in the dialect of one market and the protocol of one day."""

    def __init__(self, world: World, secrets: Mapping[str, str], dialect: Dialect, protocol: Protocol) -> None:
        super().__init__(world, secrets, LIMITS)
        self.dialect = dialect
        self.protocol = protocol
        self.margin_changes: dict[str, list[MarginChange]] = {api_key: [] for api_key in secrets}

    def listing(self, venue_symbol: str) -> Listing:
        """Return what is listed under a symbol.

        Raises:
            WireError: -1121, nothing is.
        """
        try:
            return self.desk.listings[venue_symbol]
        except KeyError as error:
            raise WireError(-1121, "Invalid symbol.") from error

    def balances(self, api_key: str) -> Mapping[str, Balance]:
        """Return what an account has in its wallet."""
        return self.desk.balances(api_key=api_key)

    def mark_price(self, venue_symbol: str) -> Decimal:
        """Return a symbol's mark price."""
        return self.desk.mark(venue_symbol).mark_price

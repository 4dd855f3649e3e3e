"""What every request and every socket of a simulated venue shares, whoever it is."""

from collections.abc import Mapping

from btx.model.time import to_ms
from btx.sim.exchange import Exchange
from btx.sim.margin_exchange import MarginExchange
from btx.sim.market import Market
from btx.sim.world import World

__all__ = ("Venue",)


class Venue:
    """The world behind a wire, its keys and its two clocks; ``secrets`` are by key."""

    def __init__(self, world: World, secrets: Mapping[str, str]) -> None:
        self.world = world
        self.secrets = secrets

    @property
    def market(self) -> Market:
        """The market, as of its own time."""
        return self.world.market

    @property
    def exchange(self) -> Exchange:
        """The exchange of a market where what is bought is owned."""
        return self.world.exchange

    @property
    def desk(self) -> MarginExchange:
        """The exchange of a market on margin."""
        return self.world.margin

    def wire_ms(self) -> int:
        """Return wall time of the protocol: signatures, meters, what the venue says the time is."""
        return to_ms(self.world.wire_ns())

    def market_ns(self) -> int:
        """Play the market up to now and return its time: the one of every stamp on data and orders."""
        return self.world.market_ns()

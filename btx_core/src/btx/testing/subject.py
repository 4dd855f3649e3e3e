"""The adapter as it was loaded, for cards that start nothing."""

import importlib.metadata
from types import ModuleType

import attrs

from btx.defaults import open_venue
from btx.model.venue import Capabilities, VenueInfo
from btx.plugins import VENUES_GROUP, Venue, offered

__all__ = ("Subject", "distribution_of", "subject_of")


@attrs.frozen(kw_only=True)
class Subject:
    """One market of one adapter."""

    name: str  # of the venue, as the author writes it
    venue: Venue
    market: str
    plugin: object  # what the entry point names

    @property
    def info(self) -> VenueInfo:
        """The visiting card."""
        return self.venue.info

    @property
    def can(self) -> Capabilities:
        """What the market declares."""
        return self.info.capabilities[self.market]

    @property
    def module(self) -> ModuleType | None:
        """The plugin's module, None where the plugin is no module."""
        return self.plugin if isinstance(self.plugin, ModuleType) else None

    @property
    def package(self) -> str:
        """What the adapter's own modules lie in: where its author looks."""
        name: str = self.plugin.__name__ if isinstance(self.plugin, ModuleType) else type(self.plugin).__module__
        return name.rpartition(".")[0] or name

    @property
    def distribution(self) -> importlib.metadata.Distribution | None:
        """The installed distribution that offers the venue, None where it is not installed."""
        return distribution_of(self.name) if offered(self.name) is None else None


def subject_of(name: str, market: str) -> Subject:
    """Load an adapter.

    Raises:
        PluginError: it cannot be used.
    """
    venue = open_venue(name)
    plugin = venue.manager.get_plugin(f"venue {name}")
    return Subject(name=name, venue=venue, market=market, plugin=plugin)


def distribution_of(name: str) -> importlib.metadata.Distribution | None:
    """Return the distribution that offers a venue, None where none does."""
    points = importlib.metadata.entry_points(group=VENUES_GROUP)
    return next((point.dist for point in points if point.name == name), None)

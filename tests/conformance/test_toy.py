"""The honest toy venue: what `btx new` writes before anybody has changed a line of it."""

from btx.testing import VenueConformance
from btx.testing.toy import plugin


class TestToy(VenueConformance):
    venue = "toy"
    plugin = plugin

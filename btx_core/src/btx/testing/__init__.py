"""The conformance kit: what an adapter must do, proven on its own simulator.

::

    from btx.testing import VenueConformance

    class TestKraken(VenueConformance):
        venue = "kraken"
"""

from btx.testing.card import GROUPS, Card, Outcome, Result
from btx.testing.conformance import VenueConformance, conformance
from btx.testing.report import ConformanceCard

__all__ = ("GROUPS", "Card", "ConformanceCard", "Outcome", "Result", "VenueConformance", "conformance")

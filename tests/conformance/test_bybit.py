from btx.testing import VenueConformance


class TestBybit(VenueConformance):
    venue = "bybit"

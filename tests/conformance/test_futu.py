from btx.testing import VenueConformance


class TestFutu(VenueConformance):
    venue = "futu"
    markets = ("hk",)  # New York has the same ports, and other hours

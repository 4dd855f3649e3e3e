from btx.testing import VenueConformance


class TestBinance(VenueConformance):
    venue = "binance"

"""The ids of public trades as texts: digits on spot, UUIDs elsewhere (docs/v5/websocket/public/trade.mdx, 2025)."""

import zlib

__all__ = ("public_trade_id",)

_SPOT_FROM = 2_290_000_000_000_000_000  # where the venue's own were in 2025


def public_trade_id(category: str, venue_symbol: str, number: int) -> str:
    """Return the id of a symbol's ``number``-th trade, the same for everybody and in every run."""
    if category == "spot":
        return str(_SPOT_FROM + number)
    return f"{zlib.crc32(venue_symbol.encode()):08x}-0000-5000-8000-{number:012x}"

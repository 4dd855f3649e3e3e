"""Where Toy is, and what its signed requests need."""

from btx.bridges.places import Places

__all__ = (
    "LINEAR",  # margin
    "PLACES",
    "SPOT",
)

SPOT = "spot"
"""The market of what is bought and owned."""

LINEAR = "linear"  # margin
"""The market of perpetuals, on margin."""  # margin

# REPLACE: the venue's own addresses, with the page and the date they were read at, such as
#   (SPOT, Environment.LIVE): "wss://stream.toy.example"
PLACES = Places(title="Toy", rest={}, streams={}, longest_receive_window_ms=60_000)
"""The addresses by market and environment; a simulator's come with the session."""

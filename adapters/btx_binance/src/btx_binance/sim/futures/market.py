"""The two futures markets of the venue, and in what their interfaces differ."""

from collections.abc import Mapping

import attrs

from btx.errors import ConfigError
from btx_binance.sim.faults import Failures
from btx_binance.sim.meters import Limit, Limits

__all__ = ("COINM", "DIALECTS", "FAILURES", "LIMITS", "USDM", "Dialect", "dialect_of")


@attrs.frozen(kw_only=True)
class Dialect:
    """One of the futures markets: its name here, where it is served, and what its contracts are settled in."""

    name: str  # usdm
    prefix: str  # /fapi
    is_inverse: bool  # contracts of so many quote units, settled in the base coin
    usual: tuple[str, ...]  # what the synthetic market trades when nobody says


USDM = Dialect(name="usdm", prefix="/fapi", is_inverse=False, usual=("BTC/USDT:USDT", "ETH/USDT:USDT"))
COINM = Dialect(name="coinm", prefix="/dapi", is_inverse=True, usual=("BTC/USD:BTC", "ETH/USD:ETH"))

DIALECTS: Mapping[str, Dialect] = {one.name: one for one in (USDM, COINM)}

# exchangeInfo of 2025-08-07; from 2026-06-30 on both markets count in the same pools
# (Important-CM-UM-Integration-Notice, A.3).  Texts: error-code.md of 2026-05-28, -1003.
LIMITS = Limits(
    weight=Limit(kind="REQUEST_WEIGHT", interval="MINUTE", count=1, limit=2400),
    orders=(
        Limit(kind="ORDERS", interval="MINUTE", count=1, limit=1200),
        Limit(kind="ORDERS", interval="SECOND", count=10, limit=300),
    ),
    too_much="Too many requests; current limit is {limit} requests per minute. "
    "Please use the websocket for live updates to avoid polling the API.",
    banned="Way too many requests; IP banned until {until}. Please use the websocket for live updates to avoid bans.",
)


_THROTTLED = (
    "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try again."
)
_LOST = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
# general-info, "HTTP Return Codes" and "HTTP 503 Status: Message Variants & Handling", 2026-05-28.
FAILURES = Failures(
    not_done=(
        (503, -1008, _THROTTLED),
        (503, -1001, "Internal error; unable to process your request. Please try again."),
        (503, -1016, "This service is no longer available."),
    ),
    unknown=(
        (408, -1007, _LOST),
        (503, -1006, "An unexpected response was received from the message bus. Execution status unknown."),
        (503, -1000, "Unknown error, please check your request or try again later."),
    ),
)


def dialect_of(market: str) -> Dialect:
    """Return the futures market of a name.

    Raises:
        ConfigError: there is none.
    """
    try:
        return DIALECTS[market]
    except KeyError as error:
        raise ConfigError(
            f"Binance has no market {market!r} in the simulator: write 'spot', {', '.join(map(repr, DIALECTS))}"
        ) from error

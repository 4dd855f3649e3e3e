"""How Binance says that something failed, and which class an operation belongs to.

The class is read off the table of routes, here and nowhere else.  Texts and codes: ``errors.md`` and ``rest-api.md``,
"HTTP Return Codes" (2026).
"""

import re
from typing import Any

import attrs

from btx.sim.faults import Fault, Kind, Where
from btx.sim.skin import mishaps
from btx_binance.sim.meters import Meters
from btx_binance.sim.venue import Call, Security
from btx_binance.sim.wire import WireError

__all__ = ("SPOT", "Failures", "Mishaps", "Trouble", "operation_of")

Mishaps = mishaps.Mishaps[WireError]
"""What goes wrong at this venue."""

_ROOT = re.compile(r"/[a-z]+/v\d/")
_ORDERS = re.compile(
    "order|openOrders|allOrders|orderList|openOrderList|allOrderList|myTrades|order/.*"
    "|openOrder|userTrades|orderAmendment|forceOrders|algoOrder|openAlgoOrders|allAlgoOrders|batchOrders"
)
_SETTINGS = re.compile(
    "leverage|marginType|positionMargin|positionSide/dual|multiAssetsMargin|countdownCancelAll|feeBurn"
)
_LISTEN_KEY = "listenKey"


@attrs.frozen(kw_only=True)
class Failures:
    """How a system says that it failed: HTTP status, code and text; by the form of the fault."""

    not_done: tuple[tuple[int, int, str], ...]
    unknown: tuple[tuple[int, int, str], ...]  # the request may have been done


_LOST = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
_STRANGE = "An unexpected response was received from the message bus. Execution status unknown."
_SORRY = "Unknown error, please check your request or try again later."

SPOT = Failures(
    not_done=(
        (503, -1008, "Server is currently overloaded with other requests. Please try again in a few minutes."),
        (500, -1001, "Internal error; unable to process your request. Please try again."),
        (503, -1016, "This service is no longer available."),
    ),
    unknown=((503, -1007, _LOST), (500, -1006, _STRANGE), (503, -1000, _SORRY)),
)


def operation_of(call: Call[Any]) -> Where:
    """Return the class of an operation: what it does to orders, or whose data it reads."""
    verb, path = call.rest or ("GET", (call.method or "").partition(".")[0])
    path = _ROOT.sub("", path)
    if path == _LISTEN_KEY:
        return Where.ACCOUNT
    if call.security is not Security.SIGNED:
        return Where.MARKET
    if verb == "DELETE":
        return Where.CANCEL
    if path.endswith("/test"):  # it makes no order
        return Where.QUERY
    if verb in ("POST", "PUT"):
        return Where.ACCOUNT if _SETTINGS.fullmatch(path) else Where.PLACE
    return Where.QUERY if _ORDERS.fullmatch(path) else Where.ACCOUNT


@attrs.frozen(kw_only=True)
class Trouble:
    """How one of the venue's systems says that something failed."""

    meters: Meters
    failures: Failures

    refusals = (503, 403, 429, None)  # overload, the firewall, too many of them, cut before an answer
    meter_headers = "X-MBX"

    def limited(self, fault: Fault, until_ns: int) -> WireError:
        """Return the error of too much request weight, or of having carried on."""
        if fault.kind is Kind.BAN:
            return self.meters.banned(until_ns)
        return self.meters.too_much(self.meters.limits.weight, until_ns)

    def key_expired(self) -> WireError:
        """Return the error of a key that is valid no more."""
        return WireError(-2015, "Invalid API-key, IP, or permissions for action.", status=401)

    def not_done(self, form: int) -> WireError:
        """Return the error of a request that was not done."""
        return _error(self.failures.not_done, form)

    def unknown(self, form: int) -> WireError:
        """Return the error of a request that may have been done."""
        return _error(self.failures.unknown, form)


def _error(failures: tuple[tuple[int, int, str], ...], form: int) -> WireError:
    status, code, text = failures[form % len(failures)]
    return WireError(code, text, status=status)

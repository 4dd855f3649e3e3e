"""The venue's rate meters: requests per second of an account and endpoint, and per address.

docs/v5/rate-limit.mdx: "rolling time window per second and UID", per endpoint; 600 requests in 5 seconds per
address, beyond which everything is answered with a bare 403 for ten minutes (2025).  Pure bookkeeping: time is an
argument.
"""

from collections import deque

import attrs

from btx.model.time import NS_PER_S, to_ms
from btx.sim.rolling import forget
from btx_bybit.sim.wire import WireError

__all__ = ("ADDRESS_REQUESTS", "TOO_FREQUENT", "TOO_MANY", "Meters")

TOO_MANY = (10006, "Too many visits. Exceeded the API Rate Limit.")
ADDRESS_REQUESTS = 600
TOO_FREQUENT = 403
"""The status an address that is kept out is answered with; there is no code in it, and no word of until when."""
_ADDRESS_NS = 5 * NS_PER_S
_BAN_NS = 600 * NS_PER_S


@attrs.define
class _Address:
    times_ns: deque[int] = attrs.field(factory=deque)
    banned_until_ns: int = 0


class Meters:
    """Counts what each account and each address used, and refuses what goes beyond."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str], deque[int]] = {}
        self._addresses: dict[str, _Address] = {}

    def address(self, address: str, now_ns: int) -> None:
        """Count one request of an address; where the clock was set back, a ban by the old one is over.

        Raises:
            WireError: status 403 without a code, it asks too often.
        """
        state = self._addresses.setdefault(address, _Address())
        if state.times_ns and state.times_ns[-1] > now_ns:
            state.banned_until_ns = 0
        forget(state.times_ns, window_ns=_ADDRESS_NS, now_ns=now_ns)
        state.times_ns.append(now_ns)
        if now_ns >= state.banned_until_ns and len(state.times_ns) > ADDRESS_REQUESTS:
            state.banned_until_ns = now_ns + _BAN_NS
        if now_ns < state.banned_until_ns:
            raise WireError(TOO_FREQUENT, "access too frequent", status=TOO_FREQUENT)

    def banned(self) -> WireError:
        """Return the error for an address that shall wait a moment, by the code the manual has struck out since."""
        return WireError(10018, "Exceeded the IP Rate Limit.")

    def take(self, account: str, path: str, limit: int, units: int, now_ns: int) -> None:
        """Count ``units`` requests of an account to an endpoint.

        Raises:
            WireError: 10006; nothing is counted then.
        """
        used = self._recent(account, path, now_ns)
        if len(used) + units > limit:
            reset_ns = (used[0] if used else now_ns) + NS_PER_S
            raise WireError(*TOO_MANY, headers=_headers(limit, limit - len(used), reset_ns))
        used.extend([now_ns] * units)

    def headers(self, account: str, path: str, limit: int, now_ns: int) -> dict[str, str]:
        """Return what answers tell of an account's limit at an endpoint; nothing where there is none."""
        if not limit or not account:
            return {}
        return _headers(limit, limit - len(self._recent(account, path, now_ns)), now_ns)

    def too_much(self, limit: int, until_ns: int) -> WireError:
        """Return the error for an account that is beyond a limit until then."""
        return WireError(*TOO_MANY, headers=_headers(limit, 0, until_ns))

    def _recent(self, account: str, path: str, now_ns: int) -> deque[int]:
        used = self._used.setdefault((account, path), deque())
        forget(used, window_ns=NS_PER_S, now_ns=now_ns)
        return used


def _headers(limit: int, left: int, reset_ns: int) -> dict[str, str]:
    return {
        "X-Bapi-Limit": str(limit),
        "X-Bapi-Limit-Status": str(max(left, 0)),
        "X-Bapi-Limit-Reset-Timestamp": str(to_ms(reset_ns)),
    }

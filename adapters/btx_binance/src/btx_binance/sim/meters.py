"""The venue's rate meters: request weight and raw requests per address, orders per account.

Meters count in fixed windows of wall time that start at whole multiples of
their length, as ``web-socket-api.md`` ("How to interpret rate limits", 2026)
describes.  Pure bookkeeping: time is an argument.
"""

from typing import Any

import attrs

from btx.model.time import NS_PER_MS, NS_PER_S, to_ms
from btx.sim.skin.text import JSON
from btx_binance.sim.wire import WireError

__all__ = (
    "ORDERS",
    "RATE_LIMITS",
    "RAW_REQUESTS",
    "SPOT",
    "WEIGHT",
    "Limit",
    "Limits",
    "Meters",
    "status",
)

_SECONDS = {"SECOND": 1, "MINUTE": 60, "DAY": 86_400}


@attrs.frozen(kw_only=True)
class Limit:
    """``limit`` units in each window of ``count`` ``interval``."""

    kind: str
    interval: str
    count: int
    limit: int

    @property
    def window_ns(self) -> int:
        return _SECONDS[self.interval] * self.count * NS_PER_S

    @property
    def letters(self) -> str:
        """``1M``, ``10S``: how response headers write the window."""
        return f"{self.count}{self.interval[0]}"

    @property
    def words(self) -> str:
        """``10 SECOND``: how messages write the window."""
        return f"{self.count} {self.interval}"


@attrs.frozen(kw_only=True)
class Limits:
    """What one of the venue's systems meters, and its words for too much of it."""

    weight: Limit  # per address
    orders: tuple[Limit, ...]  # per account
    raw: Limit | None = None  # requests, per address
    has_bare_header: bool = False  # X-MBX-USED-WEIGHT, without the window
    too_much: str  # with {limit}, {units} and {window}
    banned: str  # with {until}

    @property
    def listed(self) -> tuple[Limit, ...]:
        """What exchangeInfo shows."""
        return (self.weight, *self.orders, *(() if self.raw is None else (self.raw,)))


# exchangeInfo of 2025-08-07.
WEIGHT = Limit(kind="REQUEST_WEIGHT", interval="MINUTE", count=1, limit=6000)
ORDERS = (
    Limit(kind="ORDERS", interval="SECOND", count=10, limit=100),
    Limit(kind="ORDERS", interval="DAY", count=1, limit=200_000),
)
RAW_REQUESTS = Limit(kind="RAW_REQUESTS", interval="MINUTE", count=5, limit=61_000)
SPOT = Limits(
    weight=WEIGHT,
    orders=ORDERS,
    raw=RAW_REQUESTS,
    has_bare_header=True,
    too_much="Too much request weight used; current limit is {limit} {units} per {window}. "
    "Please use WebSocket Streams for live updates to avoid polling the API.",
    banned="Way too much request weight used; IP banned until {until}. "
    "Please use WebSocket Streams for live updates to avoid bans.",
)
RATE_LIMITS = SPOT.listed

# The manual says "repeatedly violating" and "from 2 minutes to 3 days"; how often and how fast is our choice.
_VIOLATIONS_TO_BAN = 10
_BANS_NS = tuple(minutes * 60 * NS_PER_S for minutes in (2, 10, 60, 24 * 60, 3 * 24 * 60))


@attrs.define
class _Address:
    violations: int = 0
    bans: int = 0
    banned_until_ns: int = 0


class Meters:
    """Counts what each address and each account used, and refuses what goes beyond."""

    def __init__(self, limits: Limits = SPOT) -> None:
        self.limits = limits
        self._used: dict[tuple[str, Limit], tuple[int, int]] = {}
        self._addresses: dict[str, _Address] = {}

    def used(self, who: str, limit: Limit, now_ns: int) -> int:
        """Return the units ``who`` used in the window that ``now_ns`` lies in.

        Where the clock was set back the window that was begun goes on: it would come a second time otherwise,
        and with it a count that had been forgotten.
        """
        window, count = self._used.get((who, limit), (0, 0))
        return count if window >= now_ns // limit.window_ns else 0

    def take(self, who: str, limit: Limit, units: int, now_ns: int) -> int:
        """Add ``units`` and return the sum of the window."""
        count = self.used(who, limit, now_ns) + units
        self._used[who, limit] = (now_ns // limit.window_ns, count)
        return count

    def request(self, address: str, weight: int, now_ns: int) -> None:
        """Count one request of ``weight``.

        Raises:
            WireError: status 429 past a limit, 418 for an address that carried on.
        """
        state = self._addresses.setdefault(address, _Address())
        if now_ns < state.banned_until_ns:
            raise self.banned(state.banned_until_ns)
        over = self._exceeded(address, weight, now_ns)
        if over is None:
            return
        state.violations += 1
        if state.violations > _VIOLATIONS_TO_BAN:
            state.violations = 0
            state.banned_until_ns = now_ns + _BANS_NS[min(state.bans, len(_BANS_NS) - 1)]
            state.bans += 1
            raise self.banned(state.banned_until_ns)
        raise self.too_much(over, (now_ns // over.window_ns + 1) * over.window_ns)

    def _exceeded(self, address: str, weight: int, now_ns: int) -> Limit | None:
        limits = self.limits
        raw = self.take(address, limits.raw, 1, now_ns) if limits.raw is not None else 0
        if self.take(address, limits.weight, weight, now_ns) > limits.weight.limit:
            return limits.weight
        return limits.raw if limits.raw is not None and raw > limits.raw.limit else None

    def too_much(self, limit: Limit, until_ns: int) -> WireError:
        """Return the error for an address that is beyond a limit until then."""
        units = "request weight" if limit is self.limits.weight else "raw requests"
        text = self.limits.too_much.format(limit=limit.limit, units=units, window=limit.words)
        return WireError(-1003, text, status=429, retry_at_ms=to_ms(until_ns + NS_PER_MS - 1))

    def banned(self, until_ns: int) -> WireError:
        """Return the error for an address that carried on, and is shut out until then."""
        until_ms = to_ms(until_ns)
        return WireError(-1003, self.limits.banned.format(until=until_ms), status=418, retry_at_ms=until_ms)

    def order(self, account: str, now_ns: int, *, units: int | tuple[int, ...] = 1) -> None:
        """Count the orders of one request of ``account``: a list is several, and may count differently per limit.

        Raises:
            WireError: -1015, status 429, past a limit; the request does not count then.
        """
        limits = self.limits.orders
        counts = units if isinstance(units, tuple) else (units,) * len(limits)
        for limit, count in zip(limits, counts, strict=True):
            if self.used(account, limit, now_ns) + count > limit.limit:
                raise WireError(
                    -1015,
                    f"Too many new orders; current limit is {limit.limit} orders per {limit.words}.",
                    status=429,
                )
        for limit, count in zip(limits, counts, strict=True):
            self.take(account, limit, count, now_ns)

    def order_counts(self, account: str, now_ns: int) -> list[JSON]:
        """Return the state of an account's order meters, as the API lists it."""
        return [status(limit, self.used(account, limit, now_ns)) for limit in self.limits.orders]

    def weight_count(self, address: str, now_ns: int) -> JSON:
        """Return the state of an address's weight meter, as the API lists it."""
        return status(self.limits.weight, self.used(address, self.limits.weight, now_ns))

    def headers(self, address: str, account: str | None, now_ns: int) -> dict[str, str]:
        """Return the response headers: used weight, and the order counts of ``account``."""
        weight = self.limits.weight
        used = str(self.used(address, weight, now_ns))
        headers = {f"X-MBX-USED-WEIGHT-{weight.letters}": used}
        if self.limits.has_bare_header:
            headers["X-MBX-USED-WEIGHT"] = used
        if account is not None:
            for limit in self.limits.orders:
                headers[f"X-MBX-ORDER-COUNT-{limit.letters}"] = str(self.used(account, limit, now_ns))
        return headers


def status(limit: Limit, count: int | None = None) -> dict[str, Any]:
    """Return a limit, with its present count if there is one, as the API lists it."""
    listed: dict[str, Any] = {
        "rateLimitType": limit.kind,
        "interval": limit.interval,
        "intervalNum": limit.count,
        "limit": limit.limit,
    }
    return listed if count is None else {**listed, "count": count}

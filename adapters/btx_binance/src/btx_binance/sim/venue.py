"""What every request and every socket of one simulated venue shares."""

import enum
import itertools
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Generic, TypeVar

import attrs

from btx.model.account import Balance
from btx.sim.exchange import Listing
from btx.sim.skin import venue as skins
from btx.sim.world import World
from btx_binance.sim.meters import SPOT, Limits, Meters
from btx_binance.sim.params import AUTH, Param, Raw, missing, read
from btx_binance.sim.wire import WireError, signature_fits

__all__ = ("Ask", "Call", "Security", "Terms", "V", "Venue", "authorize")

V = TypeVar("V", bound="Venue", contravariant=True)  # noqa: PLC0105 -- it is what most signatures name
"""The venue a call runs at: of spot, or of one of the futures markets."""

_RECV_WINDOW_MS = Decimal(5000)
_RECV_WINDOW_MAX_MS = Decimal(60_000)
_AHEAD_MS = 1000
_MICROSECONDS_FROM = 10**14  # a later millisecond than this lies after the year 5138


class Security(enum.Enum):
    """Who may call (rest-api.md, "Endpoint security type")."""

    NONE = "NONE"
    KEY = "KEY"  # USER_STREAM and MARKET_DATA: a key, no signature
    SIGNED = "SIGNED"  # TRADE and USER_DATA


@attrs.frozen(kw_only=True)
class Ask:
    """One request that was read and, where it must be, signed."""

    values: Mapping[str, Any]
    api_key: str  # "" for a public call
    market_ns: int  # when it arrived; the market was played up to then

    def get(self, name: str, default: Any = None) -> Any:
        """Return a parameter's value, or ``default`` where it was not sent."""
        return self.values.get(name, default)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


@attrs.frozen(kw_only=True)
class Terms:
    """What an operation takes, costs and demands."""

    params: tuple[Param, ...] | None = ()  # None: refused whatever is sent
    weight: int | Callable[[Mapping[str, Raw]], int] = 1
    security: Security = Security.NONE
    counts_orders: bool = False  # answers carry the account's order counts
    any_case: bool = False  # parameters may be written in small and capital letters as one likes

    def weigh(self, sent: Mapping[str, Raw]) -> int:
        """Return the request weight of a call with these parameters."""
        return self.weight if isinstance(self.weight, int) else self.weight(sent)

    def read(self, sent: Mapping[str, Raw]) -> dict[str, Any]:
        """Return the values of the parameters.

        Raises:
            WireError: they are not what the operation takes.
        """
        if self.params is None:
            return {}
        params = self.params + (AUTH if self.security is not Security.NONE else ())
        if self.any_case:
            names = {param.name.lower(): param.name for param in params}
            sent = {names.get(name.lower(), name): value for name, value in sent.items()}
        return read(params, sent)


@attrs.frozen(kw_only=True)
class Call(Terms, Generic[V]):
    """One operation of the venue, under its REST address and its WebSocket API method."""

    run: Callable[[V, Ask], Any]
    rest: tuple[str, str] | None = None  # GET, /api/v3/...
    method: str | None = None  # order.place


class Venue(skins.Venue):
    """The world behind the wire, and the little the wire has to remember itself."""

    def __init__(self, world: World, secrets: Mapping[str, str], limits: Limits = SPOT) -> None:
        super().__init__(world, secrets)
        self.meters = Meters(limits)
        self.cancel_ids: dict[tuple[str, int], str] = {}
        self._made_ids = itertools.count(1)

    def listing(self, venue_symbol: str) -> Listing:
        """Return what is listed under a symbol.

        Raises:
            WireError: -1121, nothing is.
        """
        try:
            return self.exchange.listings[venue_symbol]
        except KeyError as error:
            raise WireError(-1121, "Invalid symbol.") from error

    def balances(self, api_key: str) -> Mapping[str, Balance]:
        """Return what an account owns."""
        return self.exchange.balances(api_key=api_key)

    def made_id(self) -> str:
        """Return a client id as the venue makes one when none was sent."""
        return f"sim{next(self._made_ids):019d}"


def authorize(
    venue: Venue, terms: Terms, sent: Mapping[str, Raw], *, api_key: str | None, payload: str, trusted: bool
) -> str:
    """Return the key a request may act for, "" for a public call.

    ``payload`` is the text the signature was made over.  ``trusted`` requests
    come over a session that is logged on; they carry no signature of their own.

    Raises:
        WireError: -2014, -2015, -1102, -1131, -1021 or -1022.
    """
    if terms.security is Security.NONE:
        return ""
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise WireError(-2014, "API-key format invalid.", status=401)
    if api_key not in venue.secrets:
        raise WireError(-2015, "Invalid API-key, IP, or permissions for action.", status=401)
    if terms.security is Security.SIGNED:
        values = read(AUTH, {name: sent[name] for name in _AUTH_NAMES if name in sent})
        _check_time(values, venue.wire_ms())
        if not trusted:
            if "signature" not in values:
                raise missing("signature")
            if not signature_fits(payload, values["signature"], venue.secrets[api_key]):
                raise WireError(-1022, "Signature for this request is not valid.")
    return api_key


_AUTH_NAMES = tuple(param.name for param in AUTH)


def _check_time(values: Mapping[str, Any], now_ms: int) -> None:
    if "timestamp" not in values:
        raise missing("timestamp")
    window_ms = values.get("recvWindow", _RECV_WINDOW_MS)
    if window_ms > _RECV_WINDOW_MAX_MS:
        raise WireError(-1131, "recvWindow must be less than 60000")
    stamp = values["timestamp"]
    stamp_ms = stamp // 1000 if stamp >= _MICROSECONDS_FROM else stamp
    if stamp_ms >= now_ms + _AHEAD_MS:
        raise WireError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - stamp_ms > window_ms:
        raise WireError(-1021, "Timestamp for this request is outside of the recvWindow.")

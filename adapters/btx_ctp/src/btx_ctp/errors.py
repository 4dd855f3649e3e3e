"""CTP's ErrorIDs, and what each says about the request it answers.

Source: ``error.xml`` of the vendor's kit 6.7, and its manual's pages on login and flow control.
"""

from collections.abc import Callable, Mapping

from btx.errors import (
    AuthenticationError,
    BtxError,
    InsufficientFundsError,
    OrderNotFoundError,
    OrderRejectedError,
    RateLimitedError,
    TransportError,
    VenueError,
)

__all__ = ("LOCKING", "NOT_LOGGED_IN", "error_of", "refused_call")

_WAIT_S = 1.0  # queries and orders are counted by the second

_LIMITED = frozenset({90, 116})
NOT_LOGGED_IN = 6
"""The front has forgotten the login, or there was none: only another connection helps."""

_NOT_READY = frozenset({NOT_LOGGED_IN, 7, 8})  # or the front is not up: dial again later
_UNAUTHORISED = frozenset({3, 4, 5, 60, 63, 64, 75, 131, 140, 141})
LOCKING = frozenset({3, 63, 75, 140, 141})
"""Refusals of a login that count towards locking the account, or the address: never tried again by ourselves."""

_ENGLISH: Mapping[int, str] = {
    3: "the user or the password is not accepted",
    6: "not logged in",
    7: "the front is not initialised",
    8: "the front is not active",
    9: "the account may not do that",
    13: "no such investor",
    15: "a field of the order is wrong",
    16: "no such contract",
    22: "the OrderRef was used before",
    25: "no such order to cancel",
    26: "the order has filled or ended",
    30: "there is less to close",
    31: "the account has not the money",
    42: "the settlement of yesterday is not confirmed",
    50: "less was opened today than is to be closed",
    51: "less is of before today than is to be closed",
    63: "the client is not accepted (app_id, auth_code)",
    64: "the client was not authenticated",
    75: "too many failed logins: the account is locked",
    90: "too many queries",
    116: "too many orders",
    140: "the password must be changed at the first login",
    141: "the password has expired",
}
_CALLS: Mapping[int, Callable[[str], BtxError]] = {
    -1: lambda text: TransportError(f"{text}: there is no connection to the front"),
    -2: lambda text: RateLimitedError(
        f"{text}: too many queries wait", retry_after_s=_WAIT_S, code=-2, scope="account"
    ),
    -3: lambda text: RateLimitedError(
        f"{text}: too many queries in a second", retry_after_s=_WAIT_S, code=-3, scope="account"
    ),
}


def error_of(error_id: int, message: str, *, what: str) -> BtxError:
    """Return the error of an answer; ``what`` is what was asked for."""
    english = _ENGLISH.get(error_id)
    text = f"CTP refuses {what}: {f'{english} ' if english else ''}({error_id} {message})"
    if error_id in _LIMITED:
        return RateLimitedError(text, retry_after_s=_WAIT_S, code=error_id, scope="account")
    if error_id in _NOT_READY:
        return TransportError(text)
    if error_id in _UNAUTHORISED:
        return AuthenticationError(text, code=error_id)
    if error_id in {25, 26}:
        return OrderNotFoundError(text, code=error_id)
    if error_id == 31:
        return InsufficientFundsError(text, code=error_id)
    is_order = what in {"an order", "a cancel"}
    return OrderRejectedError(text, code=error_id) if is_order else VenueError(text, code=error_id)


def refused_call(code: int, *, what: str) -> BtxError:
    """Return the error of a call that the library itself did not take."""
    made = _CALLS.get(code)
    return made(f"CTP: {what}") if made is not None else TransportError(f"CTP's library refuses {what} ({code})")

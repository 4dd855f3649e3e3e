"""What a venue's answer, or its absence, means for the request: the one place where errors are decided.

An adapter gives its venue's codes as :class:`Verdicts`; whether a request may be sent again follows from the
verdict and from what the request was for, alike for every venue.
"""

import enum
import math
import re
import socket
from collections.abc import Collection, Mapping

import aiohttp
import attrs

from btx.errors import (
    AuthenticationError,
    BtxError,
    ClockError,
    FilterError,
    InsufficientFundsError,
    NotSupportedError,
    OrderNotFoundError,
    OrderRejectedError,
    OutcomeUnknownError,
    RateLimitedError,
    TransportError,
    UnknownSymbolError,
    VenueError,
)

__all__ = ("Answer", "Operation", "Verdict", "Verdicts", "error_of", "no_answer", "outcome_open", "scrub")

_LIMIT_DEFAULT_S = 60.0  # when a venue says "too fast" without saying for how long: one window of a minute


class Operation(enum.Enum):
    """What a request was for: the same answer means another thing for an order than for a question."""

    READ = "read"
    PLACE = "place"
    CANCEL = "cancel"


class Verdict(enum.Enum):
    """What a venue's answer, or its absence, says about a request."""

    REJECTED = "rejected"
    INSUFFICIENT_FUNDS = "insufficient funds"
    FILTER = "filter"
    NOT_FOUND = "not found"
    DUPLICATE = "duplicate"  # an order of this client id is there already: it may be ours
    UNKNOWN_SYMBOL = "unknown symbol"
    UNSUPPORTED = "unsupported"
    UNAUTHORISED = "unauthorised"
    CLOCK = "clock"  # the request's time stamp was not accepted
    LIMITED = "limited"
    LIMITED_ACCOUNT = "limited account"  # a limit of the account, not of the address
    NOT_DONE = "not done"
    UNKNOWN = "unknown"  # it may have been done


@attrs.frozen(kw_only=True)
class Verdicts:
    """A venue's error codes; ``texts`` are looked at first, for codes that mean several things.

    ``pauses_s`` says how long a venue that was asked too often wants to be left alone, by its code or the HTTP
    status, and ``reset_header`` which header names the moment (ms, wire clock) that it listens again.
    """

    codes: Mapping[str, Verdict]
    texts: tuple[tuple[str, str, Verdict], ...] = ()  # code, part of the message, verdict
    pauses_s: Mapping[str, float] = attrs.field(factory=dict)
    reset_header: str = ""  # in lower case


@attrs.frozen(kw_only=True)
class Answer:
    """What the venue replied to a request that failed."""

    status: int | None  # HTTP; None on a socket
    code: str | None  # the venue's own
    message: str
    headers: Mapping[str, str] = attrs.field(factory=dict)
    retry_at_ms: int | None = None  # wire clock
    answered_ms: int | None = None  # wire clock, where the answer says when it was given


_CLASSES: Mapping[Verdict, Mapping[Operation, type[VenueError]]] = {
    Verdict.REJECTED: {
        Operation.READ: VenueError,
        Operation.PLACE: OrderRejectedError,
        Operation.CANCEL: OrderRejectedError,
    },
    Verdict.INSUFFICIENT_FUNDS: dict.fromkeys(Operation, InsufficientFundsError),
    Verdict.FILTER: dict.fromkeys(Operation, FilterError),
    Verdict.NOT_FOUND: {
        Operation.READ: OrderNotFoundError,
        Operation.PLACE: OrderRejectedError,
        Operation.CANCEL: OrderNotFoundError,
    },
    Verdict.UNSUPPORTED: dict.fromkeys(Operation, NotSupportedError),
    Verdict.UNAUTHORISED: dict.fromkeys(Operation, AuthenticationError),
    Verdict.CLOCK: dict.fromkeys(Operation, ClockError),
}

# HTTP statuses that speak for themselves; any other from 400 to 499 is a refusal, and so is a code; else nobody knows.
_STATUSES: Mapping[int, Verdict] = {
    401: Verdict.UNAUTHORISED,
    403: Verdict.LIMITED,  # a firewall in front of the venue, not the venue
    407: Verdict.UNAUTHORISED,
    408: Verdict.UNKNOWN,
    418: Verdict.LIMITED,
    429: Verdict.LIMITED,
    451: Verdict.UNAUTHORISED,  # not from this place
}

# Failures before the first byte left.
_NEVER_LEFT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, socket.gaierror)


def error_of(
    answer: Answer,
    *,
    venue: str,
    operation: Operation,
    verdicts: Verdicts,
    now_ms: int,
    secrets: Collection[str] = (),
) -> BtxError:
    """Return the error that says what the caller may do after an answer; it holds no secret.

    ``now_ms`` is the wire clock: some venues name the moment a ban ends, not its length.
    """
    text = scrub(f"{venue}: {answer.message}", secrets)
    if answer.code is not None:
        text = f"{text} [{answer.code}]"
    verdict = _verdict(answer, verdicts)
    if verdict in {Verdict.LIMITED, Verdict.LIMITED_ACCOUNT}:
        scope = "account" if verdict is Verdict.LIMITED_ACCOUNT else "ip"
        pause_s = _retry_after_s(answer, verdicts, now_ms)
        return RateLimitedError(text, retry_after_s=pause_s, code=answer.code, scope=scope)
    return _error(verdict, operation, text, answer)


def no_answer(
    below: BaseException, *, venue: str, operation: Operation, secrets: Collection[str] = (), detail: str | None = None
) -> TransportError:
    """Return the error for a request that aiohttp could not send, or got no answer to; it holds no secret.

    ``detail`` is told of it where the exception's own text must not be.
    """
    if isinstance(below, aiohttp.ClientProxyConnectionError):
        return TransportError(f"{venue} was not reached: its proxy {below.host}:{below.port} does not answer")
    if isinstance(below, aiohttp.ClientHttpProxyError):
        return TransportError(f"{venue} was not reached: its proxy refuses: {below.status} {below.message}")
    text = scrub(str(below) if detail is None else detail, secrets)
    if isinstance(below, _NEVER_LEFT):
        return TransportError(f"{venue} was not reached: {text}")
    return outcome_open(operation, f"{venue} did not answer: {type(below).__name__}{': ' if text else ''}{text}")


def scrub(text: str, secrets: Collection[str] = ()) -> str:
    """Return ``text`` without signatures and without any of ``secrets``."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return re.sub(r"(signature['\"]?\s*[=:]\s*['\"]?)[^&\s'\",}]+", r"\1***", text, flags=re.IGNORECASE)


def _error(verdict: Verdict, operation: Operation, text: str, answer: Answer) -> BtxError:
    if verdict is Verdict.DUPLICATE:
        verdict = Verdict.UNKNOWN if operation is Operation.PLACE else Verdict.REJECTED
    if verdict is Verdict.UNKNOWN:
        return outcome_open(operation, text)
    if verdict is Verdict.NOT_DONE:
        return TransportError(text)
    if verdict is Verdict.UNKNOWN_SYMBOL:
        if operation is Operation.READ:
            return UnknownSymbolError(text)
        verdict = Verdict.REJECTED
    return _CLASSES[verdict][operation](text, code=answer.code)


def outcome_open(operation: Operation, text: str) -> TransportError:
    """Return the error of what may have been done: a question is asked again, an order or a cancel is looked for."""
    return TransportError(text) if operation is Operation.READ else OutcomeUnknownError(text)


def _verdict(answer: Answer, verdicts: Verdicts) -> Verdict:
    if answer.code is not None:
        for code, part, verdict in verdicts.texts:
            if code == answer.code and part in answer.message:
                return verdict
        if answer.code in verdicts.codes:
            return verdicts.codes[answer.code]
    status = answer.status or 400
    says_nothing = answer.code is None and status < 400  # taken, it would seem, and no word of what became of it
    return _STATUSES.get(status, Verdict.UNKNOWN if status >= 500 or says_nothing else Verdict.REJECTED)


def _retry_after_s(answer: Answer, verdicts: Verdicts, now_ms: int) -> float:
    headers = {name.lower(): text.strip() for name, text in answer.headers.items()}
    if headers.get("retry-after", "").isdigit():
        return float(headers["retry-after"])
    until = re.search(r"until (\d{13})", answer.message)
    at_ms = answer.retry_at_ms or (int(until[1]) if until else None)
    if at_ms is not None:
        return max(0.0, math.ceil((at_ms - now_ms) / 1000))
    least_s = verdicts.pauses_s.get(answer.code or "", verdicts.pauses_s.get(str(answer.status), _LIMIT_DEFAULT_S))
    reset = headers.get(verdicts.reset_header, "")
    if not reset.isdigit():
        return least_s
    # Both of the venue's clock if it can be: ours may be off, and would make a minute of a second.
    since_ms = now_ms if answer.answered_ms is None else answer.answered_ms
    return max(least_s, (int(reset) - since_ms) / 1000)

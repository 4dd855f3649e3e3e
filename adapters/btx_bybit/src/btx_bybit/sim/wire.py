"""How Bybit's version 5 writes: envelopes, numbers, signatures, and the errors themselves.

Written from the venue's documentation, github.com/bybit-exchange/docs, docs/v5/guide.mdx (2025).
"""

import hashlib
import hmac
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from btx.sim.skin.text import JSON

__all__ = (
    "WireError",
    "envelope",
    "grid",
    "plain",
    "signature_fits",
    "signed_text",
)

_ZERO = Decimal(0)


class WireError(Exception):
    """An error as the venue words it: ``code`` (its retCode), ``message``, HTTP ``status``, ``result`` and headers."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        status: int = 200,
        result: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.result = dict(result or {})
        self.headers = dict(headers or {})

    def body(self, time_ms: int) -> JSON:
        """Return the whole answer."""
        return envelope(self.result, time_ms, code=self.code, message=self.message)


def envelope(
    result: Any, time_ms: int, *, code: int = 0, message: str = "OK", ext: Mapping[str, Any] | None = None
) -> JSON:
    """Return an answer as every request of version 5 gets it."""
    return {"retCode": code, "retMsg": message, "result": result, "retExtInfo": dict(ext or {}), "time": time_ms}


def plain(value: Decimal | None) -> str:
    """Return a number without padding; what is absent is an empty text on this wire."""
    if value is None:
        return ""
    return f"{value.normalize():f}" if value else "0"


def grid(value: Decimal | None, unit: Decimal) -> str:
    """Return a price or quantity with the decimals of its tick or step; what is absent is zero."""
    return f"{(_ZERO if value is None else value).quantize(unit):f}"


def signed_text(stamp: str, api_key: str, window: str, payload: str) -> str:
    """Return what a request's signature is made over: ``payload`` is the query, or the body of a POST, as sent."""
    return f"{stamp}{api_key}{window}{payload}"


def signature_fits(text: str, signature: str, secret: str) -> bool:
    """Say whether ``signature`` (hexadecimal, in either case) belongs to exactly this text."""
    expected = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.lower().encode())

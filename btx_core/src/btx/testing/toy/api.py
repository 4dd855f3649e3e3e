"""The session's one HTTP connection: how requests are signed, and where an answer tells an error."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from btx.bridges.answers import Answers
from btx.bridges.http import Http, Request, Sign
from btx.ports import Context
from btx.testing.toy.config import PLACES, rest_url
from btx.testing.toy.errors import VERDICTS

__all__ = ("ANSWERS", "api", "signature")

ANSWERS = Answers("Toy")
"""Reads the venue's answers."""


def api(context: Context) -> Http:
    """Return the session's shared connection; the first call makes it, ``context.resources`` closes it."""
    known: Http | None = context.shared.get(__name__)
    if known is None:
        known = context.shared[__name__] = Http(
            context,
            venue="Toy",
            base_url=rest_url(context),
            verdicts=VERDICTS,
            sign=_signed(context),
            error=_error,
            on_headers=_usage(context.observe),
        )
    return known


def signature(context: Context, text: str) -> str:
    """Return what proves that ``text`` comes from the owner of the key."""
    secret = context.settings.api_secret.reveal().encode()
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def _signed(context: Context) -> Sign:
    def sign(request: Request, now_ms: int) -> Request:
        PLACES.require_keys(context)
        text = f"{now_ms}{request.method}{request.path}?{request.query}{request.body}"
        proof = {
            "X-TOY-KEY": context.settings.api_key.reveal(),
            "X-TOY-TIME": str(now_ms),
            "X-TOY-WINDOW": str(context.settings.receive_window_ms),
            "X-TOY-SIGN": signature(context, text),
        }
        return attrs.evolve(request, headers={**request.headers, **proof})

    return sign


def _error(answer: Mapping[str, Any]) -> tuple[str, str] | None:
    return (str(answer["error"]), str(answer.get("text", ""))) if "error" in answer else None


def _usage(observe: Callable[[str, int], None]) -> Callable[[Mapping[str, str]], None]:
    """Return what tells the venue's own count of a rate limit, whenever an answer says it."""

    def tell(headers: Mapping[str, str]) -> None:
        used = headers.get("X-TOY-USED", "")
        if used.isdigit():
            observe("requests", int(used))

    return tell

"""The session's one HTTP connection: how requests are signed, and where an answer tells an error.

REPLACE: both, and the header that counts what is used of a limit, if there is one.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from btx.bridges.http import Http, Request, shared_http
from btx.config import Settings
from btx.ports import Context
from btx.testing.toy.config import PLACES
from btx.testing.toy.errors import VERDICTS

__all__ = ("api", "signature")


def api(context: Context) -> Http:
    """Return the connection that all ports of a session share."""
    used = {"X-TOY-USED": "requests"}
    return shared_http(context, places=PLACES, verdicts=VERDICTS, sign=_sign, error=_error, used=used)


def signature(settings: Settings, text: str) -> str:
    """Return what proves that ``text`` comes from the owner of the key."""
    return hmac.new(settings.api_secret.reveal().encode(), text.encode(), hashlib.sha256).hexdigest()


def _sign(request: Request, settings: Settings, now_ms: int) -> Request:
    text = f"{now_ms}{request.method}{request.path}?{request.query}{request.body}"
    proof = {
        "X-TOY-KEY": settings.api_key.reveal(),
        "X-TOY-TIME": str(now_ms),
        "X-TOY-WINDOW": str(settings.receive_window_ms),
        "X-TOY-SIGN": signature(settings, text),
    }
    return request.with_headers(proof)


def _error(answer: Mapping[str, Any]) -> tuple[str, str] | None:
    return (str(answer["error"]), str(answer.get("text", ""))) if "error" in answer else None

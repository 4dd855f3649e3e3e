"""One webhook: a halt, a position without protection and an order without an answer are told to somebody.

A message is one JSON object, ``{"event", "session", "text", "time"}``, sent by POST
from a thread of its own.  Trading never waits for it: the queue is bounded, and
what it cannot take is counted.
"""

import json
import logging
import random
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Collection, Mapping
from http.client import HTTPException
from urllib.parse import urlsplit

from btx.config import Secret
from btx.model.time import NS_PER_S, iso
from btx.rules.backoff import Backoff, delay_s

__all__ = ("Alarms", "Webhook")

_log = logging.getLogger("btx.alerts")
_TOO_MANY_REQUESTS, _SERVER_ERROR = 429, 500


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A POST that is sent elsewhere would arrive there as a GET, without its text."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


class Webhook:
    """Posts messages to one address, in their order; ``tell`` may be called on any thread and never waits.

    Where it was not reached, or says that it is busy, a message is tried ``tries``
    times. Of the address no more than scheme and host is ever logged.
    """

    def __init__(
        self,
        address: Secret,
        *,
        session: str,
        backoff: Backoff = Backoff(base_s=1.0, cap_s=60.0),  # noqa: B008 -- a frozen value
        tries: int = 5,
        capacity: int = 100,
        timeout_s: float = 10.0,
    ) -> None:
        self._address = address
        parts = urlsplit(address.reveal())
        self._shown = f"{parts.scheme}://{parts.hostname}"
        self._session = session
        self._backoff = backoff
        self._tries = tries
        self._capacity = capacity
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._thread: threading.Thread | None = None
        self._is_closing = False
        self.sent = 0  # messages the address has taken
        self.dropped = 0  # messages that were not sent: too many at once, or not taken

    def tell(self, event: str, text: str) -> None:
        """Send a message some time soon; ``event`` is a word like ``halted``."""
        message = {"event": event, "session": self._session, "text": text, "time": iso(time.time_ns())}
        with self._changed:
            if self._is_closing or len(self._waiting) >= self._capacity:
                self.dropped += 1
                return
            self._waiting.append(json.dumps(message).encode())
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="btx-alerts", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self, *, timeout_s: float = 2.0) -> None:
        """Try what waits once more and end, within ``timeout_s``. Idempotent."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting:
                    return
                body = self._waiting.popleft()
            is_taken = self._deliver(body)
            with self._changed:
                self.sent += is_taken
                self.dropped += not is_taken

    def _deliver(self, body: bytes) -> bool:
        attempt = 0
        while True:
            attempt += 1
            trouble, may_retry = self._post(body)
            if trouble is None:
                return True
            _log.warning("the webhook at %s did not take a message: %s", self._shown, trouble)
            if not may_retry or attempt == self._tries:
                return False
            pause_s = delay_s(self._backoff, attempt=attempt, random=random.random())  # noqa: S311 -- jitter
            with self._changed:
                if self._changed.wait_for(lambda: self._is_closing, pause_s):
                    return False

    def _post(self, body: bytes) -> tuple[str | None, bool]:
        """Return what went wrong, None when nothing did, and whether it may go right another time."""
        try:
            request = urllib.request.Request(  # noqa: S310 -- http and https only, see btx.config.webhook_address
                self._address.reveal(), data=body, headers={"Content-Type": "application/json"}
            )
            with self._opener.open(request, timeout=self._timeout_s):
                return None, False
        except urllib.error.HTTPError as error:
            error.close()
            return f"HTTP {error.code}", error.code == _TOO_MANY_REQUESTS or error.code >= _SERVER_ERROR
        except (OSError, HTTPException) as error:  # its text may hold the address
            return type(getattr(error, "reason", error)).__name__, True
        except ValueError as error:
            return type(error).__name__, False


class Alarms:
    """Looks at a session every second or so, and tells of each trouble once when it begins or has lasted.

    ``naked_s`` and ``unknown_s`` are how long a position may stand without its
    protection, and an order without an answer, before somebody is told.
    """

    def __init__(self, tell: Callable[[str, str], None], *, naked_s: float = 30.0, unknown_s: float = 30.0) -> None:
        self._tell = tell
        self._patience_ns = {"naked": int(naked_s * NS_PER_S), "unknown": int(unknown_s * NS_PER_S)}
        self._halt: str | None = None
        self._since_ns: dict[tuple[str, str], int] = {}
        self._told: set[tuple[str, str]] = set()

    def look(self, *, now_ns: int, halted: str | None, naked: Mapping[str, object], unknown: Collection[str]) -> None:
        """Take what is so now.

        Args:
            now_ns: monotonic, or any time that does not jump.
            halted: why trading is halted.
            naked: the quantity without protection, by group.
            unknown: client order ids without an answer.
        """
        if halted != self._halt:
            self._tell(*(("halted", halted) if halted is not None else ("resumed", "trading goes on")))
            self._halt = halted
        texts = {
            ("naked", group): f"{quantity} of group {group} have no protection" for group, quantity in naked.items()
        }
        texts |= {("unknown", each): f"order {each} has no answer" for each in unknown}
        for gone in sorted(self._since_ns.keys() - texts.keys()):
            del self._since_ns[gone]
            if gone in self._told:
                self._told.remove(gone)
                self._tell(f"{gone[0]} over", f"{gone[1]} is settled")
        for what, text in texts.items():
            lasted_ns = now_ns - self._since_ns.setdefault(what, now_ns)
            if what not in self._told and lasted_ns >= self._patience_ns[what[0]]:
                self._told.add(what)
                self._tell(what[0], f"{text} for {lasted_ns / NS_PER_S:.0f} s")

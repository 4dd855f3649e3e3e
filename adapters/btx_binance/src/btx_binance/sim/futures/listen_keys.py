"""Listen keys: what a client reads its account's events with, for an hour at a time.

``user-data-streams`` of USD-M and COIN-M (2026): a key is valid for 60 minutes after it was made or extended; POST
gives the active one again and extends it, PUT extends it, DELETE ends it.
"""

import asyncio
import secrets
from collections.abc import Callable

import attrs

from btx.sim.skin.text import JSON
from btx.sim.wires import SocketTerms
from btx_binance.sim.futures.venue import FuturesVenue
from btx_binance.sim.params import text
from btx_binance.sim.venue import Ask, Call, Security
from btx_binance.sim.wire import WireError

__all__ = ("ListenKeys", "calls")

_LIFE_S = 60 * 60.0
_BYTES = 32  # 64 characters
_UNKNOWN = (-1125, "This listenKey does not exist.")


@attrs.define
class _Key:
    text: str
    renewed_s: float
    timer: asyncio.TimerHandle | None = None


class ListenKeys:
    """The active key of each account. Lives in the loop that serves them; a key's hour is of the wall's clock."""

    def __init__(self) -> None:
        self.on_expired: Callable[[str], None] = lambda _key: None
        self._life_s = _LIFE_S
        self._loop = asyncio.get_running_loop()
        self._keys: dict[str, _Key] = {}
        self._accounts: dict[str, str] = {}

    def open(self, api_key: str) -> str:
        """Return the account's active key, a new one if there is none, with its hour begun anew."""
        known = self._keys.get(api_key)
        if known is None:
            known = self._keys[api_key] = _Key(secrets.token_hex(_BYTES), 0.0)
            self._accounts[known.text] = api_key
        self._renew(known)
        return known.text

    def extend(self, api_key: str) -> str:
        """Return the account's active key, with its hour begun anew.

        Raises:
            WireError: -1125, there is none.
        """
        if api_key not in self._keys:
            raise WireError(*_UNKNOWN)
        return self.open(api_key)

    def close(self, api_key: str) -> None:
        """End the account's key; whoever reads with it is told that it expired.

        Raises:
            WireError: -1125, there is none.
        """
        if api_key not in self._keys:
            raise WireError(*_UNKNOWN)
        self.expire(self._keys[api_key].text)

    def expire(self, key: str) -> None:
        """Let a key be over, if it is active."""
        api_key = self._accounts.pop(key, None)
        if api_key is None:
            return
        timer = self._keys.pop(api_key).timer
        if timer is not None:
            timer.cancel()
        self.on_expired(key)

    def key(self, api_key: str) -> str | None:
        """Return the account's active key, None when there is none."""
        known = self._keys.get(api_key)
        return None if known is None else known.text

    def account(self, key: str) -> str | None:
        """Return whose key it is, None for one that is not active."""
        return self._accounts.get(key)

    def heed(self, terms: SocketTerms) -> None:
        """Let keys live as long as a test says, counted from when they were renewed, in place of an hour."""
        if terms.key_s is not None:
            self._life_s = terms.key_s
            for known in self._keys.values():
                self._arm(known)

    def stop(self) -> None:
        """Let no key expire any more: the venue goes down."""
        for known in self._keys.values():
            if known.timer is not None:
                known.timer.cancel()

    def _renew(self, known: _Key) -> None:
        known.renewed_s = self._loop.time()
        self._arm(known)

    def _arm(self, known: _Key) -> None:
        if known.timer is not None:
            known.timer.cancel()
        known.timer = self._loop.call_at(known.renewed_s + self._life_s, self.expire, known.text)


def calls(keys: ListenKeys, path: str) -> tuple[Call[FuturesVenue], ...]:
    """Return what a client does with its key, at ``path`` (``/fapi/v1/listenKey``) and over the WebSocket API."""

    def start(_: FuturesVenue, ask: Ask) -> JSON:
        return {"listenKey": keys.open(ask.api_key)}

    def keep(_: FuturesVenue, ask: Ask) -> JSON:
        return {"listenKey": keys.extend(ask.api_key)}

    def end(_: FuturesVenue, ask: Ask) -> JSON:
        keys.close(ask.api_key)
        return {}

    key = (text("listenKey"),)  # older manuals had it; an account has one, whatever is sent
    return (
        Call(run=start, rest=("POST", path), method="userDataStream.start", security=Security.KEY),
        Call(run=keep, rest=("PUT", path), method="userDataStream.ping", security=Security.KEY, params=key),
        Call(run=end, rest=("DELETE", path), method="userDataStream.stop", security=Security.KEY, params=key),
    )

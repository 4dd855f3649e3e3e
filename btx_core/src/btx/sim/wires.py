"""What a simulator's skin lets the control channel do to its sockets, while the market runs."""

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import attrs

from btx.errors import ConfigError
from btx.sim.faults import Fault, Kind

__all__ = ("COMMANDED", "SocketTerms", "SocketView", "Wires", "terms_from")

COMMANDED = frozenset(
    {Kind.CUT, Kind.HALF_OPEN, Kind.SILENCE, Kind.SHUTDOWN, Kind.REFUSE, Kind.OUTAGE, Kind.RATE_LIMIT, Kind.BAN}
)
"""The kinds of faults that can be told to strike now."""


@attrs.frozen(kw_only=True)
class SocketView:
    """One open socket of the venue as it is now."""

    number: int  # counted from 1, never used again
    where: str  # "market_stream" or "account_stream"
    subscriptions: tuple[str, ...]  # the venue's own names, sorted
    silent: tuple[str, ...]  # those that say nothing more
    is_mute: bool  # half open: it hears nothing and says nothing

    def to_json(self) -> dict[str, Any]:
        """Return it as the control channel tells it."""
        return attrs.asdict(self)


@attrs.frozen(kw_only=True)
class SocketTerms:
    """The venue's terms for sockets that a test may shorten; None leaves one as it is. Wall seconds."""

    life_s: float | None = None  # a socket is ended when it is so old
    notice_s: float | None = None  # and told so long before; 0: never told
    ping_s: float | None = None  # between two pings of the server
    pong_s: float | None = None  # without a pong, or what the venue takes for one, until the client is cut
    dials: int | None = None  # new sockets an address may open in the venue's window
    key_s: float | None = None  # a key to an account's events lives, where the venue hands out such keys


def terms_from(message: Mapping[str, Any]) -> SocketTerms:
    """Return the terms a message says.

    Raises:
        ConfigError: a word is unknown, or no positive number.
    """
    words = {name: value for name, value in message.items() if name not in ("id", "op")}
    known = {field.name for field in attrs.fields(SocketTerms)}
    if unknown := set(words) - known:
        raise ConfigError(f"unknown terms {', '.join(sorted(unknown))}: write {', '.join(sorted(known))}")
    for name, value in words.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise ConfigError(f"{name}={value!r}: write a number that is not negative")
    return SocketTerms(**words)


class Wires(Protocol):
    """All sockets of one simulated venue. Called in the loop that serves them."""

    def sockets(self) -> tuple[SocketView, ...]:
        """Return the open sockets, oldest first."""

    def strike(self, fault: Fault, *, sockets: Collection[int] | None, stream: str | None) -> tuple[int, ...]:
        """Let a fault strike now and return the sockets it struck.

        ``sockets`` names which, by number; None are all of ``fault.where``.
        ``stream`` is the venue's name of the stream a silence is about.

        Raises:
            ConfigError: a socket or stream is not there.
        """

    def block(self, *, form: int | None) -> None:
        """Cut all sockets and refuse new ones in this form of ``refuse``; None: let them in again."""

    def terms(self, terms: SocketTerms) -> None:
        """Change the terms of all sockets, open ones too."""

    def counts(self) -> Mapping[str, int]:
        """Return how many sockets were asked for (``dials``), let in (``opened``) and are open (``open``)."""

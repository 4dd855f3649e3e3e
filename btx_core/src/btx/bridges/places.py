"""Where a venue is, the keys it wants, and what ``btx.load(..., options={...})`` says. Imports nothing heavy."""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from btx.errors import ConfigError, MissingSecretError
from btx.model.venue import Endpoints, Environment
from btx.ports import Context

__all__ = ("Places", "parse_options")

T = TypeVar("T")

_DATA_OF = {Environment.PAPER: Environment.LIVE}  # whose data it is that orders are filled against
_SWITCH = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@attrs.frozen(kw_only=True)
class Places:
    """A venue's addresses by market and environment, and what its signed requests need.

    ``rest`` are those of HTTP requests, where :class:`btx.bridges.http.Http` sends them.
    """

    title: str
    streams: Mapping[tuple[str, Environment], str]
    longest_receive_window_ms: int
    rest: Mapping[tuple[str, Environment], str] = attrs.field(factory=dict)

    def endpoints(self, context: Context) -> Endpoints | None:
        """Return the simulator's addresses, None where the venue's own are meant.

        Raises:
            ConfigError: a simulated environment without a simulator; it must not reach the venue.
        """
        if context.endpoints is None and _place(context) not in self.streams:
            raise ConfigError(f"env={context.environment.value!r} has no addresses: start a simulator for it")
        return context.endpoints

    def stream_url(self, context: Context) -> str:
        """Return the base address of the streams, of a simulator without a path.

        Raises: as :meth:`endpoints`.
        """
        simulator = self.endpoints(context)
        return simulator.stream.rstrip("/") if simulator is not None else self.streams[_place(context)]

    def rest_url(self, context: Context) -> str:
        """Return the base address of HTTP requests, without a slash at its end.

        Raises: as :meth:`endpoints`.
        """
        simulator = self.endpoints(context)
        return (simulator.rest if simulator is not None else self.rest[_place(context)]).rstrip("/")

    def require_keys(self, context: Context) -> None:
        """Look at what signed requests need: key, secret and a receive window. Public data need none of them.

        Raises:
            MissingSecretError: key or secret is not there.
            ConfigError: the venue takes no receive window of this length.
        """
        if not (context.settings.api_key and context.settings.api_secret):
            raise MissingSecretError(
                f"{self.title}'s {context.environment.value} account needs an API key and secret: "
                f"pass api_key=... and api_secret=..., for example 'env:BTX_{self.title.upper()}_API_KEY'"
            )
        if context.settings.receive_window_ms > self.longest_receive_window_ms:
            raise ConfigError(
                f"{self.title} takes a receive window of at most {self.longest_receive_window_ms} ms: "
                f"give less than receive_window_ms={context.settings.receive_window_ms}"
            )


def parse_options(context: Context, kind: type[T]) -> T:
    """Return an adapter's options: an attrs class with defaults, of seconds (``float``), switches (``bool``), words.

    Raises:
        ConfigError: one is no positive number, or, of a switch, not yes or no.
    """
    fields = attrs.fields_dict(kind)  # type: ignore[arg-type] # an attrs class
    return kind(
        **{name: _value(fields[name].type, name, str(given)) for name, given in context.settings.options.items()}
    )


def _value(kind: type[Any] | None, name: str, text: str) -> Any:
    if kind is str:
        return text
    return _switch(name, text) if kind is bool else _seconds(name, text)


def _switch(name: str, text: str) -> bool:
    if text.lower() not in _SWITCH:
        raise ConfigError(f"options {name}={text!r}: write 'yes' or 'no'")
    return _SWITCH[text.lower()]


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ConfigError(f"options {name}={text!r}: give a positive number of seconds, like '10'")
    return seconds


def _place(context: Context) -> tuple[str, Environment]:
    return context.market, _DATA_OF.get(context.environment, context.environment)

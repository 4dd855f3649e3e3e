"""Where OpenD is, whose account it is, and the adapter's own options."""

import math
from typing import Any
from urllib.parse import urlsplit

import attrs

from btx.errors import AuthenticationError, ConfigError, MissingSecretError
from btx.model.venue import Environment
from btx.ports import Context

__all__ = ("MARKETS", "Options", "account_number", "address", "is_real", "options")

MARKETS = ("hk", "us")


@attrs.frozen(kw_only=True)
class Options:
    """What ``btx.load("futu", options={...})`` may say."""

    host: str = "127.0.0.1"  # where OpenD listens
    port: int = 11111
    dial_timeout_s: float = 3.0  # for OpenD to take a connection
    rehab: str = "none"  # how history is adjusted at ex-dates: none, qfq (forward) or hfq (backward)


_REHABS = ("none", "qfq", "hfq")


def options(context: Context) -> Options:
    """Return the adapter's options.

    Raises:
        ConfigError: one cannot be read.
    """
    fields = attrs.fields_dict(Options)
    found = Options(**{name: _value(name, text, fields[name].type) for name, text in context.settings.options.items()})
    if found.rehab not in _REHABS:
        raise ConfigError(f"options rehab={found.rehab!r}: write one of {', '.join(_REHABS)}")
    return found


def _value(name: str, given: object, kind: Any) -> Any:
    text = str(given)
    if kind is str:
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf or (kind is int and number != int(number)):
        raise ConfigError(f"options {name}={text!r}: write a positive number, like '{getattr(Options(), name)}'")
    return kind(number)


def address(context: Context) -> tuple[str, int]:
    """Return host and port of OpenD, or of the simulated one.

    Raises:
        ConfigError: a simulated environment without a simulator; it must not reach the venue.
    """
    if context.endpoints is not None:
        parts = urlsplit(context.endpoints.rest)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port
    if context.environment is Environment.SIM:
        raise ConfigError("env='sim' has no OpenD: start a simulator for it")
    found = options(context)
    return found.host, found.port


def is_real(context: Context) -> bool:
    """Say whether orders are for a real account; everything but ``env="live"`` is paper trading."""
    return context.environment is Environment.LIVE


def account_number(context: Context) -> int | None:
    """Return the number of the account that was asked for; None: the first paper account of the market.

    Raises:
        MissingSecretError: a real account must be named.
        AuthenticationError: it is no number.
    """
    text = context.settings.api_key.reveal().strip()
    if not text:
        if is_real(context):
            raise MissingSecretError(
                "a real account at Futu is named: pass api_key=..., the account's number as OpenD lists it "
                "(acc_id), and api_secret=..., the password that unlocks trading, for example 'env:BTX_FUTU_PASSWORD'"
            )
        return None
    if not text.isdecimal():
        raise AuthenticationError(
            "api_key= is the number of an account at Futu, as OpenD lists it (acc_id): digits alone"
        )
    return int(text)

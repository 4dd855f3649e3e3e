"""Reading request parameters as Bybit does: what is unknown is ignored, and a text is no number (docs/v5, 2025).

Prices, quantities and names are of the type ``string``; one that comes as a number of JSON is answered with 10001,
"Request parameter error.", as clients met it (ccxt issue 19403, bybit-api issue 217, 2023; Bybit.Net pull request 267,
2025), which is why pybit writes them as texts.  A query has nothing but texts.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from btx_bybit.sim.wire import WireError

__all__ = ("Param", "Raw", "boolean", "choice", "decimal", "integer", "invalid", "link_id", "read", "text")

Raw = str | int | float | bool | list[Any] | dict[str, Any] | None
_LINK_ID = re.compile(r"[a-zA-Z0-9_-]{1,36}")
_NUMBER = re.compile(r"-?\d+(\.\d*)?")


@attrs.frozen(kw_only=True)
class Param:
    """One parameter of a request: its name, how it is read, and whether it must be there."""

    name: str
    convert: Callable[[str, Raw], Any]
    mandatory: bool = False


def invalid(name: str) -> WireError:
    """Return the error for a parameter that cannot be read."""
    return WireError(10001, f"params error: {name} invalid")


def read(params: Iterable[Param], sent: Mapping[str, Raw]) -> dict[str, Any]:
    """Return the values of the parameters that were sent; an empty text is as good as nothing.

    Raises:
        WireError: 10001, a mandatory one is missing, or one cannot be read.
    """
    values: dict[str, Any] = {}
    for param in params:
        raw = sent.get(param.name)
        if raw is None or raw == "":
            if param.mandatory:
                raise WireError(10001, f"Missing some parameters that must be filled in, {param.name}")
            continue
        values[param.name] = param.convert(param.name, raw)
    return values


def _written(raw: Raw) -> str:
    if not isinstance(raw, str):
        raise WireError(10001, "Request parameter error.")
    return raw


def text(name: str, *, mandatory: bool = False) -> Param:
    """Any text."""
    return Param(name=name, convert=lambda _, raw: _written(raw), mandatory=mandatory)


def choice(name: str, values: Iterable[str], *, error: WireError | None = None, mandatory: bool = False) -> Param:
    """One of ``values``, else ``error``."""
    allowed = frozenset(values)

    def convert(parameter: str, raw: Raw) -> str:
        if str(raw) not in allowed:
            raise error if error is not None else invalid(parameter)
        return str(raw)

    return Param(name=name, convert=convert, mandatory=mandatory)


def integer(name: str, *, least: int = 0, most: int | None = None, mandatory: bool = False) -> Param:
    """A whole number; one beyond ``most`` is ``most``, as with the venue's page limits."""

    def convert(parameter: str, raw: Raw) -> int:
        try:
            value = int(str(raw))
        except ValueError as error:
            raise invalid(parameter) from error
        if isinstance(raw, bool) or value < least:
            raise invalid(parameter)
        return value if most is None else min(value, most)

    return Param(name=name, convert=convert, mandatory=mandatory)


def decimal(name: str, *, mandatory: bool = False) -> Param:
    """A number in plain notation, written as a text."""

    def convert(parameter: str, raw: Raw) -> Decimal:
        written = _written(raw)
        if _NUMBER.fullmatch(written) is None:
            raise invalid(parameter)
        return Decimal(written)

    return Param(name=name, convert=convert, mandatory=mandatory)


def boolean(name: str) -> Param:
    """A truth value, of JSON or written out."""

    def convert(parameter: str, raw: Raw) -> bool:
        word = str(raw).lower()
        if word not in {"true", "false"}:
            raise invalid(parameter)
        return word == "true"

    return Param(name=name, convert=convert)


def link_id(name: str = "orderLinkId") -> Param:
    """A client order id: at most 36 letters, digits, dashes and underscores."""

    def convert(parameter: str, raw: Raw) -> str:
        written = _written(raw)
        if _LINK_ID.fullmatch(written) is None:
            raise WireError(10001, f"{parameter} is invalid: at most 36 letters, numbers, dashes and underscores")
        return written

    return Param(name=name, convert=convert)

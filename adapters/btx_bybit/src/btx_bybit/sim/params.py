"""Reading request parameters as Bybit does: numbers may be texts, what is unknown is ignored (docs/v5, 2025)."""

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


def text(name: str, *, mandatory: bool = False) -> Param:
    """Any text."""
    return Param(name=name, convert=lambda _, raw: str(raw), mandatory=mandatory)


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
    """A number in plain notation."""

    def convert(parameter: str, raw: Raw) -> Decimal:
        if isinstance(raw, bool) or _NUMBER.fullmatch(str(raw)) is None:
            raise invalid(parameter)
        return Decimal(str(raw))

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
        if _LINK_ID.fullmatch(str(raw)) is None:
            raise WireError(10001, f"{parameter} is invalid: at most 36 letters, numbers, dashes and underscores")
        return str(raw)

    return Param(name=name, convert=convert)

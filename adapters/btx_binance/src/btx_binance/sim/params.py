"""Reading request parameters as strictly as the venue does.

Rules and messages: binance-spot-api-docs ``errors.md`` (2025-01-09) and the
parameter tables of ``rest-api.md`` and ``web-socket-api.md`` (2026).
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from btx_binance.sim.wire import WireError

__all__ = (
    "AUTH",
    "Param",
    "boolean",
    "choice",
    "client_id",
    "decimal",
    "long",
    "missing",
    "names",
    "pattern",
    "read",
    "symbol",
    "text",
)

Raw = str | int | bool | list[Any] | dict[str, Any] | None
_LONG = r"^[0-9]{1,20}$"
_DECIMAL = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
_SYMBOL = r"^[A-Z0-9-_.]{1,20}$"
_CLIENT_ID = r"^[a-zA-Z0-9-_]{1,36}$"
_TEXT = r"^.{1,200}$"
_LONG_MAX = 2**63 - 1
_DECIMALS = 8  # baseAssetPrecision and quotePrecision of every spot symbol


@attrs.frozen(kw_only=True)
class Param:
    """One parameter of a request: its name, how its text is read, and whether it must be there."""

    name: str
    convert: Callable[[str, Raw], Any]
    mandatory: bool = False


def read(specs: Iterable[Param], sent: Mapping[str, Raw]) -> dict[str, Any]:
    """Return the values of the parameters that were sent.

    Raises:
        WireError: -1102 a mandatory one is missing, -1105 one is empty, -1104 one is unknown,
            or what its own reader says.
    """
    known = {spec.name: spec for spec in specs}
    values: dict[str, Any] = {}
    for name, spec in known.items():
        raw = sent.get(name)
        if raw is None:
            if spec.mandatory:
                raise missing(name)
            continue
        if raw == "":
            raise WireError(-1105, f"Parameter '{name}' was empty.")
        values[name] = spec.convert(name, raw)
    unread = [name for name, raw in sent.items() if name not in known and raw is not None]
    if unread:
        count = len(sent) - len(unread)
        raise WireError(
            -1104,
            f"Not all sent parameters were read; read '{count}' parameter(s) but was sent '{len(sent)}'.",
        )
    return values


def missing(name: str) -> WireError:
    """Return the error for a mandatory parameter that is not there."""
    return WireError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def symbol(*, mandatory: bool = True) -> Param:
    """A symbol in capitals; whether it is listed is another question."""
    return Param(name="symbol", convert=pattern(_SYMBOL), mandatory=mandatory)


def client_id(name: str) -> Param:
    """A client order id: 1 to 36 letters, digits, ``-`` and ``_``."""
    return Param(name=name, convert=pattern(_CLIENT_ID))


def text(name: str, *, mandatory: bool = False) -> Param:
    """Any text up to 200 characters."""
    return Param(name=name, convert=pattern(_TEXT), mandatory=mandatory)


def long(name: str, *, maximum: int = _LONG_MAX, mandatory: bool = False) -> Param:
    """A whole number that is not negative."""

    def convert(parameter: str, raw: Raw) -> int:
        value = int(pattern(_LONG)(parameter, raw))
        if value > _LONG_MAX:
            raise WireError(-1108, f"Parameter '{parameter}' overflowed.")
        return min(value, maximum)

    return Param(name=name, convert=convert, mandatory=mandatory)


def decimal(name: str, *, mandatory: bool = False) -> Param:
    """A decimal number with at most eight decimals, in plain notation."""

    def convert(parameter: str, raw: Raw) -> Decimal:
        plain = pattern(_DECIMAL)(parameter, raw)
        value = Decimal(plain)
        if -value.normalize().as_tuple().exponent > _DECIMALS:  # type: ignore[operator]  # it is finite
            raise WireError(-1111, f"Parameter '{parameter}' has too much precision.")
        return value

    return Param(name=name, convert=convert, mandatory=mandatory)


def choice(name: str, values: Iterable[str], *, error: tuple[int, str] | None = None, mandatory: bool = False) -> Param:
    """One of ``values``, else ``error``: a code and its message."""
    allowed = frozenset(values)
    code, message = error or (-1130, f"Data sent for parameter '{name}' is not valid.")

    def convert(_: str, raw: Raw) -> str:
        if not isinstance(raw, str) or raw not in allowed:
            raise WireError(code, message)
        return raw

    return Param(name=name, convert=convert, mandatory=mandatory)


def boolean(name: str) -> Param:
    """``true`` or ``false``, in any case of letters, or the JSON value."""

    def convert(parameter: str, raw: Raw) -> bool:
        lowered = _as_text(raw).lower()
        if lowered not in {"true", "false"}:
            raise _illegal(parameter, "^(true|false)$")
        return lowered == "true"

    return Param(name=name, convert=convert)


def names(name: str) -> Param:
    """A list of texts: JSON in a query (``["A","B"]``, or one bare text), an array on the socket."""

    def convert(parameter: str, raw: Raw) -> tuple[str, ...]:
        listed: Any = raw
        if isinstance(raw, str):
            try:
                listed = json.loads(raw) if raw.startswith("[") else [raw]
            except ValueError as error:
                raise _illegal(parameter, _LIST) from error
        if not isinstance(listed, list) or not listed or not all(isinstance(item, str) for item in listed):
            raise _illegal(parameter, _LIST)
        if len(set(listed)) != len(listed):
            raise WireError(-1151, "Symbol is present multiple times in the list.")
        return tuple(listed)

    return Param(name=name, convert=convert)


_LIST = '^\\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\\]$'


def pattern(legal: str) -> Callable[[str, Raw], str]:
    """Return a reader of texts that look like this; others are refused with -1100."""
    compiled = re.compile(legal)

    def convert(parameter: str, raw: Raw) -> str:
        plain = _as_text(raw)
        if compiled.fullmatch(plain) is None:
            raise _illegal(parameter, legal)
        return plain

    return convert


def _illegal(parameter: str, legal: str) -> WireError:
    return WireError(-1100, f"Illegal characters found in parameter '{parameter}'; legal range is '{legal}'.")


def _as_text(raw: Raw) -> str:
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return raw if isinstance(raw, str) else str(raw)


AUTH = (
    text("apiKey"),
    text("signature"),
    long("timestamp"),
    Param(name="recvWindow", convert=lambda name, raw: Decimal(pattern(_DECIMAL)(name, raw))),
)
"""What every signed request may carry besides its own parameters."""

"""The lines between a client's drop-in and the simulated front: JSON, one object in each.

The client sends calls of the API, ``{"call": name, "request": {field: value}, "id": number}``; the front sends
callbacks, ``{"on": name, "args": [...]}``, whose structs are ``[struct, {field: value}]``.  Its first line is
``{"front": {...}}``: what ``GetFrontInfo`` says.  Fields that are empty or zero are left out.
"""

import json
from collections.abc import Mapping
from typing import Any

__all__ = ("DISCONNECTED", "UNREADABLE", "Callback", "call_line", "callback_line", "hello_line", "parse")

Callback = tuple[str, tuple[Any, ...]]
"""The name of a callback of the SPI, and its arguments; a struct is a pair of its name and its fields."""

DISCONNECTED = 0x1001
"""OnFrontDisconnected's reason: reading from the network failed (the vendor's manual of 6.7)."""

UNREADABLE = 0x2003
"""Likewise: a packet could not be read."""


def call_line(name: str, fields: Mapping[str, Any], request_id: int) -> bytes:
    """Return a call of the API as a line."""
    return _line({"call": name, "request": dict(fields), "id": request_id})


def callback_line(name: str, *args: Any) -> bytes:
    """Return a callback as a line."""
    return _line({"on": name, "args": args})


def hello_line(*, query_frequency: int, package_frequency: int) -> bytes:
    """Return the front's first line: how many queries, and packages, it takes in a second."""
    return _line({"front": {"QryFreq": query_frequency, "FTDPkgFreq": package_frequency}})


def parse(line: bytes) -> dict[str, Any]:
    """Return what a line says.

    Raises:
        ValueError: it says nothing.
    """
    said = json.loads(line)
    if not isinstance(said, dict):
        raise ValueError(f"a line is a JSON object, not {said!r}")  # noqa: TRY004 -- of bytes from a wire
    return said


def _line(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"

"""JSON as venues write it."""

import json
from typing import Any

__all__ = ("JSON", "dumps")

JSON = dict[str, Any]


def dumps(value: Any) -> str:
    """Return compact JSON; letters beyond ASCII stand as they are."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)

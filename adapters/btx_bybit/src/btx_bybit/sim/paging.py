"""Pages and spans of time of a request (docs/v5, 2025)."""

from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import quote, unquote

from btx.model.time import NS_PER_MS, from_ms
from btx_bybit.sim.venue import Ask
from btx_bybit.sim.wire import WireError

__all__ = ("page_of", "span_of")

T = TypeVar("T")


def page_of(rows: Sequence[T], ask: Ask, *, usual: int) -> tuple[list[T], str]:
    """Return the page that ``limit`` and ``cursor`` ask for, and the cursor of the next; "" at the end.

    A cursor counts what is left, from the end: what came in front meanwhile moves no page.  It is quoted, as the
    venue's are.
    """
    _, _, number = unquote(ask.get("cursor", "")).partition("=")
    left = min(int(number), len(rows)) if number.isdecimal() else len(rows)
    start, limit = len(rows) - left, ask.get("limit", usual)
    page = list(rows[start : start + limit])
    left -= len(page)
    return page, quote(f"page_token={left}", safe="") if left else ""


def span_of(ask: Ask, *, most_ns: int, usual_ns: int | None = None) -> tuple[int, int]:
    """Return from when to when a request asks, in market nanoseconds.

    What it leaves out is ``usual_ns`` away, None: as far as it may be, which is ``most_ns``.

    Raises:
        WireError: 10001, it asks for more than that at once, or the end lies before the start.
    """
    start, end = ask.get("startTime"), ask.get("endTime")
    usual_ns = most_ns if usual_ns is None else usual_ns
    if start is not None and end is not None:
        start_ns, end_ns = from_ms(start), from_ms(end)
        if not 0 <= end_ns - start_ns <= most_ns:
            raise WireError(10001, "The time range between startTime and endTime is not allowed")
    elif start is not None:
        start_ns = from_ms(start)
        end_ns = start_ns + usual_ns
    else:
        end_ns = ask.market_ns if end is None else from_ms(end)
        start_ns = end_ns - usual_ns
    return start_ns, end_ns + NS_PER_MS - 1

"""Toy's error codes, and what each says about the request it answers.

REPLACE: the venue's own codes. One that leaves an order's outcome open is UNKNOWN, never REJECTED: the core then asks
what became of the order, and never sends it again.
"""

from btx.bridges.verdicts import Verdict, Verdicts

__all__ = ("VERDICTS",)

VERDICTS = Verdicts(
    codes={
        "bad_request": Verdict.UNSUPPORTED,
        "bad_key": Verdict.UNAUTHORISED,
        "bad_time": Verdict.CLOCK,
        "too_fast": Verdict.LIMITED,
        "unknown_symbol": Verdict.UNKNOWN_SYMBOL,
        "unknown_order": Verdict.NOT_FOUND,
        "duplicate": Verdict.DUPLICATE,
        "funds": Verdict.INSUFFICIENT_FUNDS,
        "filter": Verdict.FILTER,
        "rejected": Verdict.REJECTED,
        "busy": Verdict.NOT_DONE,
        "timeout": Verdict.UNKNOWN,
    }
)
"""What :mod:`btx.bridges.verdicts` judges answers by."""

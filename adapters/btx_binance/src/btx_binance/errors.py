"""Binance's error codes, and what each says about the request it answers.

Sources: https://developers.binance.com/docs/binance-spot-api-docs/errors, 2025-01-09, and
https://developers.binance.com/docs/derivatives/usds-margined-futures/error-code, 2026-05-28;
below -2013 a number means another thing in each. The codes that leave an order's
outcome open are those whose text says so (-1006, -1007) and those of an internal
failure that does not say otherwise (-1000, -1001).
"""

from collections.abc import Iterable, Mapping

from btx.bridges.ccxt import Verdict, Verdicts

__all__ = ("FUTURES_VERDICTS", "SPOT_VERDICTS")

_GENERAL = {
    -1000: Verdict.UNKNOWN,
    -1001: Verdict.UNKNOWN,
    -1002: Verdict.UNAUTHORISED,
    -1003: Verdict.LIMITED,
    -1006: Verdict.UNKNOWN,
    -1007: Verdict.UNKNOWN,
    -1008: Verdict.NOT_DONE,  # overloaded: refused before it was looked at, and no limit of ours was passed
    -1013: Verdict.FILTER,
    -1014: Verdict.UNSUPPORTED,
    -1015: Verdict.LIMITED_ACCOUNT,
    -1016: Verdict.NOT_DONE,
    -1020: Verdict.UNSUPPORTED,
    -1021: Verdict.CLOCK,
    -1022: Verdict.UNAUTHORISED,
    -1111: Verdict.FILTER,
    -1116: Verdict.UNSUPPORTED,
    -1121: Verdict.UNKNOWN_SYMBOL,
    -2010: Verdict.REJECTED,
    -2011: Verdict.REJECTED,
    -2013: Verdict.NOT_FOUND,
    -2014: Verdict.UNAUTHORISED,
    -2015: Verdict.UNAUTHORISED,
}

_SPOT = _GENERAL | {
    -2021: Verdict.REJECTED,  # cancel-replace: the old order was cancelled, the new one refused
    -2022: Verdict.REJECTED,  # cancel-replace: neither was done
    -2026: Verdict.NOT_FOUND,  # cancelled without a fill over 90 days ago, and archived
}

_FILTERS = (
    *(-4001, -4002, -4003, -4004, -4005, -4006, -4007, -4013, -4014, -4016, -4023, -4024),
    *(-2025, -4045, -4164, -4183, -4184, -4210, -4211, -5029, -5040),
)

_FUTURES = (
    _GENERAL
    | dict.fromkeys(_FILTERS, Verdict.FILTER)
    | {
        -1099: Verdict.UNAUTHORISED,
        -1109: Verdict.UNAUTHORISED,
        -1125: Verdict.NOT_DONE,  # the listen key is gone: dialling again makes another
        -2017: Verdict.UNAUTHORISED,
        -2018: Verdict.INSUFFICIENT_FUNDS,
        -2019: Verdict.INSUFFICIENT_FUNDS,
        -2021: Verdict.REJECTED,  # it would trigger at once
        -2022: Verdict.REJECTED,  # there is nothing it could reduce
        -2028: Verdict.INSUFFICIENT_FUNDS,
        -4050: Verdict.INSUFFICIENT_FUNDS,
        -4051: Verdict.INSUFFICIENT_FUNDS,
        -4116: Verdict.DUPLICATE,
        -4120: Verdict.UNSUPPORTED,  # a conditional order at the endpoint of the others
        -5028: Verdict.CLOCK,
    }
)

# "Messages for -1010, -2010 and -2011"; a code alone says only that the matching engine refused.
_TEXTS = (
    (-1010, "insufficient balance", Verdict.INSUFFICIENT_FUNDS),
    (-2010, "insufficient balance", Verdict.INSUFFICIENT_FUNDS),
    # Of cancel-replace the message goes on with that of the part that failed.
    (-2021, "status unknown", Verdict.UNKNOWN),
    (-2022, "status unknown", Verdict.UNKNOWN),
    (-2021, "insufficient balance", Verdict.INSUFFICIENT_FUNDS),
    (-2021, "Duplicate order sent", Verdict.DUPLICATE),
    (-2021, "Filter failure", Verdict.FILTER),
    (-2010, "Duplicate order sent", Verdict.DUPLICATE),
    (-2010, "Filter failure", Verdict.FILTER),
    (-2010, "Price * QTY is zero or less", Verdict.FILTER),
    (-2010, "may not place or cancel orders", Verdict.UNAUTHORISED),
    (-2010, "action is disabled on this account", Verdict.UNAUTHORISED),
    (-2011, "Unknown order sent", Verdict.NOT_FOUND),
    (-2011, "may not place or cancel orders", Verdict.UNAUTHORISED),
)

_FUTURES_TEXTS = ((-2011, "Unknown order", Verdict.NOT_FOUND),)


def _verdicts(codes: Mapping[int, Verdict], texts: Iterable[tuple[int, str, Verdict]]) -> Verdicts:
    return Verdicts(
        codes={str(code): verdict for code, verdict in codes.items()},
        texts=tuple((str(code), part, verdict) for code, part, verdict in texts),
    )


SPOT_VERDICTS = _verdicts(_SPOT, _TEXTS)
"""What :func:`btx.bridges.ccxt.translate` is given for Binance spot."""

FUTURES_VERDICTS = _verdicts(_FUTURES, _FUTURES_TEXTS)
"""The same for USD-M and COIN-M."""

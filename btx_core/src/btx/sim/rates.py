"""Files of funding rates: CSV with a header, plain or gzipped.

Columns are found by their names: ``funding_time_ms`` (or Binance's ``calc_time``), ``funding_rate`` (or
``last_funding_rate``) and, where there is one, ``mark_price``.
"""

import csv
import gzip
import io
import zlib
from decimal import Decimal, InvalidOperation
from pathlib import Path

from btx.errors import ConfigError
from btx.model.derivatives import FundingRate
from btx.model.time import NS_PER_MS

__all__ = ("load_rates",)

_TIMES = ("funding_time_ms", "calc_time")
_RATES = ("funding_rate", "last_funding_rate")
_MARK = "mark_price"


def load_rates(path: Path, *, symbol: str, shift_ns: int = 0) -> tuple[FundingRate, ...]:
    """Read the rates of one instrument, oldest first, moved by ``shift_ns``.

    Raises:
        ConfigError: the file cannot be read, or a line is no rate; the message names it.
    """
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as a file of funding rates: {error}") from error
    reader = csv.DictReader(io.StringIO(text))
    names = reader.fieldnames or ()
    time_name, rate_name = (next((each for each in known if each in names), "") for known in (_TIMES, _RATES))
    if not (time_name and rate_name):
        raise ConfigError(f"{path} line 1: a file of funding rates has columns {_TIMES[0]} and {_RATES[0]}")
    rates: list[FundingRate] = []
    for row in reader:
        try:
            rate = FundingRate(
                symbol=symbol,
                time_ns=int(row[time_name]) * NS_PER_MS + shift_ns,
                rate=Decimal(row[rate_name]),
                mark_price=Decimal(row[_MARK]) if row.get(_MARK) else None,
            )
        except (TypeError, ValueError, InvalidOperation) as error:
            raise ConfigError(f"{path} line {reader.line_num} is no funding rate: {row}") from error
        if rates and rate.time_ns <= rates[-1].time_ns:
            raise ConfigError(f"{path} line {reader.line_num}: rates are in the order of their times")
        rates.append(rate)
    return tuple(rates)

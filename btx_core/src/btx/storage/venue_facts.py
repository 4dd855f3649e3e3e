"""What was learned of a venue beside its bars: the rules of instruments, and rates of funding."""

import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import cattrs

from btx.model.derivatives import FundingRate
from btx.model.instrument import Instrument
from btx.model.time import NS_PER_MS

__all__ = ("keep_instrument", "keep_rates", "kept_instruments", "rates_file")

_INSTRUMENTS = "instruments.json"


def kept_instruments(folder: Path) -> dict[str, Instrument]:
    """Return the instruments a market's folder knows, by symbol, as the venue last stated them."""
    file = folder / _INSTRUMENTS
    if not file.is_file():
        return {}
    rows = json.loads(file.read_text(encoding="utf-8"))
    return {symbol: _CONVERTER.structure(row, Instrument) for symbol, row in rows.items()}


def keep_instrument(folder: Path, instrument: Instrument) -> None:
    """Remember an instrument as the venue states it now."""
    known = {**kept_instruments(folder), instrument.symbol: instrument}
    text = json.dumps({symbol: _CONVERTER.unstructure(each) for symbol, each in sorted(known.items())}, indent=1)
    _write(folder / _INSTRUMENTS, text)


def rates_file(folder: Path, instrument: Instrument) -> Path:
    """Return where the funding rates of an instrument are, or would be, kept; it is read like any file of them."""
    return folder / f"funding-{instrument.venue_symbol}.csv"


def keep_rates(folder: Path, instrument: Instrument, rates: Iterable[FundingRate]) -> None:
    """Remember all the rates of an instrument, oldest first."""
    lines = [("funding_time_ms", "funding_rate", "mark_price")]
    lines += [(str(rate.time_ns // NS_PER_MS), str(rate.rate), str(rate.mark_price or "")) for rate in rates]
    _write(rates_file(folder, instrument), "".join(",".join(line) + "\n" for line in lines))


def _write(file: Path, text: str) -> None:
    """Replace a file as a whole: another run may read it meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)


def _new_converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_unstructure_hook(Decimal, str)
    converter.register_structure_hook(Decimal, lambda text, _kind: Decimal(text))
    return converter


_CONVERTER = _new_converter()

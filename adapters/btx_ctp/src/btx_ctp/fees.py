"""What trading costs: rates of the account's own by offset, and a round figure where nobody was asked."""

from collections.abc import Iterable
from decimal import Decimal

from btx.model.fees import FeeSchedule, OffsetRate
from btx.model.instrument import Instrument
from btx.model.order import Offset
from btx.rules.contracts import notional
from btx_ctp.codec import number
from btx_ctp.spi import Row

__all__ = ("USUAL", "fee_of", "schedule")

_ROUND_FIGURE = Decimal("0.0001")
_EIGHTH = Decimal("1e-8")

USUAL = FeeSchedule(
    maker=_ROUND_FIGURE,
    taker=_ROUND_FIGURE,
    tier="usual",
    source="a round figure of a contract's order of magnitude; ReqQryInstrumentCommissionRate tells an account's own",
)
"""What is taken for an account that was not asked: no public table of brokers' rates is kept up to date."""


def schedule(instrument: Instrument, rows: Iterable[Row]) -> FeeSchedule | None:
    """Return the account's rates for a contract, None where none of the rows is of it: rates are of products mostly."""
    named = {row["InstrumentID"].lower(): row for row in rows}
    row = named.get(instrument.venue_symbol.lower()) or named.get(instrument.base.lower())
    if row is None:
        return None
    rates = {
        offset: OffsetRate(
            of_notional=number(row[f"{name}RatioByMoney"]), per_contract=number(row[f"{name}RatioByVolume"])
        )
        for offset, name in (
            (Offset.OPEN, "Open"),
            (Offset.CLOSE, "Close"),
            (Offset.CLOSE_YESTERDAY, "Close"),
            (Offset.CLOSE_TODAY, "CloseToday"),
        )
    }
    of_notional = rates[Offset.OPEN].of_notional
    return FeeSchedule(
        maker=of_notional,
        taker=of_notional,
        tier="own",
        by_offset=rates,
        source="ReqQryInstrumentCommissionRate",
    )


def fee_of(fees: FeeSchedule, instrument: Instrument, *, price: Decimal, quantity: Decimal, offset: Offset) -> Decimal:
    """Return what a trade costs, in yuan, cut to eight decimals: no trade of CTP's tells it.

    Outside SHFE and INE closing what was opened today may cost what closing today's does, which an order there
    does not say: the broker's statement counts.
    """
    rate = fees.by_offset.get(offset, OffsetRate(of_notional=fees.taker))
    fee = rate.fee(notional=notional(instrument, quantity, price), contracts=quantity)
    return (fee / _EIGHTH // 1) * _EIGHTH

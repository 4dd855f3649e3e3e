"""Everything a futures market is asked over REST, and what of it is not modelled."""

import attrs

from btx_binance.sim import elsewhere
from btx_binance.sim.futures import account, algo, batches, history, market_data, positions, settings, terms, trading
from btx_binance.sim.futures.market import Dialect
from btx_binance.sim.futures.protocol import Protocol
from btx_binance.sim.futures.venue import FuturesVenue
from btx_binance.sim.venue import Call

__all__ = ("NOT_MODELLED", "calls")

NOT_MODELLED: tuple[str, ...] = (
    "the multi-assets mode, portfolio margin, auto-add margin, convert, and everything under /futures/data",
    "price match, RPI orders, price protection of conditional orders, self-trade prevention",
    "mark price, index price and premium index klines; asset and composite indices; insurance fund; delivery prices",
    "whatever others hold: open interest is what the simulator's accounts hold, ADL quantiles are 0",
    "breakEvenPrice: it is the entry price",
    "the BNB a VIP must hold: tiers follow the volume alone",
    "the refusal of FOK orders that cannot be filled (-5021): they expire",
    "the count of conditional orders over all symbols: 200 may wait for each",
    "quantitative rules (-4400), position risk control, KYC and country limits on leverage",
    "the forgetting of orders: those without a fill after three days, all after 90",
    "the other market's half of what USD-M and COIN-M share: one world is one market",
    "the numbers COIN-M had of its own for some errors: it answers in USD-M's, whose system it shares",
    "countdowns and GTD run on market time",
    "the streams compositeIndex, assetIndex, contractInfo, rpiDepth, and klines of mark and index prices",
    "forceOrder tells of every liquidation that is over, not of the largest of a second",
    "the other market's contracts on !ticker@arr, !miniTicker@arr and !bookTicker",
    "one aggregate trade of several prints: each print is an aggregate of its own",
)
"""What a client of the real futures markets would find and does not find here; the README says it too."""


def calls(dialect: Dialect, protocol: Protocol) -> tuple[Call[FuturesVenue], ...]:
    """Return the calls of a market, as the protocol of a day has them.

    The futures read the names of parameters whatever their case: ccxt sends
    ``orderidlist``, and their own errors name them in small letters.
    """
    served: tuple[Call[FuturesVenue], ...] = (
        *market_data.calls(dialect),
        *trading.calls(dialect),
        *history.calls(dialect, protocol),
        *batches.calls(dialect),
        *algo.calls(dialect),
        *account.calls(dialect, protocol),
        *positions.calls(dialect),
        *terms.calls(dialect, protocol),
        *settings.calls(dialect),
        *elsewhere.calls(f"{dialect.prefix}/v1"),
    )
    return tuple(attrs.evolve(call, any_case=True) for call in served)

"""Everything the venue is asked over REST, and what of it is not modelled."""

from btx.sim.manners import Manners
from btx_bybit.sim import account, instruments, market_data, movements, orders, positions, trading
from btx_bybit.sim.venue import Call

__all__ = ("CALLS", "MANNERS", "NOT_MODELLED")

MANNERS = Manners(
    ends_post_only=True,
    reduces_in_hedge=True,
    charges_closing=True,
    default_leverage=10,
    marks_on_tick=True,
)
"""How the venue treats its clients."""

CALLS: tuple[Call, ...] = (
    *instruments.CALLS,
    *market_data.CALLS,
    *account.CALLS,
    *movements.CALLS,
    *trading.CALLS,
    *orders.CALLS,
    *positions.CALLS,
)
"""Every operation that is served."""

NOT_MODELLED: tuple[str, ...] = (
    "options, spreads, leveraged tokens, RFQ, earn, lending, and everything under /v5/spot-margin-trade",
    "the other categories of the account: one world is one category, and of the others everything is empty",
    "collateral: a coin that is not a contract's settle coin stands in the wallet and margins nothing; borrowing",
    "portfolio margin, auto-add margin, spot hedging, disconnection protection of options, market maker protection",
    "the moves of a trailing stop, which the venue pushes with where it stands; and parentOrderLinkId",
    "OCO orders of spot; a take profit and a stop loss sent with one spot order are told as two orders that wait",
    "leverage with decimals, and another leverage for each side",
    "market orders turned into limits, slippageTolerance, and prices that must beat the liquidation price",
    "self-match prevention: smpType is kept and told, clients' orders never meet each other, only the market",
    "the effect of an order on the market: nobody else sees it, and no print comes of it",
    "the price limit's ratio X and the pause of trading it brings: a limit may lie ratio Y from the mark or last price",
    "an amendment that only reduces the quantity keeps no place in the queue: every amended order queues anew",
    "liquidation in steps: a position is closed whole, at the mark price; its orders end before",
    "VIP levels: every account pays the regular rates",
    "the fee of opening and the fundings in closedPnl: it is the profit less the fee of closing",
    "the venue's restarts, after which realtime has forgotten all orders that are over",
    "open interest before now, and of anybody but this simulator's accounts; the insurance fund of others; ADL ranks",
    "RSA keys, and the X-Referer; keys bound to addresses, and read-only keys",
    "limits above the regular ones; the permanent ban of an address",
    "GET requests with a body; parameters nobody knows are ignored, as the venue does",
    "the venue's own delays: requests are done and events pushed at once, also what it calls asynchronous",
    "the texts of refusals that no document shows; their codes are the venue's",
)
"""What a client of the real venue would find over REST and does not find here."""

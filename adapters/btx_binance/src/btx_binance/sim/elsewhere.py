"""What clients ask elsewhere at the venue when they start: its wallet (``/sapi``), and the markets they will not trade.

developers.binance.com/docs/wallet, 2026.  Everything else there is not served.
"""

from btx.model.time import to_ms
from btx.sim.exchange import Listing
from btx.sim.skin.text import JSON
from btx_binance.sim import wire
from btx_binance.sim.params import symbol
from btx_binance.sim.venue import Ask, Call, Security, Venue

__all__ = ("calls",)


def _system_status(_: Venue, __: Ask) -> JSON:
    return {"status": 0, "msg": "normal"}


def _none(_: Venue, __: Ask) -> list[JSON]:
    return []


def _coins(venue: Venue, ask: Ask) -> list[JSON]:
    """The coins of the listings, without networks: nothing can be deposited or withdrawn here."""
    held = venue.balances(ask.api_key)
    coins = {coin for listing in _listings(venue) for coin in (listing.instrument.base, listing.instrument.quote)}
    zero = wire.number(None)
    return [
        {
            "coin": coin,
            "depositAllEnable": False,
            "free": wire.number(held[coin].free) if coin in held else zero,
            "freeze": zero,
            "ipoable": zero,
            "ipoing": zero,
            "isLegalMoney": False,
            "locked": wire.number(held[coin].locked) if coin in held else zero,
            "name": coin,
            "networkList": [],
            "storage": zero,
            "trading": True,
            "withdrawAllEnable": False,
            "withdrawing": zero,
        }
        for coin in sorted(coins | set(held))
    ]


def _fee_table(venue: Venue, ask: Ask) -> list[JSON]:
    return [
        {
            "symbol": listing.venue_symbol,
            "makerCommission": wire.number(listing.fees.maker),
            "takerCommission": wire.number(listing.fees.taker),
        }
        for listing in _listings(venue)
        if ask.get("symbol", listing.venue_symbol) == listing.venue_symbol
    ]


def _ping(_: Venue, __: Ask) -> JSON:
    return {}


def _time(venue: Venue, _: Ask) -> JSON:
    return {"serverTime": venue.wire_ms()}


def _empty(venue: Venue, _: Ask) -> JSON:
    """Return the exchangeInfo of a market that lists nothing."""
    return {
        "timezone": "UTC",
        "serverTime": venue.wire_ms(),
        "futuresType": "U_MARGINED",
        "rateLimits": [],
        "exchangeFilters": [],
        "assets": [],
        "symbols": [],
    }


def _listings(venue: Venue) -> list[Listing]:
    return list(venue.world.listings.values())


def _key_rights(venue: Venue, ask: Ask) -> JSON:
    """What the key may do: trade here, and withdraw only where the account says so."""
    account = next(account for account in venue.world.accounts if account.api_key == ask.api_key)
    is_spot = not any(listing.instrument.kind.is_margined for listing in _listings(venue))
    return {
        "ipRestrict": False,
        "createTime": to_ms(venue.market.origin_ns),
        "enableReading": True,
        "enableSpotAndMarginTrading": is_spot,
        "enableWithdrawals": account.may_withdraw,
        "enableInternalTransfer": False,
        "enableMargin": False,
        "enableFutures": not is_spot,
        "permitsUniversalTransfer": False,
        "enableVanillaOptions": False,
        "enablePortfolioMarginTrading": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": False,
    }


def calls(own: str) -> tuple[Call[Venue], ...]:
    """Return what a market answers besides its own; ``own`` is the root of that, like ``/api/v3``."""
    others = [root for root in ("/api/v3", "/fapi/v1", "/dapi/v1") if root != own]
    return (
        *(Call(run=_ping, rest=("GET", f"{root}/ping")) for root in others),
        *(Call(run=_time, rest=("GET", f"{root}/time")) for root in others),
        *(Call(run=_empty, rest=("GET", f"{root}/exchangeInfo")) for root in others),
        Call(run=_system_status, rest=("GET", "/sapi/v1/system/status")),
        Call(run=_coins, rest=("GET", "/sapi/v1/capital/config/getall"), weight=10, security=Security.SIGNED),
        Call(run=_none, rest=("GET", "/sapi/v1/margin/allPairs"), security=Security.KEY),
        Call(run=_none, rest=("GET", "/sapi/v1/margin/isolated/allPairs"), security=Security.SIGNED),
        Call(run=_key_rights, rest=("GET", "/sapi/v1/account/apiRestrictions"), security=Security.SIGNED),
        Call(
            run=_fee_table,
            rest=("GET", "/sapi/v1/asset/tradeFee"),
            params=(symbol(mandatory=False),),
            security=Security.SIGNED,
        ),
    )

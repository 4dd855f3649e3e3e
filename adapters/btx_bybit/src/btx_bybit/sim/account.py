"""The account: wallet, fees, rights, settings (docs/v5/account, user and asset, 2025)."""

from decimal import Decimal

from btx.model.derivatives import MarginMode
from btx.sim.skin.text import JSON
from btx_bybit.sim.errors import unknown_symbol
from btx_bybit.sim.instruments import CATEGORY
from btx_bybit.sim.params import choice, text
from btx_bybit.sim.rows import wallet_row
from btx_bybit.sim.venue import Ask, Call, Venue
from btx_bybit.sim.wire import WireError, plain

__all__ = ("CALLS",)

_MODES = {"REGULAR_MARGIN": MarginMode.CROSS, "ISOLATED_MARGIN": MarginMode.ISOLATED}
_UTA = 5  # unifiedMarginStatus: UTA 2.0
_PERMISSIONS = {
    "ContractTrade": ["Order", "Position"],
    "Spot": ["SpotTrade"],
    "Options": ["OptionsTrade"],
    "Derivatives": ["DerivativesTrade"],
    "Exchange": ["ExchangeHistory"],
    "CopyTrading": [],
    "BlockTrade": [],
    "NFT": [],
    "Affiliate": [],
}


def _info(venue: Venue, ask: Ask) -> JSON:
    window_s = venue.dcp_window_s.get(ask.api_key)
    return {
        "marginMode": _mode(venue, ask.api_key),
        "updatedTime": str(venue.wire_ms()),
        "unifiedMarginStatus": _UTA,
        "dcpStatus": "OFF" if window_s is None else "ON",
        "timeWindow": window_s or 0,
        "smpGroup": 0,
        "isMasterTrader": False,
        "spotHedgingStatus": "OFF",
    }


def _mode(venue: Venue, api_key: str) -> str:
    if venue.is_spot:
        return "REGULAR_MARGIN"
    first = next(iter(venue.desk.listings))
    mode = venue.desk.margin_mode(api_key=api_key, venue_symbol=first)
    return next(name for name, each in _MODES.items() if each is mode)


def _set_mode(venue: Venue, ask: Ask) -> JSON:
    wanted = ask["setMarginMode"]
    if wanted == "PORTFOLIO_MARGIN" or venue.is_spot:
        raise _mode_refused("3400000", "this margin mode is not available")
    if wanted != _mode(venue, ask.api_key):
        if venue.desk.positions(api_key=ask.api_key) or any(each.is_open for each in venue.orders(ask.api_key)):
            raise _mode_refused("3400001", "there are open orders or positions")
        for symbol in venue.desk.listings:
            venue.desk.set_margin_mode(
                api_key=ask.api_key, venue_symbol=symbol, mode=_MODES[wanted], now_ns=ask.market_ns
            )
    return {"reasons": []}


def _mode_refused(code: str, text_: str) -> WireError:
    return WireError(3400045, "Set margin mode failed", result={"reasons": [{"reasonCode": code, "reasonMsg": text_}]})


def _wallet(venue: Venue, ask: Ask) -> JSON:
    row = wallet_row(venue, ask.api_key)
    coins = {coin.strip() for coin in ask.get("coin", "").split(",") if coin.strip()}
    row["coin"] = [each for each in row["coin"] if (each["coin"] in coins if coins else Decimal(each["equity"]))]
    return {"list": [row]}


def _fee_rates(venue: Venue, ask: Ask) -> JSON:
    if ask["category"] != venue.category:
        return {"list": []}
    wanted = ask.get("symbol")
    if wanted is not None and wanted not in venue.engine.listings:
        raise unknown_symbol(is_spot=venue.is_spot)
    rows = []
    for symbol, listing in venue.engine.listings.items():
        if wanted in {None, symbol} and ask.get("baseCoin", listing.instrument.base) == listing.instrument.base:
            fees = (
                listing.fees
                if venue.is_spot
                else venue.desk.fees(api_key=ask.api_key, venue_symbol=symbol, now_ns=ask.market_ns)
            )
            rows.append({"symbol": symbol, "takerFeeRate": plain(fees.taker), "makerFeeRate": plain(fees.maker)})
    return {"list": rows}


def _collateral(venue: Venue, ask: Ask) -> JSON:
    coins = [each["coin"] for each in wallet_row(venue, ask.api_key)["coin"]]
    return {
        "list": [
            {
                "currency": coin,
                "hourlyBorrowRate": "0",
                "maxBorrowingAmount": "0",
                "freeBorrowingLimit": "0",
                "freeBorrowAmount": "0",
                "borrowAmount": "0",
                "otherBorrowAmount": "0",
                "availableToBorrow": "0",
                "borrowable": False,
                "freeBorrowingAmount": "",
                "borrowUsageRate": "0",
                "marginCollateral": True,
                "collateralSwitch": True,
                "collateralRatio": "1",
            }
            for coin in coins
            if ask.get("currency", coin) == coin
        ]
    }


def _key(venue: Venue, ask: Ask) -> JSON:
    account = next(each for each in venue.world.accounts if each.api_key == ask.api_key)
    wallet = ["AccountTransfer", "SubMemberTransfer"] + (["Withdraw"] if account.may_withdraw else [])
    return {
        "id": str(venue.uids[ask.api_key]),
        "note": "simulator",
        "apiKey": ask.api_key,
        "readOnly": 0,
        "secret": "",
        "permissions": {**_PERMISSIONS, "Wallet": wallet},
        "ips": ["*"],
        "type": 1,
        "deadlineDay": 90,
        "expiredAt": "2099-01-01T00:00:00Z",
        "createdAt": "2020-01-01T00:00:00Z",
        "unified": 0,
        "uta": 1,
        "userID": venue.uids[ask.api_key],
        "inviterID": 0,
        "vipLevel": "No VIP",
        "mktMakerLevel": "0",
        "affiliateID": 0,
        "rsaPublicKey": "",
        "isMaster": True,
        "parentUid": "0",
        "kycLevel": "LEVEL_DEFAULT",
        "kycRegion": "",
    }


def _coins(venue: Venue, ask: Ask) -> JSON:
    instruments = [listing.instrument for listing in venue.engine.listings.values()]
    coins = sorted({coin for each in instruments for coin in (each.base, each.settle)} | _owned(venue, ask.api_key))
    return {
        "rows": [
            {
                "name": coin,
                "coin": coin,
                "remainAmount": "1000000",
                "chains": [
                    {
                        "chainType": coin,
                        "confirmation": "1",
                        "withdrawFee": "0",
                        "depositMin": "0",
                        "withdrawMin": "0",
                        "chain": coin,
                        "chainDeposit": "0",
                        "chainWithdraw": "0",
                        "minAccuracy": "8",
                        "withdrawPercentageFee": "0",
                        "contractAddress": "",
                    }
                ],
            }
            for coin in coins
            if ask.get("coin", coin) == coin
        ]
    }


def _owned(venue: Venue, api_key: str) -> set[str]:
    return set(venue.engine.balances(api_key=api_key))


def _dcp(venue: Venue, ask: Ask) -> JSON:
    window_s = venue.dcp_window_s.get(ask.api_key)
    product = "SPOT" if venue.is_spot else "DERIVATIVES"
    rows = [{"product": product, "dcpStatus": "ON", "timeWindow": str(window_s)}] if window_s is not None else []
    return {"dcpInfos": rows}


CALLS: tuple[Call, ...] = (
    Call(run=_info, rest=("GET", "/v5/account/info"), is_signed=True, limit=50),
    Call(
        run=_set_mode,
        rest=("POST", "/v5/account/set-margin-mode"),
        params=(choice("setMarginMode", (*_MODES, "PORTFOLIO_MARGIN"), mandatory=True),),
        is_signed=True,
        limit=5,
    ),
    Call(
        run=_wallet,
        rest=("GET", "/v5/account/wallet-balance"),
        params=(
            choice(
                "accountType", ("UNIFIED",), error=WireError(10001, "accountType only support UNIFIED."), mandatory=True
            ),
            text("coin"),
        ),
        is_signed=True,
        limit=50,
    ),
    Call(
        run=_fee_rates,
        rest=("GET", "/v5/account/fee-rate"),
        params=(CATEGORY, text("symbol"), text("baseCoin")),
        is_signed=True,
        limit=5,
    ),
    Call(
        run=_collateral,
        rest=("GET", "/v5/account/collateral-info"),
        params=(text("currency"),),
        is_signed=True,
        limit=50,
    ),
    Call(run=_dcp, rest=("GET", "/v5/account/query-dcp-info"), is_signed=True, limit=5),
    Call(run=_key, rest=("GET", "/v5/user/query-api"), is_signed=True, limit=10),
    Call(run=_coins, rest=("GET", "/v5/asset/coin/query-info"), params=(text("coin"),), is_signed=True, limit=5),
)
"""The account."""

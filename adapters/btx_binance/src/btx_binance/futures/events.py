"""What USD-M and COIN-M push of an account, into the model.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/user-data-streams
and .../coin-margined-futures/user-data-streams, 2026-05-28.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from btx.bridges.decimals import limit
from btx.model.account import AccountUpdate, Balance, MarginCall, PositionReport
from btx.model.derivatives import MarginMode
from btx.model.order import Fill, Liquidity, OrderReport, Side, Status
from btx.model.time import from_ms
from btx_binance.codec import STATUSES
from btx_binance.futures.codec import ALGO_STATUSES, MARGIN_MODES, ORDER_TYPES, POSITION_SIDES, algo_id, origin_of

__all__ = ("account_update", "algo_update", "margin_call", "order_update")

Json = Mapping[str, Any]
Named = Callable[[str], str]

_EXECUTIONS = frozenset({"TRADE", "CALCULATED"})  # the latter of a liquidation
_STATUSES = {**STATUSES, "NEW_INSURANCE": Status.NEW, "NEW_ADL": Status.NEW}  # of exchange-made orders

# "Expiry Reason"
_REASONS = {
    "1": "self-trade prevention",
    "2": "IOC: the rest was not filled",
    "3": "IOC: self-trade prevention",
    "4": "knocked out by a reduce-only order, or the position would have turned",
    "5": "the account was liquidated",
    "6": "there is no position left to close",
    "7": "the symbol is delisted",
    "8": "its stop order has triggered",
    "9": "the rest of a market order was not filled",
    "10": "FOK: not to be filled at once",
    "11": "post-only: it would have taken",
}


def order_update(event: Json, *, symbol_of: Named) -> tuple[Fill | OrderReport, ...]:
    """Return what ``ORDER_TRADE_UPDATE`` says: the fill, if it is one, and then the order's state.

    There is no sequence: what is further on in an order's life is later.  A fill
    without its fee is told without it: "N, n: will not push if no commission".
    """
    row = event["o"]
    common = {
        "client_order_id": row["c"],
        "venue_order_id": str(row["i"]),
        "symbol": symbol_of(row["s"]),
        "side": Side(row["S"]),
        "time_ns": from_ms(int(row["T"])),
        "position_side": POSITION_SIDES[row["ps"]],
        "origin": origin_of(row["c"]),
    }
    report = OrderReport(
        **common,
        status=_STATUSES[row["X"]],
        filled=Decimal(row["z"]),
        reason=_REASONS.get(row.get("er", "0"), ""),
        order_type=ORDER_TYPES.get(row.get("ot", row["o"])),
        quantity=limit(row, "q"),
        price=limit(row, "p"),
        trigger_price=limit(row, "sp"),
        reduce_only=bool(row["R"]),
    )
    if row["x"] not in _EXECUTIONS or not int(row["t"]):
        return (report,)
    fill = Fill(
        **common,
        fill_id=str(row["t"]),
        price=Decimal(row["L"]),
        quantity=Decimal(row["l"]),
        fee=Decimal(row["n"]) if "n" in row and "N" in row else None,
        fee_asset=row["N"] if "n" in row and "N" in row else None,
        liquidity=Liquidity.MAKER if row["m"] else Liquidity.TAKER,
        realised=Decimal(row["rp"]) if "rp" in row else None,
    )
    return (fill, report)


def algo_update(event: Json, *, symbol_of: Named) -> tuple[OrderReport, ...]:
    """Return what ``ALGO_UPDATE`` says of a conditional order: never a fill, and of a finished one nothing.

    TRIGGERED means that its child is in the matching engine; what becomes of that
    is told by ORDER_TRADE_UPDATE, and FINISHED repeats it.
    """
    row = event["o"]
    if row["X"] == "FINISHED":
        return ()
    report = OrderReport(
        client_order_id=row["caid"],
        venue_order_id=str(row.get("ai") or "") or algo_id(row["aid"]),
        symbol=symbol_of(row["s"]),
        status=ALGO_STATUSES[row["X"]],
        time_ns=from_ms(int(event["T"])),
        reason=row.get("rm", ""),
        side=Side(row["S"]),
        order_type=ORDER_TYPES.get(row["o"]),
        quantity=limit(row, "q"),
        price=limit(row, "p"),
        trigger_price=limit(row, "tp"),
        position_side=POSITION_SIDES[row["ps"]],
        reduce_only=bool(row["R"]),
    )
    return (report,)


def account_update(event: Json, *, symbol_of: Named) -> AccountUpdate:
    """Return ``ACCOUNT_UPDATE``: the wallets and positions that changed, and the venue's word for why."""
    row, time_ns = event["a"], from_ms(int(event["T"]))
    return AccountUpdate(
        balances={each["a"]: Balance(free=Decimal(each["wb"]), locked=Decimal(0)) for each in row.get("B", ())},
        time_ns=time_ns,
        positions=tuple(_position(each, time_ns, symbol_of) for each in row.get("P", ())),
        reason=row["m"],
    )


def margin_call(event: Json, *, symbol_of: Named) -> MarginCall:
    """Return ``MARGIN_CALL``."""
    time_ns = from_ms(int(event["E"]))
    return MarginCall(positions=tuple(_position(each, time_ns, symbol_of) for each in event["p"]), time_ns=time_ns)


def _position(row: Json, time_ns: int, symbol_of: Named) -> PositionReport:
    mode = MARGIN_MODES[row["mt"].lower()]
    return PositionReport(
        symbol=symbol_of(row["s"]),
        position_side=POSITION_SIDES[row["ps"]],
        quantity=Decimal(row["pa"]),
        entry_price=limit(row, "ep"),
        mark_price=limit(row, "mp"),
        unrealised=Decimal(row["up"]),
        margin_mode=mode,
        isolated_margin=Decimal(row["iw"]) if mode is MarginMode.ISOLATED else None,
        time_ns=time_ns,
    )

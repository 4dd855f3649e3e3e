"""What a run delivered, as values that equal runs have alike."""

from decimal import Decimal

from btx.model.account import AccountSnapshot, Balance, PositionReport
from btx.model.order import PositionSide
from btx.storage.tally import Tally


def position(quantity: str, side: PositionSide, entry: str | None) -> PositionReport:
    return PositionReport(
        symbol="BTC/USDT:USDT",
        position_side=side,
        quantity=Decimal(quantity),
        entry_price=None if entry is None else Decimal(entry),
        time_ns=1,
    )


def test_positions_on_margin_stand_beside_the_wallets_whatever_order_they_are_told_in() -> None:
    reports = (position("-1.50", PositionSide.SHORT, "100.10"), position("2", PositionSide.LONG, None))
    wallets = {"USDT": Balance(free=Decimal("9.0"), locked=Decimal(0))}

    one, other = (
        Tally().state(AccountSnapshot(balances=wallets, positions=told, time_ns=1)) for told in (reports, reports[::-1])
    )

    assert one == other
    assert one["balances"] == {"USDT": "9 + 0"}
    assert one["positions"] == {"BTC/USDT:USDT LONG": "2 at 0", "BTC/USDT:USDT SHORT": "-1.5 at 100.1"}

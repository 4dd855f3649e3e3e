"""A position that is liquidated: warned of, told as what it is, shown to the strategy, and booked to the last digit."""

from decimal import Decimal
from typing import Any

import backtrader as bt

import btx
from btx.model.account import BookingKind
from tests.e2e.trading import Scripted, account, world


def test_a_liquidation_is_warned_of_told_and_booked_like_the_venue_does() -> None:
    store = btx.load(
        "binance",
        env="sim",
        market="usdm",
        leverage=100,
        limits=None,
        scenario=world(minutes=600, market="usdm", accounts=(account(USDT="1000"),)),
    )
    found: dict[str, Any] = {}

    def at_end(_strategy: Any) -> None:
        session = store.session
        account_now = session.margin()
        assert account_now is not None
        found.update(
            ledger=session.ledger(),
            sums=dict(session.sums()),
            wallet=account_now.wallet("USDT"),
            halted=session.halted(),
        )

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker(on_stop="keep"))
    cerebro.adddata(store.getdata("BTC/USDT", timeframe=bt.TimeFrame.Minutes))
    cerebro.addstrategy(
        Scripted, steps={1: lambda strategy: strategy.buy(size=90_000 / strategy.data.close[0])}, at_end=at_end
    )
    (strategy,) = cerebro.run()

    said = [str(note) for note in strategy.store_notes]
    assert len([text for text in said if text.startswith("MARGIN: ")]) == 1
    (liquidated,) = [text for text in said if text.startswith("LIQUIDATED: ")]
    assert "the exchange made an order: SELL" in liquidated
    assert strategy.position.size == 0
    assert [trade.isclosed for trade in strategy.trades][-1]
    assert found["ledger"]["positions"] == []
    assert found["wallet"] == Decimal(found["ledger"]["wallets"]["USDT"]["wallet"])
    assert found["halted"] is None
    booked: dict[Any, Decimal] = {}
    for row in found["ledger"]["bookings"]:
        key = BookingKind(row["kind"]), row["asset"]
        booked[key] = booked.get(key, Decimal(0)) + Decimal(row["amount"])
    booked.pop((BookingKind.TRANSFER, "USDT"), None)  # what it began with
    assert found["sums"] == booked
    assert (BookingKind.LIQUIDATION_FEE, "USDT") in booked

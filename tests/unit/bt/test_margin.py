"""Positions on margin: wallets, books and backtrader's floats, of linear and inverse contracts and of both legs."""

import itertools
import os
from decimal import Decimal
from typing import Any

import attrs
import backtrader as bt
import pytest

from btx.bt.analyzers import Costs
from btx.bt.broker import broker
from btx.errors import ConfigError
from btx.model.account import BookingKind
from btx.model.order import OrderType, Origin, PositionSide, TriggerBy
from tests.unit.bt.margin_rig import (
    COIN,
    FIVE_TIMES,
    FOR_EVER,
    HEDGED,
    ONE_WAY,
    PERP,
    MarginRig,
    MarginToy,
    agree,
    margin_store,
    on_margin,
)
from tests.unit.bt.rig import Script, Toy, acts, play, run, store_on
from tests.values import bar

# --- one position --------------------------------------------------------------------------------------------


def test_a_position_takes_margin_and_brings_what_its_price_moved() -> None:
    rig, seen = on_margin(), {}

    def look(strategy: Script) -> None:
        broker = strategy.broker
        seen["open"] = (broker.getcash(), broker.getvalue(), broker.getvalue([strategy.data]), strategy.position.size)

    strategy = play(rig, lambda s: s.buy(size=10), look, lambda s: s.close())

    cash, value, position_value, size = seen["open"]
    assert size == 10
    assert value == 10_000 - 1  # a fee of 0.1 % of 1,000; the mark price has not moved
    assert cash == value - 10 * 100 / 5
    assert position_value == pytest.approx(10 * strategy.data.close[0] / 5)
    assert strategy.position.size == 0.0
    assert [trade.isclosed for trade in strategy.trades] == [False, True]
    agree(rig)


def test_a_short_position_is_sold_and_bought_back() -> None:
    rig = on_margin()
    toy = rig.toy

    def sell(strategy: Script) -> Any:
        return strategy.sell(size=2)

    def cheaper(strategy: Script) -> Any:
        assert strategy.position.size == -2
        assert strategy.broker.getvalue([strategy.data]) < 0
        toy.price = Decimal(90)
        return strategy.close()

    strategy = play(rig, sell, cheaper)

    assert strategy.trades[-1].pnl == pytest.approx(20)
    assert strategy.trades[-1].pnlcomm == pytest.approx(20 - 0.2 - 0.18)
    assert rig.broker.ledger()["USDT"] == Decimal(10_000) + 20 - Decimal("0.2") - Decimal("0.18")
    agree(rig)


def test_an_order_through_zero_closes_one_trade_and_opens_another() -> None:
    rig = on_margin()

    strategy = play(rig, lambda s: s.buy(size=1), lambda s: s.sell(size=3), lambda s: s.close())

    assert [(trade.isclosed, trade.long) for trade in strategy.trades] == [
        (False, True),
        (True, True),
        (False, False),
        (True, False),
    ]
    agree(rig)


def test_fractions_leave_no_trade_open() -> None:
    rig = on_margin()
    bought = [0.1, 0.2, 0.3, 0.007]

    strategy = play(rig, *[lambda s, size=size: s.buy(size=size) for size in bought], lambda s: s.close())

    assert strategy.trades[-1].isclosed
    assert strategy.position.size == 0.0
    agree(rig)


def test_an_inverse_contract_counts_in_coins_and_averages_by_what_they_are_worth() -> None:
    rig = on_margin(COIN, market="coinm")
    toy = rig.toy

    def at(price: int, action: Any) -> Any:
        def step(strategy: Script) -> Any:
            toy.price = Decimal(price)
            return action(strategy)

        return step

    def look(strategy: Script) -> Any:
        assert strategy.position.price == pytest.approx(100 * 3 / (2 / 1 + 1 / 1.1) / 1)
        return strategy.close()

    strategy = play(rig, at(100, lambda s: s.buy(size=2)), at(110, lambda s: s.buy(size=1)), at(120, look))

    bought, sold = Decimal(200) / 100 + Decimal(100) / 110, Decimal(300) / 120
    assert strategy.trades[-1].pnl == pytest.approx(float(bought - sold))
    assert strategy.trades[-1].price == pytest.approx(300 / float(bought))
    assert rig.broker.currency == "BTC"
    assert rig.broker.getcash() == pytest.approx(float(rig.broker.ledger()["BTC"]))
    agree(rig)


def test_close_cannot_turn_a_position_over_and_a_second_order_after_it_can_open() -> None:
    rig = on_margin()

    def reverse(strategy: Script) -> Any:
        strategy.close()
        return strategy.sell(size=1)

    strategy = play(rig, lambda s: s.buy(size=1), reverse, lambda s: s.close())

    legs = [order.leg.request for order in rig.toy.orders.values()]
    assert [each.reduce_only for each in legs] == [False, True, False, True]
    assert strategy.position.size == 0.0
    agree(rig)


@pytest.mark.parametrize(
    ("info", "sentence"),
    [
        ({"reduce_only": True}, "a sell reduces nothing here: the position is 0"),
        ({"close_position": True}, "a sell reduces nothing here: the position is 0"),
        ({"reduce_only": "no"}, "reduce_only='no': write True or False"),
        ({"reduce_onyl": True}, "reduce_onyl= is no argument of an order: write reduce_only="),
    ],
)
def test_what_reduces_nothing_is_refused_in_one_sentence(info: dict[str, Any], sentence: str) -> None:
    rig = on_margin()

    strategy = play(rig, lambda s: s.sell(size=1, **info))

    assert strategy.words == ["Rejected"]
    assert strategy.orders[0].info.reason == sentence


def test_close_position_closes_all_there_is_at_a_price() -> None:
    rig = on_margin()

    def exit_at(strategy: Script) -> None:
        strategy.sell(price=120, exectype=bt.Order.Limit, close_position=True)

    play(rig, lambda s: s.buy(size=0.7), exit_at, lambda _: None)

    resting = list(rig.toy.orders.values())[-1].leg.request
    assert (resting.quantity, resting.reduce_only) == (Decimal("0.7"), True)


# --- sizes -----------------------------------------------------------------------------------------------------


def test_a_size_for_cash_counts_the_leverage() -> None:
    rig, seen = on_margin(), []

    def look(strategy: Script) -> Any:
        comminfo = strategy.broker.getcommissioninfo(strategy.data)
        seen.append(comminfo.getsize(100.0, 1000.0))
        seen.append(comminfo.getoperationcost(10, 100.0))
        seen.append(comminfo.getcommission(10, 100.0))
        return strategy.order_target_percent(target=0.5)

    def again(strategy: Script) -> Any:
        seen.append(strategy.broker.getvalue([strategy.data]))
        return strategy.order_target_value(target=-1000)

    def short(strategy: Script) -> Any:
        seen.append(strategy.broker.getvalue([strategy.data]))
        return strategy.order_target_size(target=0)

    strategy = play(rig, look, again, short)

    assert seen[:3] == [50.0, 200.0, pytest.approx(1.0)]
    assert seen[3] == pytest.approx(5000, rel=0.02)
    assert seen[4] == pytest.approx(-1000, rel=0.02)
    assert strategy.position.size == 0.0
    agree(rig)


# --- legs ------------------------------------------------------------------------------------------------------


def hedged() -> MarginRig:
    rig = MarginRig(MarginToy(PERP, margining=HEDGED), margining=HEDGED)
    rig.add("BTC/USDT", position_side="long")
    rig.add("BTC/USDT", position_side="short")
    return rig


def test_a_long_and_a_short_leg_live_beside_each_other() -> None:
    rig = hedged()

    def both(strategy: Script) -> Any:
        assert strategy.getposition(strategy.data0).size == 2
        assert strategy.getposition(strategy.data1).size == -1
        return strategy.close(data=strategy.data1)

    strategy = play(
        rig,
        lambda s: s.buy(data=s.data0, size=2),
        lambda s: s.sell(data=s.data1, size=1),
        both,
        lambda s: s.order_target_size(data=s.data0, target=0),
    )

    assert [data._name for data in strategy.datas] == ["BTC/USDT long", "BTC/USDT short"]
    sides = [order.leg.request.position_side for order in rig.toy.orders.values()]
    assert sides == [PositionSide.LONG, PositionSide.SHORT, PositionSide.SHORT, PositionSide.LONG]
    assert not any(order.leg.request.reduce_only for order in rig.toy.orders.values())
    assert [trade.data._name for trade in strategy.trades if trade.isclosed] == ["BTC/USDT short", "BTC/USDT long"]
    agree(rig)


def test_legs_share_one_stream_of_bars() -> None:
    rig = hedged()

    play(rig, lambda s: s.buy(data=s.data0, size=2), lambda _: None)

    wanted = [what for name, what in rig.toy.calls if name in {"dial", "subscribe"}]
    bars = {each for subscriptions in wanted for each in subscriptions if each.instrument is not None}
    assert len(bars) == 1


def test_a_leg_cannot_cross_zero() -> None:
    rig = hedged()

    strategy = play(rig, lambda s: s.sell(data=s.data1, size=1), lambda s: s.buy(data=s.data1, size=1.5))

    assert strategy.words[-1] == "Rejected"
    assert strategy.orders[-1].info.reason == (
        "a buy of 1.5 would take the short leg of BTC/USDT:USDT through zero, it holds 1: "
        "the long leg has a data of its own, getdata(..., position_side='long')"
    )
    assert len(rig.toy.orders) == 1


def test_in_hedge_mode_a_data_is_of_the_long_leg_unless_it_says_otherwise() -> None:
    rig = MarginRig(MarginToy(PERP, margining=HEDGED), margining=HEDGED)
    rig.add("BTC/USDT")

    strategy = play(rig, lambda s: s.buy(size=2))

    assert strategy.data._name == "BTC/USDT"
    assert next(iter(rig.toy.orders.values())).leg.request.position_side is PositionSide.LONG


@pytest.mark.parametrize(
    ("word", "margining", "sentence"),
    [
        ("both", HEDGED, r"^position_side='both': write 'long' or 'short'$"),
        (
            "short",
            ONE_WAY,
            r"^position_side='short' is of hedge mode: write btx.load\(\.\.\., position_mode='hedge'\)",
        ),
    ],
)
def test_a_leg_that_is_none_is_refused_at_once(word: str, margining: Any, sentence: str) -> None:
    rig = MarginRig(MarginToy(PERP), margining=margining)

    with pytest.raises(ConfigError, match=sentence):
        rig.add("BTC/USDT", position_side=word)


# --- from before, and from outside -------------------------------------------------------------------------------


@pytest.mark.parametrize(("quantity", "sold"), [("-1.5", False), ("2", True)])
def test_a_position_from_before_is_found_with_its_entry_price(quantity: str, sold: bool) -> None:
    toy = MarginToy(PERP, margining=FIVE_TIMES)
    toy.hold(PERP, quantity, "80")
    rig = MarginRig(toy)
    rig.add("BTC/USDT")

    def look(strategy: Script) -> Any:
        assert (strategy.position.size, strategy.position.price) == (float(quantity), 80.0)
        return strategy.close()

    strategy = play(rig, look)

    assert strategy.orders[0].info.seed
    assert [order.leg.request.side.value for order in toy.orders.values()] == ["SELL" if sold else "BUY"]
    assert strategy.trades[-1].pnl == pytest.approx(float(quantity) * 20)
    agree(rig)


def test_both_legs_from_before_are_found() -> None:
    toy = MarginToy(PERP, margining=HEDGED)
    toy.hold(PERP, "2", "80", PositionSide.LONG)
    toy.hold(PERP, "-1", "90", PositionSide.SHORT)
    rig = MarginRig(toy, margining=HEDGED)
    rig.add("BTC/USDT", position_side="long")
    rig.add("BTC/USDT", position_side="short")

    strategy = play(rig, lambda s: s.close(data=s.data1))

    assert [strategy.getposition(data).size for data in strategy.datas] == [2.0, 0.0]
    assert [strategy.getposition(data).price for data in strategy.datas] == [80.0, 0.0]
    agree(rig)


def test_funding_moves_the_wallet_and_is_told() -> None:
    rig = on_margin()
    toy = rig.toy

    def fund(_strategy: Script) -> Any:
        toy.soon(toy.book, BookingKind.FUNDING, "-0.25")
        return FOR_EVER

    def on_store(msg: str, *_: Any, **__: Any) -> None:
        if msg.startswith("FUNDING"):
            rig.cerebro.runstop()

    rig.cerebro.addstorecb(on_store)
    strategy = play(rig, lambda s: s.buy(size=1), fund)

    assert rig.broker.ledger()["USDT"] == Decimal(10_000) - Decimal("0.1") - Decimal("0.25")
    assert "FUNDING of BTC/USDT:USDT: -0.25 USDT" in strategy.store_texts
    agree(rig)


def test_costs_are_the_change_of_the_wallet() -> None:
    rig = on_margin()
    toy = rig.toy
    rig.cerebro.addanalyzer(Costs)

    def at(price: int, action: Any) -> Any:
        def step(strategy: Script) -> Any:
            toy.price = Decimal(price)
            return action(strategy)

        return step

    strategy = play(rig, at(100, lambda s: s.buy(size=3)), at(107, lambda s: s.sell(size=1)), lambda _: None)

    costs = strategy.analyzers[0].get_analysis()
    assert costs["fees"] == {"USDT": Decimal("-0.3") - Decimal("0.107")}
    assert costs["realised"] == {"USDT": Decimal(7)}
    moved = sum((sum(sums.values()) for sums in costs.values()), Decimal(0))
    assert rig.broker.ledger()["USDT"] - 10_000 == moved
    agree(rig)


def test_costs_want_a_broker_of_ours() -> None:
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.GenericCSVData(dataname=os.devnull))
    cerebro.addstrategy(bt.Strategy)
    cerebro.addanalyzer(Costs)

    with pytest.raises(ConfigError, match=r"^Costs counts what a venue has booked: set a broker of btx"):
        cerebro.run()


def test_a_liquidation_is_shown_as_an_order_that_closes_the_trade() -> None:
    rig = on_margin()
    toy = rig.toy

    def liquidate(_strategy: Script) -> Any:
        toy.price = Decimal(80)
        toy.soon(toy.take_over, PERP, Origin.LIQUIDATION)
        return FOR_EVER

    script = acts(rig, lambda s: s.buy(size=2), liquidate)
    on_order = script["on_order"]

    def look(strategy: Script) -> None:
        is_noted = any(text.startswith("LIQUIDATED") for text in texts)
        if is_noted and any(each.info.get("origin") for each in strategy.orders):
            strategy.env.runstop()

    def on_news(strategy: Script, order: Any) -> None:
        on_order(strategy, order)
        look(strategy)

    def on_store(text: str, *_: Any, **__: Any) -> None:
        texts.append(text)
        look(rig.cerebro.runningstrats[0])

    texts: list[str] = []
    rig.cerebro.addstorecb(on_store)
    strategy = rig.play(on_next=script["on_next"], on_order=on_news)

    told = strategy.orders[-1]
    assert (told.getstatusname(), told.executed.size, told.info.origin) == ("Completed", -2.0, "LIQUIDATION")
    assert told.info.reason == "LIQUIDATION: SELL 2 BTC/USDT:USDT at 80"
    assert strategy.trades[-1].isclosed
    assert strategy.trades[-1].pnl == pytest.approx(-40)
    assert strategy.position.size == 0.0
    agree(rig)


def test_the_same_symbol_owned_and_on_margin_is_kept_apart() -> None:
    spot, perp = Toy(), MarginToy(PERP, margining=FIVE_TIMES)
    stores = store_on(spot), margin_store(perp)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(broker(*stores))
    owned = stores[0].getdata("BTC/USDT", timeframe="1m", name="spot")
    held = stores[1].getdata("BTC/USDT", timeframe="1m", name="perp")
    cerebro.adddata(owned)
    cerebro.adddata(held)
    seen: dict[str, Any] = {}
    minutes = itertools.count(100)

    def close_both(_strategy: Any = None) -> None:
        minute = next(minutes)
        spot.close(minute)
        perp.close(minute)

    def on_status(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.LIVE and all(each.is_live for each in cerebro.datas):
            close_both()

    def on_next(strategy: Script) -> None:
        if len(strategy.datas[0]) == 1 and len(strategy.datas[1]) == 1 and not strategy.orders:
            strategy.buy(data=strategy.datas[0], size=1)
            strategy.sell(data=strategy.datas[1], size=1)

    def on_order(strategy: Script, order: Any) -> None:
        if [each.getstatusname() for each in strategy.orders].count("Completed") == 2:
            mine = strategy.broker
            seen["sizes"] = [strategy.getposition(data).size for data in strategy.datas]
            seen["cash"] = [mine.getcash(data) for data in strategy.datas]
            seen["ledgers"] = [dict(mine.ledger(store)) for store in stores]
            strategy.env.runstop()

    cerebro.adddatacb(on_status)
    cerebro.addstrategy(Script, on_next=on_next, on_prenext=on_next, on_order=on_order)
    run(cerebro)

    assert seen["sizes"] == [1.0, -1.0]
    assert seen["ledgers"][0]["BTC"] == 1
    assert seen["ledgers"][0]["USDT"] == 10_000 - 100 - Decimal("0.1")
    assert seen["ledgers"][1]["USDT"] == 10_000 - Decimal("0.1")
    assert seen["cash"] == [pytest.approx(9899.9), pytest.approx(9999.9 - 20)]
    assert [len(toy.orders) for toy in (spot, perp)] == [1, 1]


def test_a_stop_can_wait_for_the_mark_price() -> None:
    rig = on_margin()
    stop = {"exectype": bt.Order.Stop, "price": 99.5}

    def protect(strategy: Script) -> None:
        strategy.sell(size=1, trigger_by="mark", **stop)  # the last close may lie anywhere: the mark price is 100
        strategy.sell(size=1, trigger_by="index", **stop)
        strategy.sell(size=1, trigger_by="mark")

    strategy = play(rig, lambda s: s.buy(size=1), protect, lambda _: None)

    resting = list(rig.toy.orders.values())[-1].leg.request
    assert (resting.order_type, resting.trigger_by) == (OrderType.STOP_MARKET, TriggerBy.MARK)
    assert [order.info.reason for order in strategy.orders if order.getstatusname() == "Rejected"] == [
        "trigger_by='index': write 'last' or 'mark'",
        "trigger_by= is for orders that wait for a price: leave it out",
    ]


def test_the_price_of_a_liquidation_is_known_before_it_comes() -> None:
    rig, seen = on_margin(), []

    def look(strategy: Script) -> None:
        seen.append(strategy.broker.liquidation_price(strategy.data))

    play(rig, look, lambda s: s.buy(size=300), look)

    # Wallet 10,000 less a fee of 30; a tier of 0.4 %: 9,970 + 300 (p - 100) = 0.004 x 300 p.
    assert seen == [None, pytest.approx(Decimal(30_000 - 9_970) / (300 - Decimal("1.2")))]


def test_the_mark_price_stands_beside_the_bars_and_not_beside_those_of_the_past() -> None:
    rig = MarginRig(MarginToy(PERP, margining=FIVE_TIMES))
    for minute in (98, 99):
        rig.toy.write(bar(minute, symbol=PERP.symbol))
    rig.add("BTC/USDT", backfill=2)
    seen: list[tuple[bool, Any]] = []
    script = acts(rig, lambda _: None)
    on_next = script["on_next"]

    def look(strategy: Script) -> None:
        seen.append((strategy.data.is_live, strategy.data.market.mark()))
        on_next(strategy)

    rig.play(**script | {"on_next": look})

    assert [mark for is_live, mark in seen if not is_live] == [None, None]
    assert [mark.mark_price for is_live, mark in seen if is_live] == [Decimal(100)] * 2


def test_a_fee_that_is_told_late_is_booked_once() -> None:
    rig = on_margin()
    toy = rig.toy

    def tell_again(_strategy: Script) -> None:
        (order,) = toy.orders.values()
        toy.soon(toy.tell, attrs.evolve(order.fills[0], fee=Decimal("0.3"), fee_asset="USDT"))

    def without_fee(strategy: Script) -> Any:
        toy.fee_asset = None
        return strategy.buy(size=3)

    def on_order(_strategy: Script, _order: Any) -> None:
        toy.fee_asset = "USDT"

    script = acts(rig, without_fee, tell_again, lambda _: None, lambda _: None)
    heard = script["on_order"]
    rig.play(**script | {"on_order": lambda s, order: (on_order(s, order), heard(s, order))})

    assert rig.broker.booked() == {(BookingKind.FEE, "USDT"): Decimal("-0.3")}
    assert rig.broker.ledger()["USDT"] == Decimal("9999.7")


def test_a_liquidation_of_what_has_no_data_moves_the_wallet() -> None:
    other = attrs.evolve(PERP, symbol="ETH/USDT:USDT", venue_symbol="ETHUSDT", base="ETH")
    toy = MarginToy(PERP, other, margining=FIVE_TIMES)
    toy.hold(other, "2", "120")
    rig = MarginRig(toy)
    rig.add("BTC/USDT")

    def liquidate(_strategy: Script) -> None:
        toy.soon(toy.take_over, other, Origin.LIQUIDATION)

    strategy = play(rig, liquidate, lambda _: None, lambda _: None)

    assert strategy.orders == []
    assert rig.broker.ledger()["USDT"] == Decimal(10_000) - 40 - Decimal("0.2")
    agree(rig)

"""The broker: orders out, fills in, and backtrader's floats beside an exact ledger."""

import itertools
import re
from decimal import Decimal
from typing import Any

import attrs
import backtrader as bt
import pytest

from btx.bt.broker import broker as join
from btx.bt.orders import EXECTYPES, ORDER_TYPES, STATUSES
from btx.errors import BtxError, ConfigError
from btx.hookspecs import hookimpl
from btx.model.account import AccountUpdate, Balance
from btx.model.order import OrderRequest, OrderType, Part, Side, Status, TimeInForce, Veto
from btx.model.time import NS_PER_MINUTE, NS_PER_S
from tests.toy_venue import Fault
from tests.unit.bt.rig import (
    CROSS,
    ETH,
    FIVE,
    RECEIVED,
    ByHand,
    Rig,
    Script,
    Toy,
    acts,
    agree,
    fresh,
    open_market,
    play,
    run,
    store_on,
)
from tests.values import BTC

# --- a life of an order -------------------------------------------------------------------------------------


def test_a_market_order_is_submitted_accepted_and_completed_and_makes_a_trade() -> None:
    rig = fresh()

    strategy = play(rig, lambda s: s.buy(size=0.5), lambda s: s.close())

    assert strategy.words == ["Submitted", "Accepted", "Completed"] * 2
    bought = strategy.orders[2]
    assert (bought.executed.size, bought.executed.price) == (0.5, 100.0)
    assert bought.executed.comm == pytest.approx(0.05)
    assert bought.info.client_order_id in rig.toy.orders
    assert bought.info.venue_order_id == "1"
    assert [fill.quantity for fill in bought.info.fills] == [Decimal("0.5")]
    assert [trade.isclosed for trade in strategy.trades] == [False, True]
    assert strategy.trades[-1].pnlcomm == pytest.approx(-0.1)
    assert strategy.position.size == 0.0
    agree(rig, strategy)


def test_news_of_an_order_comes_with_its_arrival_and_not_with_the_next_bar() -> None:
    rig = fresh()
    rig.cerebro.datas[0]._loop.wakeup.be_patient(rig)

    strategy = play(rig, lambda s: s.buy(size=1))

    assert strategy.log.count(("next", ("BTC/USDT",))) == 2
    assert strategy.log[-1] == ("next", ("BTC/USDT",))
    assert strategy.log[-3:-1] == [("order", "Completed"), ("trade", "open")]


def test_a_limit_order_rests_fills_in_parts_and_each_fill_is_told_once() -> None:
    rig = fresh()
    toy = rig.toy

    def on_order(strategy: Script, order: Any) -> None:
        if order.status == order.Accepted:
            for quantity in ("0.1", "0.2", "0.3"):
                toy.soon(toy.execute, order.info.client_order_id, quantity)
        if order.status == order.Completed:
            strategy.env.runstop()

    script = acts(rig, lambda s: s.buy(size=0.1 + 0.2 + 0.3, price=90.004, exectype=bt.Order.Limit))
    strategy = rig.play(on_next=script["on_next"], on_order=on_order)

    assert strategy.words == ["Submitted", "Accepted", "Partial", "Partial", "Completed"]
    fills = [order.executed.getpending() for order in strategy.orders]
    assert [[bit.size for bit in bits] for bits in fills] == [[], [], [0.1], [0.2], [0.3]]
    (order,) = toy.orders.values()
    assert order.leg.request.price == Decimal("90.00")  # a buy goes down to the tick
    assert order.leg.quantity == Decimal("0.6")  # and not 0.6000000000000001
    assert strategy.orders[-1].executed.remsize == 0
    assert strategy.position.size == 0.6
    agree(rig, strategy)


def test_repeated_pushes_are_told_and_counted_once() -> None:
    rig = fresh()
    rig.toy.repeats = 3

    strategy = play(rig, lambda s: s.buy(size=1), lambda s: s.close())

    assert strategy.words == ["Submitted", "Accepted", "Completed"] * 2
    agree(rig, strategy)


def test_the_word_filled_does_not_complete_an_order_before_its_fills_have_come() -> None:
    rig = fresh()
    toy = rig.toy
    toy.rests_market_orders = True

    def fill_late(order: Any) -> None:
        resting = toy.orders[order.info.client_order_id]
        toy.is_muted = True
        toy.rests_market_orders = False
        toy.execute(order.info.client_order_id, 1)
        toy.tell(toy.report(resting))
        toy.tell(resting.fills[0])
        toy.tell(toy.balance_update())

    def on_order(strategy: Script, order: Any) -> None:
        if order.status == order.Accepted:
            toy.soon(fill_late, order)
        if order.status == order.Completed:
            assert order.executed.size == 1
            strategy.env.runstop()

    script = acts(rig, lambda s: s.buy(size=1))
    strategy = rig.play(on_next=script["on_next"], on_order=on_order)

    assert strategy.words == ["Submitted", "Accepted", "Completed"]
    agree(rig, strategy)


def test_a_cancel_ends_an_order_and_a_second_one_does_nothing() -> None:
    rig = fresh()
    orders: list[Any] = []

    def cancel(strategy: Script) -> Any:
        strategy.cancel(orders[0])
        strategy.cancel(orders[0])
        return orders[0]

    strategy = play(
        rig,
        lambda s: orders.append(s.buy(size=1, price=90, exectype=bt.Order.Limit)),
        cancel,
        lambda s: s.cancel(orders[0]),
    )

    assert strategy.words == ["Submitted", "Accepted", "Canceled"]
    assert rig.toy.count("cancel") == 1
    assert strategy.orders[0].brokerstatus() == bt.Order.Canceled


def test_a_fill_that_overtakes_the_cancel_ends_right() -> None:
    rig = fresh()
    toy = rig.toy
    orders: list[Any] = []

    def cancel(strategy: Script) -> Any:
        toy.soon(toy.execute, orders[0].info.client_order_id, 1)
        strategy.cancel(orders[0])
        return orders[0]

    strategy = play(rig, lambda s: orders.append(s.buy(size=1, price=90, exectype=bt.Order.Limit)), cancel)

    assert strategy.words == ["Submitted", "Accepted", "Completed"]
    assert strategy.position.size == 1.0
    agree(rig, strategy)


def test_a_fill_that_is_told_after_the_cancel_is_booked_all_the_same() -> None:
    rig = fresh()
    toy = rig.toy
    orders: list[Any] = []

    def fill_then_cancel() -> None:
        (resting,) = toy.orders.values()
        toy.is_muted = True
        toy.execute(resting.leg.client_order_id, "0.4")
        resting.status = Status.CANCELED
        toy.tell(attrs.evolve(toy.report(resting), filled=Decimal(0)))
        toy.tell(resting.fills[0], toy.balance_update())

    strategy = play(
        rig,
        lambda s: orders.append(s.buy(size=1, price=90, exectype=bt.Order.Limit)),
        lambda s: toy.soon(fill_then_cancel) or orders[0],
        lambda s: None,
    )

    assert strategy.words == ["Submitted", "Accepted", "Canceled", "Canceled"]
    assert strategy.orders[-1].executed.size == 0.4
    assert strategy.position.size == 0.4
    agree(rig, strategy)


def test_three_parts_and_a_cancel_leave_three_parts() -> None:
    rig = fresh()
    toy = rig.toy
    orders: list[Any] = []

    def part(strategy: Script) -> None:
        toy.soon(toy.execute, orders[0].info.client_order_id, "0.1")

    strategy = play(
        rig,
        lambda s: orders.append(s.buy(size=1, price=90, exectype=bt.Order.Limit)),
        part,
        part,
        part,
        lambda s: s.cancel(orders[0]) or orders[0],
    )

    assert strategy.words == ["Submitted", "Accepted", "Partial", "Partial", "Partial", "Canceled"]
    assert strategy.position.size == 0.3
    assert strategy.orders[-1].executed.comm == pytest.approx(0.027)
    agree(rig, strategy)


@pytest.mark.parametrize(
    ("fault", "word", "reason"),
    [
        (Fault.REFUSED, "Rejected", "refused"),
        (Fault.POOR, "Margin", "too expensive"),
        (Fault.NOT_SENT, "Rejected", "not reached"),
    ],
)
def test_a_refusal_of_the_venue_is_rejected_or_margin_with_its_reason(fault: Fault, word: str, reason: str) -> None:
    rig = fresh()
    rig.toy.faults["place"].append(fault)

    strategy = play(rig, lambda s: s.buy(size=1))

    assert strategy.words == ["Submitted", word]
    assert strategy.orders[-1].info.reason == reason
    assert strategy.position.size == 0.0


def test_a_lost_answer_is_settled_by_asking_and_the_order_completes() -> None:
    rig = fresh()
    rig.toy.faults["place"].append(Fault.LOST_ANSWER)

    strategy = play(rig, lambda s: s.buy(size=1))

    assert strategy.words == ["Submitted", "Accepted", "Completed"]
    assert rig.toy.count("place") == 1
    agree(rig, strategy)


def test_an_order_that_never_arrived_is_rejected_after_the_venue_was_asked() -> None:
    rig = fresh()
    rig.toy.faults["place"].append(Fault.LOST_REQUEST)

    strategy = play(rig, lambda s: s.buy(size=1))

    assert strategy.words == ["Submitted", "Rejected"]
    assert "never arrived" in strategy.orders[-1].info.reason
    assert any("no answer yet" in text for text in strategy.store_texts)


def test_a_cancel_the_venue_refuses_leaves_the_order_and_is_told() -> None:
    rig = fresh()
    orders: list[Any] = []
    rig.toy.faults["cancel"].append(Fault.REFUSED)

    def on_store(text: str, *_: Any, **__: Any) -> None:
        if "the cancel was refused" in text:
            rig.broker.cancel(orders[0])  # not before: one that is on its way is not asked for again

    rig.cerebro.addstorecb(on_store)
    strategy = play(
        rig,
        lambda s: orders.append(s.buy(size=1, price=90, exectype=bt.Order.Limit)),
        lambda s: s.cancel(orders[0]) or orders[0],
    )

    assert strategy.words == ["Submitted", "Accepted", "Canceled"]
    assert strategy.orders[-1].info.cancel_refused == "refused"
    assert any("the cancel was refused" in text for text in strategy.store_texts)


def test_what_a_strategy_passes_through_reaches_the_venue() -> None:
    rig = fresh()

    strategy = play(
        rig,
        lambda s: (
            s.buy(
                size=1,
                price=90,
                exectype=bt.Order.Limit,
                time_in_force="ioc",
                post_only=True,
                params={"icebergQty": "0.1"},
                tag="mine",
            )
            and None
        ),
    )

    request = next(iter(rig.toy.orders.values())).leg.request
    assert request.time_in_force is TimeInForce.IOC
    assert request.post_only
    assert request.params == {"icebergQty": "0.1"}
    assert request.signal_ns == 101 * NS_PER_MINUTE
    assert strategy.orders[0].info.tag == "mine"
    assert "params" not in strategy.orders[0].info


def test_an_expired_order_is_expired() -> None:
    rig = fresh()
    toy = rig.toy
    orders: list[Any] = []

    def expire() -> None:
        (resting,) = toy.orders.values()
        resting.status = Status.EXPIRED
        toy.tell(toy.report(resting))

    strategy = play(
        rig,
        lambda s: orders.append(s.buy(size=1, price=90, exectype=bt.Order.Limit, time_in_force=TimeInForce.IOC)),
        lambda s: toy.soon(expire) or orders[0],
    )

    assert strategy.words == ["Submitted", "Accepted", "Expired"]


def test_every_status_of_ours_has_a_word_of_backtraders() -> None:
    assert set(STATUSES) == set(Status)
    assert set(EXECTYPES) == set(OrderType) == {*ORDER_TYPES.values(), *EXECTYPES}
    assert {EXECTYPES[each] for each in OrderType} <= set(ORDER_TYPES)


# --- what is refused before anything is sent ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"size": 0.000001}, r"^BTC/USDT: 0.000001 is below the minimum quantity of 0.00001 BTC: order at"),
        ({"size": 0.01}, r"below the minimum of 5"),
        ({"size": 100_000}, r"above the maximum quantity"),
        ({"size": float("nan")}, r"no number"),
        (
            {"size": 1, "exectype": bt.Order.Stop, "price": 90},
            r"^exectype Stop is not taken here: use bt.Order.Market or bt.Order.Limit$",
        ),
        ({"size": 1, "exectype": bt.Order.StopTrail, "trailamount": 1.0}, "exectype StopTrail is not taken"),
        ({"size": 1, "exectype": bt.Order.Close}, "use bt.Order.Market or bt.Order.Limit"),
        ({"size": 1, "time_in_force": "FOK"}, "time_in_force='FOK' is not taken here: use DAY or GTC or IOC"),
        ({"size": 1, "post_only": True}, "post_only=True is for limit orders"),
        ({"size": 1, "postonly": True}, r"^postonly= is no argument of an order: write post_only=$"),
        ({"size": 1, "timeInForce": "IOC"}, r"^timeInForce= is no argument of an order: write time_in_force=$"),
        ({"size": 1, "exec_type": bt.Order.Limit}, r"^exec_type= is no argument of an order: write exectype=$"),
        ({"size": 1, "exectype": bt.Order.Limit, "price": -5}, "price"),
    ],
)
def test_a_bad_order_is_rejected_in_one_sentence_and_never_sent(asked: dict[str, Any], reason: str) -> None:
    rig = fresh()

    strategy = play(rig, lambda s: s.buy(**asked))

    assert strategy.words == ["Rejected"]
    assert re.search(reason, strategy.orders[0].info.reason)
    assert "\n" not in strategy.orders[0].info.reason
    assert rig.toy.count("place") == 0


def test_a_rejection_in_next_is_told_at_once_though_nothing_arrives() -> None:
    rig = fresh()
    rig.cerebro.datas[0]._loop.wakeup.be_patient(rig)
    open_market(rig)

    strategy = rig.play(on_next=lambda s: s.buy(size=0.000001), on_order=lambda s, order: s.env.runstop())

    assert strategy.words == ["Rejected"]


def test_a_bracket_is_rejected_leg_by_leg() -> None:
    rig = fresh()

    strategy = play(rig, lambda s: s.buy_bracket(size=1, price=90, stopprice=80, limitprice=120) and None)

    assert strategy.words == ["Rejected"] * 3
    assert rig.toy.count("place") == 0


def test_an_environment_without_orders_says_so_on_each() -> None:
    toy = Toy()
    store = store_on(toy, refusal="orders wait for the journal")
    rig = Rig(toy)
    rig.store, rig.cerebro = store, bt.Cerebro(stdstats=False)
    rig.broker = store.getbroker()
    rig.cerebro.setbroker(rig.broker)
    rig.add()

    strategy = play(rig, lambda s: s.buy(size=1))

    assert strategy.words == ["Rejected"]
    assert strategy.orders[0].info.reason == "orders wait for the journal"


def test_an_extension_can_veto() -> None:
    class NoBuying:
        @hookimpl
        def btx_check_order(self, request: OrderRequest) -> Veto | None:
            return Veto(reason="not on Fridays") if request.quantity > 1 else None

    rig = Rig(Toy(), NoBuying())
    rig.add()

    strategy = play(rig, lambda s: s.buy(size=2), lambda s: s.buy(size=1))

    assert strategy.words == ["Rejected", "Submitted", "Accepted", "Completed"]
    assert strategy.orders[0].info.reason.endswith("not on Fridays")


class Halves:
    """Makes two venue orders of each."""

    @hookimpl(tryfirst=True)
    def btx_plan(self, request: OrderRequest) -> tuple[Part, ...]:
        part = Part(quantity=request.quantity / 2)
        return (part, part)


def test_an_order_that_is_several_at_the_venue_completes_with_the_last_of_them() -> None:
    rig = Rig(Toy(), Halves())
    rig.add()

    strategy = play(rig, lambda s: s.buy(size=2))

    assert strategy.words == ["Submitted", "Accepted", "Partial", "Completed"]
    assert strategy.orders[-1].executed.size == 2
    assert len(strategy.orders[-1].info.legs) == 2


def test_an_order_that_is_several_at_the_venue_is_not_amended_and_is_cancelled_as_one() -> None:
    rig = Rig(Toy(), Halves())
    rig.add()
    orders: list[Any] = []

    def cancel(strategy: Script) -> Any:
        strategy.cancel(orders[0])
        return orders[0]

    strategy = play(
        rig,
        lambda s: orders.append(s.buy(size=2, price=90, exectype=bt.Order.Limit)),
        lambda s: s.broker.amend(orders[0], price=91) and None,
        cancel,
    )

    assert strategy.words == ["Submitted", "Accepted", "Canceled"]
    assert rig.toy.count("cancel") == 2
    assert "it is 2 orders at the venue" in orders[0].info.amend_refused


def test_no_order_before_the_first_bar_is_a_clear_error() -> None:
    rig = fresh()

    with pytest.raises(BtxError, match="no order before its first bar"):
        rig.play(on_start=lambda s: s.buy(size=1))

    assert not rig.store.session.is_running


def test_history_is_not_traded_and_that_is_told_once() -> None:
    toy = Toy()
    toy.write_history(range(90, 100))
    rig = Rig(toy)
    rig.add(backfill=3)

    def on_next(strategy: Script) -> None:
        strategy.buy(size=1)
        if strategy.data.is_live:
            strategy.env.runstop()

    rig.cerebro.adddatacb(lambda data, status, *_, **__: toy.close(100) if status == data.LIVE else None)
    strategy = rig.play(on_next=on_next)

    assert strategy.words == ["Rejected"] * 3
    assert all(order.info.reason.startswith("history:") for order in strategy.orders)
    assert len([text for text in strategy.store_texts if "history:" in text]) == 1
    assert toy.count("place") == 1  # the last one left


def test_an_old_bar_is_not_traded() -> None:
    rig = fresh()

    def late(strategy: Script) -> Any:
        rig.store.session.clock.offset_ns += 3 * NS_PER_MINUTE
        return strategy.buy(size=1)

    strategy = play(rig, late)

    assert strategy.words == ["Rejected"]
    assert strategy.orders[0].info.reason.startswith("stale: the last bar closed")
    assert "max_signal_age is 60 s" in strategy.orders[0].info.reason
    assert rig.toy.count("place") == 0


def test_how_old_a_bar_may_be_can_be_said() -> None:
    rig = Rig()
    rig.add(max_signal_age="10m")

    def late(strategy: Script) -> Any:
        rig.store.session.clock.offset_ns += 3 * NS_PER_MINUTE
        return strategy.buy(size=1)

    strategy = play(rig, late)

    assert strategy.words == ["Submitted", "Accepted", "Completed"]


# --- money and positions ------------------------------------------------------------------------------------


def test_a_fee_in_the_bought_coin_shrinks_the_position_and_close_sells_exactly_what_is_there() -> None:
    rig = fresh()
    rig.toy.fee_asset = RECEIVED
    sizes: list[float] = []

    def close(strategy: Script) -> Any:
        sizes.append(strategy.position.size)
        return strategy.close()

    strategy = play(rig, lambda s: s.buy(size=0.12345), close)

    assert sizes == [0.12332655]
    sold = list(rig.toy.orders.values())[1]
    assert sold.leg.quantity == Decimal("0.12332")
    assert strategy.position.size == 0.0
    assert rig.broker.getdust(strategy.data) == Decimal("0.00000655")
    assert [trade.isclosed for trade in strategy.trades] == [False, True]
    assert strategy.trades[-1].size == 0.0
    agree(rig, strategy)


def test_many_fractional_round_trips_end_flat_and_every_trade_closes() -> None:
    rig = fresh()
    rig.toy.fee_asset = RECEIVED
    rig.cerebro.addanalyzer(bt.analyzers.TradeAnalyzer, _name="trades")
    rig.cerebro.addanalyzer(bt.analyzers.Transactions, _name="transactions")
    sizes = itertools.cycle([0.1, 0.2, 0.3, 0.7, 0.123, 0.05007, 1.1])

    def buy(strategy: Script) -> Any:
        return strategy.buy(size=next(sizes))

    rounds = [step for _ in range(60) for step in (buy, buy, lambda s: s.close())]
    strategy = play(rig, *rounds)

    closed = strategy.analyzers.trades.get_analysis()
    assert closed.total.closed == 60
    assert closed.total.get("open", 0) == 0
    assert strategy.position.size == 0.0
    moved = [row for rows in strategy.analyzers.transactions.get_analysis().values() for row in rows]
    assert sum(abs(row[0]) > 0 for row in moved) >= 60
    agree(rig, strategy)


def test_a_fee_in_another_coin_is_shown_at_its_last_price_and_booked_in_that_coin() -> None:
    rig = fresh()
    rig.toy.fee_asset = "TOY"
    rig.toy.listed["TOY/USDT"] = attrs.evolve(BTC, symbol="TOY/USDT", venue_symbol="TOYUSDT", base="TOY")

    strategy = play(rig, lambda s: s.buy(size=1), lambda s: s.close())

    assert strategy.orders[2].executed.comm == pytest.approx(25.0)  # 0.25 TOY at the toy's 100
    assert rig.broker.ledger()["TOY"] == Decimal("4.5")
    assert strategy.position.size == 0.0
    agree(rig, strategy)


def test_a_fee_without_a_known_price_is_told_and_still_booked() -> None:
    rig = fresh()
    rig.toy.fee_asset = "ODD"

    strategy = play(rig, lambda s: s.buy(size=1))

    assert strategy.orders[2].executed.comm == 0.0
    assert any("has no known price" in text for text in strategy.store_texts)
    assert rig.broker.ledger()["ODD"] == Decimal("-0.25")


def test_a_fee_that_is_named_only_later_is_booked_once() -> None:
    rig = fresh()
    toy = rig.toy
    toy.is_muted = True  # told by hand: the fill without its fee first

    async def tell() -> None:
        await toy.until(lambda: bool(toy.orders))
        (order,) = toy.orders.values()
        (fill,) = order.fills
        toy.tell(attrs.evolve(fill, fee=None, fee_asset=None), fill, toy.report(order), toy.balance_update())

    def buy(strategy: Script) -> Any:
        toy.soon(lambda: toy.loop.create_task(tell()))
        return strategy.buy(size=1)

    strategy = play(rig, buy, lambda s: None)

    assert strategy.words == ["Submitted", "Accepted", "Completed"]
    assert rig.broker.ledger()["USDT"] == 10_000 - 100 - Decimal("0.1")
    agree(rig, strategy)


def test_what_is_held_at_the_start_is_a_position_at_once_and_a_trade_with_the_first_bar() -> None:
    toy = Toy()
    toy.balances["BTC"] = Decimal("0.5")
    rig = Rig(toy)
    rig.add()
    rig.cerebro.addanalyzer(bt.analyzers.TradeAnalyzer, _name="trades")
    at_start: list[float] = []

    script = acts(rig, lambda s: s.close())
    strategy = rig.play(on_start=lambda s: at_start.append(s.position.size), **script)

    assert at_start == [0.5]
    seed = strategy.orders[0]
    assert seed.info.seed
    assert (seed.getstatusname(), seed.executed.size, seed.executed.price) == ("Completed", 0.5, 105.0)
    assert [trade.isclosed for trade in strategy.trades] == [False, True]
    assert strategy.trades[-1].pnl == pytest.approx(-2.5)  # taken over at 105, sold at 100
    assert strategy.analyzers.trades.get_analysis().total.closed == 1
    assert rig.broker.startingcash == 10_000.0
    assert strategy.position.size == 0.0
    agree(rig, strategy)


def test_less_than_a_step_at_the_start_is_dust_and_no_position() -> None:
    toy = Toy()
    toy.balances["BTC"] = Decimal("0.000004")
    rig = Rig(toy)
    rig.add()

    strategy = play(rig, lambda s: None, lambda s: s.close())

    assert strategy.orders == []
    assert rig.broker.getdust(strategy.data) == Decimal("0.000004")
    agree(rig, strategy)


def test_all_datas_of_one_instrument_show_one_position_and_share_its_trades() -> None:
    toy = Toy()
    toy.write_history(range(90, 100, 5), interval=FIVE)
    rig = Rig(toy)
    minute = rig.add()
    five = rig.add(timeframe="5m", name="five", backfill=2)
    rig.cerebro.resampledata(minute, name="ten", timeframe=bt.TimeFrame.Minutes, compression=10)
    checked: list[bool] = []

    def buy(strategy: Script) -> Any:
        return strategy.buy(data=strategy.data0, size=0.3)

    def close(strategy: Script) -> Any:
        sizes = {strategy.getposition(data).size for data in strategy.datas}
        checked.append(sizes == {0.3})
        checked.append(rig.broker.getvalue([minute, five]) == rig.broker.getvalue([minute]) == pytest.approx(31.5))
        return strategy.close(data=strategy.datas[1])

    strategy = play(rig, buy, close)

    assert checked == [True, True]
    assert {id(position) for position in rig.broker.positions.values()} == {id(strategy.position)}
    assert [trade.isclosed for trade in strategy.trades] == [False, True]
    assert all(trade.data is minute for trade in strategy.trades)
    assert strategy.getpositionsbyname()["five"].size == 0.0


def test_value_is_that_of_the_datas_asked_for() -> None:
    rig = fresh()
    rig.add("ETH/USDT")
    values: list[float] = []

    def look(strategy: Script) -> None:
        btc, eth = strategy.datas
        values.extend(
            [rig.broker.getvalue([btc]), rig.broker.getvalue([eth]), rig.broker.getvalue(), rig.broker.get_value()]
        )

    play(rig, lambda s: s.buy(size=1), look)

    assert values == pytest.approx([105.0, 0.0, 10_004.9, 10_004.9])


def test_targets_and_sizers_work_in_fractions() -> None:
    rig = fresh()
    rig.cerebro.addsizer(bt.sizers.PercentSizer, percents=10)

    strategy = play(rig, lambda s: s.order_target_percent(target=0.5), lambda s: s.close(), lambda s: s.buy())

    sizes = [order.leg.quantity for order in rig.toy.orders.values()]
    assert sizes[0] == Decimal("47.61904")  # 5000 / 105, down to the step
    assert sizes[1] == sizes[0]
    assert float(sizes[2]) == pytest.approx(rig.broker.startingcash * 0.1 / 105, rel=0.05)
    agree(rig, strategy)


def test_a_transfer_from_outside_moves_cash_and_position_and_is_told() -> None:
    rig = fresh()
    toy = rig.toy

    def transfer() -> None:
        toy.now_ns += NS_PER_S
        toy.balances["BTC"] += 2
        toy.balances["USDT"] -= 1000
        toy.tell(toy.balance_update())

    strategy = play(
        rig, lambda s: s.buy(size=1), lambda s: toy.soon(transfer), lambda s: None, lambda s: s.close(), lambda s: None
    )

    assert len([text for text in strategy.store_texts if "adopted" in text]) == 2
    assert list(toy.orders.values())[-1].leg.quantity == 3
    assert [trade.isclosed for trade in strategy.trades] == [False, True]
    assert strategy.position.size == 0.0
    agree(rig, strategy)


def test_a_fill_that_is_told_after_a_total_with_it_is_not_counted_twice() -> None:
    rig = fresh()
    toy = rig.toy
    toy.rests_market_orders = True
    late: list[Any] = []
    sizes: list[float] = []

    def fill_unheard() -> None:
        (order,) = toy.orders.values()
        toy.is_muted, toy.rests_market_orders = True, False
        toy.now_ns += NS_PER_S
        toy.execute(order.leg.client_order_id, 1)
        toy.is_muted = False
        late.extend((*order.fills, toy.report(order)))
        toy.tell(toy.balance_update())  # as the account is read after a cut

    def enter(strategy: Script) -> None:
        strategy.buy(size=1)

    def tell(strategy: Script) -> None:
        sizes.append(strategy.position.size)
        toy.soon(toy.tell, *late)

    strategy = play(
        rig, enter, lambda s: toy.soon(fill_unheard), tell, lambda s: None, lambda s: s.close(), lambda s: None
    )

    assert sizes == [1.0]
    assert list(toy.orders.values())[-1].leg.quantity == 1
    assert [(trade.isclosed, trade.size) for trade in strategy.trades] == [(False, 1.0), (True, 0.0)]
    assert len([text for text in strategy.store_texts if "adopted" in text]) == 2  # coin and money, once each
    agree(rig, strategy)


def test_a_total_between_two_fills_of_one_moment_waits_for_the_next_however_far_the_market_jumps() -> None:
    """In lockstep the market is a minute on when the strategy hears of it; the total after the second is on its way."""
    rig = fresh()
    toy = rig.toy
    seen: list[Any] = []

    def fill_twice(order: Any) -> None:
        toy.execute(order.leg.client_order_id, 1)
        toy.execute(order.leg.client_order_id, 1)

    def enter(strategy: Script) -> None:
        toy.rests_market_orders = True
        strategy.buy(size=2)

    def between(strategy: Script) -> None:
        toy.rests_market_orders = False
        (order,) = toy.orders.values()
        toy.soon(fill_twice, order)

    def early(strategy: Script) -> None:
        book = next(iter(strategy.broker._accounts.values()))
        moved_ns = book._moved_ns["BTC"]
        book._told["BTC"] = (Decimal(1), moved_ns, rig.store.session.clock.wire_ns())
        seen.extend(book.differences(rig.store.session.clock.wire_ns()))
        late_ns = rig.store.session.clock.wire_ns() + 2 * NS_PER_S
        assert len(list(book.differences(late_ns))) == 1  # nothing came: it is the venue's word after all
        seen.append(strategy.position.size)

    strategy = play(rig, enter, between, early, lambda s: None)

    assert seen == [1.0]
    assert strategy.position.size in {1.0, 2.0}


def test_a_balance_that_is_older_than_a_counted_fill_changes_nothing() -> None:
    rig = fresh()
    toy = rig.toy
    old = AccountUpdate(balances={"BTC": Balance(free=Decimal(0), locked=Decimal(0))}, time_ns=0)

    strategy = play(rig, lambda s: s.buy(size=1), lambda s: toy.soon(toy.tell, old), lambda s: None)

    assert strategy.position.size == 1.0
    assert not [text for text in strategy.store_texts if "adopted" in text]


def test_coins_paid_with_leave_the_position_they_were_counted_in() -> None:
    toy = Toy(instruments=(BTC, ETH, CROSS))
    toy.balances["BTC"] = Decimal(2)
    rig = Rig(toy)
    rig.add()
    cross = rig.add("ETH/BTC")
    toy.price = Decimal("0.05")
    live: list[Any] = []

    def on_status(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.LIVE:
            live.append(data)
            if len(live) == 2:
                toy.close(100, symbol="ETH/BTC", close=Decimal("0.05"))
                toy.close(100)

    def on_next(strategy: Script) -> None:
        if len(cross) and len(strategy.data) and not strategy.getposition(cross).size and not toy.orders:
            strategy.buy(data=cross, size=10)

    def on_order(strategy: Script, order: Any) -> None:
        if order.data is cross and order.status == order.Completed:
            strategy.env.runstop()

    toy.fee_asset = "BTC"
    rig.cerebro.adddatacb(on_status)
    strategy = rig.play(on_next=on_next, on_order=on_order)

    assert strategy.getposition(cross).size == 10.0
    assert strategy.getposition(strategy.data).size == float(toy.balances["BTC"]) == 1.4995
    assert rig.broker.ledger()["BTC"] == toy.balances["BTC"]
    assert rig.broker.getvalue() == pytest.approx(10_000 + 1.4995 * 105 + 10 * 0.05 * 105)


def test_money_in_another_coin_is_counted_at_its_last_price() -> None:
    usdc = attrs.evolve(BTC, symbol="USDC/USDT", venue_symbol="USDCUSDT", base="USDC", step_size=Decimal("0.01"))
    paired = attrs.evolve(BTC, symbol="BTC/USDC", venue_symbol="BTCUSDC", quote="USDC")
    toy = Toy(instruments=(BTC, usdc, paired))
    toy.balances["USDC"] = Decimal(300)
    toy.write_history([99], symbol="USDC/USDT")
    toy.write_history([99], symbol="BTC/USDC")
    rig = Rig(toy)
    rig.add("BTC/USDC", backfill=1)
    rig.add("USDC/USDT", backfill=1)
    values: list[float] = []

    rig.play(on_next=lambda s: values.append(rig.broker.getvalue()) or s.env.runstop())

    assert values == [10_000 + 300 * 105.0]


def test_a_total_that_comes_between_two_fills_of_one_moment_changes_nothing() -> None:
    rig = fresh()
    toy = rig.toy
    toy.rests_market_orders = True
    late: list[Any] = []

    def fill_twice(order: Any) -> None:
        toy.is_muted, toy.rests_market_orders = True, False
        client_order_id = order.info.client_order_id
        toy.execute(client_order_id, "0.4")
        between = toy.balance_update()
        toy.execute(client_order_id, "0.6")
        late.append(toy.balance_update())
        toy.tell(*toy.orders[client_order_id].fills, toy.report(toy.orders[client_order_id]), between)

    def on_order(strategy: Script, order: Any) -> None:
        script["on_order"](strategy, order)
        if order.status == order.Accepted:
            toy.soon(fill_twice, order)

    script = acts(
        rig,
        lambda s: s.buy(size=1),
        lambda s: toy.soon(toy.tell, *late),
        lambda s: None,
    )
    strategy = rig.play(on_next=script["on_next"], on_order=on_order)

    assert not [text for text in strategy.store_texts if "adopted" in text]
    assert strategy.position.size == 1.0
    agree(rig, strategy)


def test_a_transfer_before_the_first_bar_is_part_of_what_was_held() -> None:
    toy = Toy()
    toy.balances["BTC"] = Decimal("0.5")
    rig = Rig(toy)
    rig.add()

    def on_status(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.LIVE:
            toy.soon(transfer)

    def transfer() -> None:
        toy.now_ns += NS_PER_S
        toy.balances["BTC"] += 1
        toy.tell(toy.balance_update())
        toy.close(100)

    rig.cerebro.adddatacb(on_status)
    strategy = rig.play(on_next=lambda s: s.env.runstop())

    assert strategy.position.size == 1.5
    assert rig.broker.ledger()["BTC"] == Decimal("1.5")


def test_an_order_sent_past_the_broker_shows_in_the_totals() -> None:
    rig = fresh()
    session = rig.store.session

    def past(strategy: Script) -> None:
        session.submit(
            OrderRequest(instrument=BTC, side=Side.BUY, order_type=OrderType.MARKET, quantity=Decimal(1), signal_ns=0)
        )

    strategy = play(rig, past, lambda s: None, lambda s: None, lambda s: None)

    assert strategy.orders == []
    assert strategy.position.size == 1.0
    agree(rig, strategy)


def test_an_instrument_paid_in_a_currency_nobody_can_price_is_an_error_at_the_start() -> None:
    rig = Rig(Toy(instruments=(BTC, CROSS)))
    rig.add("ETH/BTC")
    rig.cerebro.addstrategy(Script)

    with pytest.raises(
        ConfigError, match="ETH/BTC is paid in BTC, and cash is counted in USDT: add a data of BTC/USDT"
    ):
        rig.cerebro.run()

    assert not rig.store.session.is_running


# --- several accounts ----------------------------------------------------------------------------------------


def test_one_broker_routes_each_order_to_the_account_of_its_data() -> None:
    one, two = Toy(), Toy()
    two.balances["USDT"] = Decimal(500)
    stores = store_on(one), store_on(two)
    cerebro = bt.Cerebro(stdstats=False)
    broker = join(*stores)
    cerebro.setbroker(broker)
    for store, name in zip(stores, ("one", "two"), strict=True):
        cerebro.adddata(store.getdata(dataname="BTC/USDT", name=name))
    live: list[Any] = []
    start: list[float] = []

    def on_status(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.LIVE:
            live.append(data)
            if len(live) == 2:
                one.close(100)
                two.close(100)

    def on_next(strategy: Script) -> None:
        if all(len(data) for data in strategy.datas) and not start:
            start.extend([broker.getcash(), broker.getcash(strategy.data0), broker.getcash(data=strategy.data1)])
            strategy.buy(data=strategy.data1, size=2)

    def on_order(strategy: Script, order: Any) -> None:
        if order.status == order.Completed:
            strategy.env.runstop()

    cerebro.adddatacb(on_status)
    cerebro.addstrategy(Script, on_next=on_next, on_order=on_order)
    strategy = run(cerebro)

    assert start == [10_500.0, 10_000.0, 500.0]
    assert (len(one.orders), len(two.orders)) == (0, 1)
    assert [strategy.getposition(data).size for data in strategy.datas] == [0.0, 2.0]
    assert broker.ledger(stores[1])["BTC"] == 2
    assert not any(store.session.is_running for store in stores)


def test_a_broker_of_no_store_or_of_the_same_twice_is_refused() -> None:
    store = store_on(Toy())
    other = store_on(Toy(), currency="EUR")

    with pytest.raises(ConfigError, match="at least one store"):
        join()
    with pytest.raises(ConfigError, match="given twice"):
        join(store, store)
    with pytest.raises(ConfigError, match="load them all with currency='USDT'"):
        join(store, other)


def test_an_order_on_a_data_of_no_account_of_the_broker_is_a_clear_error() -> None:
    toy, stranger = Toy(), Toy()
    rig = Rig(toy)
    rig.add()
    rig.cerebro.adddata(store_on(stranger).getdata(dataname="ETH/USDT"))

    def on_status(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.LIVE and data is rig.cerebro.datas[1]:
            stranger.close(100, symbol="ETH/USDT")

    def on_next(strategy: Script) -> None:
        assert strategy.getposition(strategy.data1).size == 0
        strategy.buy(data=strategy.data1, size=1)

    rig.cerebro.adddatacb(on_status)
    with pytest.raises(ConfigError, match=r"'ETH/USDT' is of no account of this broker.*btx.broker"):
        rig.play(on_next=on_next)


# --- the end -------------------------------------------------------------------------------------------------


def resting(rig: Rig, at_end: list[dict[str, str]]) -> Script:
    """Hold 1, and end with a resting buy, and a resting sell of what is held."""
    orders: list[Any] = []
    strategy = play(
        rig,
        lambda s: s.buy(size=1),
        lambda s: orders.append(s.buy(size=1, price=90, exectype=bt.Order.Limit)),
        lambda s: orders.append(s.sell(size=1, price=120, exectype=bt.Order.Limit)),
        lambda s: None,
    )
    at_end.append({o.leg.request.side.value: o.status.value for o in list(rig.toy.orders.values())[1:]})
    return strategy


@pytest.mark.parametrize(
    ("on_stop", "left"),
    [
        ("keep_protection", {"BUY": "CANCELED", "SELL": "NEW"}),
        ("cancel", {"BUY": "CANCELED", "SELL": "CANCELED"}),
        ("keep", {"BUY": "NEW", "SELL": "NEW"}),
    ],
)
def test_at_the_end_entries_are_cancelled_and_exits_kept_unless_said_otherwise(
    on_stop: str, left: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    rig = fresh()
    rig.store.getbroker(on_stop=on_stop)
    at_end: list[dict[str, str]] = []

    resting(rig, at_end)

    assert at_end == [left]
    words = {"CANCELED": "cancelled", "NEW": "kept at the venue"}
    for side, price in (("BUY", 90), ("SELL", 120)):
        assert f"open at the end, {words[left[side]]}: {side} 1 BTC/USDT at {price}" in caplog.text


def test_a_cancel_at_the_end_without_an_answer_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("btx.bt.broker._WITHDRAW_S", 0.05)
    rig = fresh()
    rig.toy.faults["cancel"].append(Fault.SILENT)

    play(rig, lambda s: s.buy(size=1, price=90, exectype=bt.Order.Limit) and None, lambda s: None)

    assert "the cancel got no answer, look at the venue: BUY 1 BTC/USDT at 90" in caplog.text


def test_an_unknown_policy_for_the_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="choose one of 'keep_protection', 'cancel', 'keep'"):
        store_on(Toy()).getbroker(on_stop="panic")


def test_money_is_never_asked_of_the_network() -> None:
    rig = fresh()
    counts: list[int] = []

    def look(strategy: Script) -> None:
        before = len(rig.toy.calls)
        for _ in range(100):
            rig.broker.getcash()
            rig.broker.getvalue()
            strategy.getposition()
        counts.append(len(rig.toy.calls) - before)

    play(rig, look, look)

    assert counts == [0, 0]


class Watched(ByHand):
    """A session that counts how often time was looked at."""

    looks = 0

    def look(self) -> None:
        self.looks += 1
        super().look()


def test_time_is_looked_at_though_nothing_is_ordered() -> None:
    rig = fresh(session=Watched)
    play(rig, lambda _: None)

    assert rig.store.session.looks > 0

"""Whatever a strategy does in a backtest on bars: money is conserved, flat is flat, and every way of running is one."""

import random
from decimal import Decimal
from typing import Any

import backtrader as bt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from btx.bt.matching import Prices, Working, at_open, within
from btx.model.derivatives import FundingRate
from btx.model.order import OrderType
from btx.model.restrictions import NO_RESTRICTIONS, Restrictions
from btx.model.time import NS_PER_MINUTE
from btx.rules.account import Terms
from tests.backtests import START_NS, columns
from tests.unit.bt.bar_rig import PERP, SPOT, TIERS, Run, play

KINDS = (bt.Order.Market, bt.Order.Limit, bt.Order.Stop, bt.Order.StopLimit, bt.Order.StopTrail, bt.Order.Close)


def gamble(seed: int) -> Any:  # noqa: C901 -- the dice have many sides
    """Return what a strategy does at each bar, by dice: all kinds of orders, brackets, pairs, cancels, changes."""
    dice = random.Random(seed)
    alive: list[Any] = []

    def act(strategy: Any) -> None:
        price, deed = strategy.data.close[0], dice.random()
        if deed < 0.5:
            kind = dice.choice(KINDS)
            words: dict[str, Any] = {"size": dice.choice((0.5, 1, 2.345)), "exectype": kind}
            if kind not in {bt.Order.Market, bt.Order.Close}:
                words["price"] = price + dice.gauss(0, 0.7)
            if kind == bt.Order.StopLimit:
                words["plimit"] = price + dice.gauss(0, 0.7)
            if kind == bt.Order.StopTrail:
                words["trailamount"] = 0.8
            if alive and dice.random() < 0.3 and alive[-1].alive():
                words["oco"] = alive[-1]
            alive.append((strategy.buy if dice.random() < 0.6 else strategy.sell)(**words))
        elif deed < 0.7:
            make = strategy.buy_bracket if dice.random() < 0.7 else strategy.sell_bracket
            sign = 1 if make == strategy.buy_bracket else -1
            alive.extend(make(size=1, price=price, stopprice=price - sign, limitprice=price + sign))
        elif deed < 0.8:
            strategy.close()
        elif deed < 0.9 and alive:
            strategy.cancel(dice.choice(alive))
        elif alive:
            strategy.broker.amend(dice.choice(alive), price=price)

    return act


def gambled(
    seed: int,
    *,
    is_margined: bool,
    share: float | None = None,
    cash: str = "2000",
    leverage: int = 10,
    restricted: Restrictions = NO_RESTRICTIONS,
    **cerebro: Any,
) -> Run:
    symbol = PERP.symbol if is_margined else SPOT.symbol
    rates = [
        FundingRate(symbol=symbol, time_ns=START_NS + minute * NS_PER_MINUTE, rate=Decimal("0.0003"))
        for minute in range(7, 80, 11)
    ]
    return play(
        columns(seed, 80, symbol=symbol),
        dict.fromkeys(range(1, 80), gamble(seed)),
        terms=Terms(instrument=PERP, tiers=TIERS, leverage=leverage) if is_margined else Terms(instrument=SPOT),
        cash=cash,
        restricted=restricted,
        funding=rates,
        prepare=lambda broker: broker.set_volume_share(share),
        cerebro_words=cerebro,
    )


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from((None, 0.02)))
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_money_is_where_the_bookings_put_it_and_the_position_is_the_sum_of_the_fills(
    seed: int, is_margined: bool, share: float | None
) -> None:
    run = gambled(seed, is_margined=is_margined, share=share)

    broker = run.broker
    fills = {fill.fill_id: fill for told in run.told for fill in told[-1].get("fills", ())}.values()
    held = sum((fill.side.sign * fill.quantity for fill in fills), Decimal(0))
    if is_margined:
        assert broker.ledger()["USDT"] - 2000 == sum(broker.booked().values())
        assert run.strategy.position.size == float(held)
    else:
        fees = {asset: Decimal(0) for asset in ("BTC", "USDT")}
        for fill in fills:
            fees[fill.fee_asset] += fill.fee
        assert broker.ledger().get("BTC", Decimal(0)) == held - fees["BTC"] >= 0
        paid = sum((fill.side.sign * fill.quantity * fill.price for fill in fills), Decimal(0))
        assert broker.ledger()["USDT"] == 2000 - paid - fees["USDT"] >= 0
        assert 0 <= broker.ledger().get("BTC", Decimal(0)) - Decimal(repr(run.strategy.position.size)) < SPOT.step_size
    assert all(told[3] == 0 for told in run.told if told[2] in {"Rejected", "Margin"} and "fills" not in told[-1])


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
def test_bar_by_bar_and_vectorised_tell_the_same(seed: int, is_margined: bool) -> None:
    one = gambled(seed, is_margined=is_margined)
    other = gambled(seed, is_margined=is_margined, runonce=False)

    assert [told[:7] for told in one.told] == [told[:7] for told in other.told]
    assert one.broker.ledger() == other.broker.ledger()


@given(st.integers(0, 10**6), st.sampled_from(("5", "8", "30")))
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_the_quick_look_at_quiet_bars_changes_nothing(seed: int, cash: str) -> None:
    """With a limit far away every bar gets the full round: funding and liquidations come when they came."""
    quick = gambled(seed, is_margined=True, cash=cash, leverage=50)
    far = Restrictions(price_limit=Decimal("0.99"))
    whole = gambled(seed, is_margined=True, cash=cash, leverage=50, restricted=far)

    assert [told[:7] for told in quick.told] == [told[:7] for told in whole.told]
    assert quick.broker.booked() == whole.broker.booked()


PRICE = st.integers(80, 120).map(float)
LIMITED = {OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT}


@st.composite
def bars(draw: st.DrawFn) -> Prices:
    edges = sorted(draw(st.lists(PRICE, min_size=4, max_size=4)))
    opening, close = draw(st.permutations(edges[1:3]))
    return Prices(opening, edges[3], edges[0], close)


@st.composite
def orders(draw: st.DrawFn) -> Working:
    order_type = draw(st.sampled_from([each for each in OrderType if each is not OrderType.TRAILING_STOP]))
    return Working(
        order_type=order_type,
        is_buy=draw(st.booleans()),
        limit=draw(PRICE) if order_type in LIMITED else None,
        trigger=draw(PRICE) if order_type not in {OrderType.MARKET, OrderType.LIMIT} else None,
        is_new=draw(st.booleans()),
    )


@given(bars(), orders())
def test_a_fill_is_within_its_bar_and_never_better_than_it_could_have_been(bar: Prices, order: Working) -> None:
    limit = order.limit

    match = at_open(order, bar) or within(order, bar)

    if match is None:
        return
    assert bar.low <= match.price <= bar.high or match.price == limit
    if limit is not None:
        assert match.price <= limit if order.is_buy else match.price >= limit
        assert match.takes or match.price == limit
    if order.trigger is not None and match.takes and match.price != bar.open:
        assert match.price == order.trigger

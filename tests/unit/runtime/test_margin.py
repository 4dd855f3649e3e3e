"""A session on margin: every movement of money counted once, positions known, modes settled at start."""

import contextlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from btx.errors import ConfigError, RiskVetoError
from btx.model.account import BookingKind
from btx.model.derivatives import MarginMode, MarkPrice, PositionMode
from btx.model.fees import FeeSchedule
from btx.model.journal import AccountState, Booked, Record
from btx.model.order import Fill, Group, GroupKind, Leg, OrderType, Origin, PositionSide, Side, Status
from btx.model.venue import Channel
from btx.rules.reconcile import Sharing
from btx.rules.risk import Limits
from btx.rules.wallet import Key
from btx.runtime.facts import OpenJournal
from btx.runtime.latest import Latest
from btx.runtime.mailbox import BookingTold, MemberEnded, OrderUpdate
from btx.runtime.margining import Margining
from btx.storage.journal import open_journal, read_journal
from tests.perpetuals import BTCUSDT, LINEAR
from tests.toy_margin import ToyMargin, loaded_on_margin
from tests.toy_venue import ToyOrder
from tests.unit.runtime.rig import QUICK
from tests.unit.runtime.strategy import KEYS, Outside, Strategy, session_with
from tests.values import request

SYMBOL = LINEAR.symbol
TIMING = attrs.evolve(QUICK, grace_drift_s=0.01)


def strategy_of(toy: ToyMargin, **changes: Any) -> Strategy:
    settings: dict[str, Any] = {"venue": loaded_on_margin(toy), "market": "usdm", "timing": TIMING}
    return Strategy(session_with(toy, **(settings | changes)))


@contextlib.contextmanager
def started(toy: ToyMargin, **changes: Any) -> Iterator[Strategy]:
    strategy = strategy_of(toy, **changes)
    strategy.session.start()
    try:
        yield strategy
    finally:
        strategy.session.stop()


def at(path: Path) -> OpenJournal:
    @contextlib.contextmanager
    def opening(_key: str, on_fault: Any) -> Iterator[Any]:
        journal = open_journal(path, on_fault=on_fault)
        try:
            yield journal
        finally:
            journal.close()

    return opening


def written(path: Path) -> list[Record]:
    return [record for _, _, record in read_journal(path).records()]


def asks(**changes: Any) -> Any:
    return request(**({"instrument": LINEAR, "quantity": Decimal(2), "price": Decimal(100)} | changes))


def trade(strategy: Strategy, outside: Outside, toy: ToyMargin, quantity: int = 2, **changes: Any) -> str:
    """Have an order rest and fill whole."""
    order_id = strategy.session.submit(asks(quantity=Decimal(quantity), **changes))
    outside.wait(toy.until(lambda: order_id in toy.orders))
    outside.do(toy.execute, order_id, quantity)
    strategy.until(lambda: "FILLED" in strategy.statuses(order_id))
    return order_id


def by_kind(toy: ToyMargin) -> dict[tuple[BookingKind, str], Decimal]:
    """What the venue's own list adds up to."""
    sums: dict[tuple[BookingKind, str], Decimal] = {}
    for entry in toy.entries:
        sums[entry.kind, entry.asset] = sums.get((entry.kind, entry.asset), Decimal(0)) + entry.amount
    return {key: total for key, total in sums.items() if total}


def sums(strategy: Strategy) -> dict[tuple[BookingKind, str], Decimal]:
    return {key: total for key, total in strategy.session.sums().items() if total}


def held(strategy: Strategy, side: PositionSide = PositionSide.NET) -> Decimal:
    account = strategy.session.margin()
    assert account is not None
    position = account.positions.get(Key(SYMBOL, side))
    return position.quantity if position is not None else Decimal(0)


def wallet(strategy: Strategy) -> Decimal:
    account = strategy.session.margin()
    assert account is not None
    return account.wallet("USDT")


# --- money ------------------------------------------------------------------------------------------------


def test_fees_profits_and_funding_add_up_to_the_venues_own_ledger(outside: Outside) -> None:
    toy = ToyMargin()
    with started(toy) as strategy:
        trade(strategy, outside, toy)
        outside.do(lambda: toy.book(BookingKind.FUNDING, "-0.12345678", reason="FUNDING_FEE", symbol=SYMBOL))
        trade(strategy, outside, toy, 1, side=Side.SELL, price=Decimal(130))
        strategy.until(lambda: bool(strategy.of(BookingTold)))

        outside.do(lambda: toy.book(BookingKind.TRANSFER, 500, reason="DEPOSIT"))
        strategy.until(lambda: len(strategy.of(BookingTold)) == 2)

        assert sums(strategy) == by_kind(toy)
        assert wallet(strategy) == toy.balances["USDT"]
        assert held(strategy) == 1
        assert strategy.session.halted() is None
        assert [(each.booking.kind, each.recovered) for each in strategy.of(BookingTold)] == [
            (BookingKind.FUNDING, False),
            (BookingKind.TRANSFER, False),
        ]


def test_funding_that_is_listed_late_is_waited_for_and_is_no_drift(outside: Outside) -> None:
    toy = ToyMargin()
    with started(toy) as strategy:
        trade(strategy, outside, toy)
        toy.hidden = 1
        outside.do(lambda: toy.book(BookingKind.FUNDING, -3, reason="FUNDING_FEE", symbol=SYMBOL))
        asked = toy.count("account")
        outside.wait(toy.until(lambda: toy.count("account") > asked + 2))  # it was looked into, again and again
        toy.hidden = 0
        strategy.until(lambda: bool(strategy.of(BookingTold)))

        assert strategy.notes("HALT") == strategy.notes("DRIFT") == []
        assert sums(strategy) == by_kind(toy)


def test_a_transfer_nobody_pushed_is_found_by_the_audit(outside: Outside) -> None:
    toy = ToyMargin()
    with started(toy, timing=attrs.evolve(TIMING, audit_s=0.01)) as strategy:
        trade(strategy, outside, toy)
        outside.do(lambda: toy.book(BookingKind.TRANSFER, 7, reason=None))
        strategy.until(lambda: bool(strategy.of(BookingTold)))

        assert wallet(strategy) == toy.balances["USDT"]
        assert strategy.session.halted() is None


def test_a_fee_that_is_not_told_with_its_fill_is_asked_for(outside: Outside) -> None:
    toy = ToyMargin()
    with started(toy) as strategy:
        order_id = strategy.session.submit(asks())
        outside.wait(toy.until(lambda: order_id in toy.orders))
        outside.do(lambda: toy.execute(order_id, 2, told_fee=False))
        strategy.until(lambda: bool(sums(strategy)))

        assert sums(strategy) == by_kind(toy)


def test_a_wallet_that_nothing_has_explained_for_long_halts(outside: Outside) -> None:
    toy = ToyMargin()
    with started(toy, timing=attrs.evolve(TIMING, booked_s=0.02)) as strategy:
        trade(strategy, outside, toy)
        toy.balances["USDT"] -= 100
        outside.do(lambda: toy.tell(toy.update("ORDER")))
        strategy.until(lambda: strategy.session.halted() is not None)

        assert "balance USDT" in str(strategy.session.halted())


# --- positions ---------------------------------------------------------------------------------------------


def test_a_position_somebody_else_opened_halts_and_names_both_sides(outside: Outside) -> None:
    toy = ToyMargin()
    with started(toy) as strategy:
        trade(strategy, outside, toy)
        outside.do(toy.place_foreign, "hand", Leg(client_order_id="hand", request=asks(), quantity=Decimal(2)))
        outside.do(toy.execute, "hand", 2)
        strategy.until(lambda: strategy.session.halted() is not None)

        assert f"position {SYMBOL}: the venue has 4, the journal 2 (+2)" in str(strategy.session.halted())
        assert held(strategy) == 4


def test_on_a_shared_account_it_is_told_and_counted(outside: Outside) -> None:
    toy = ToyMargin()
    with started(toy, sharing=Sharing.SHARED) as strategy:
        trade(strategy, outside, toy)
        outside.do(toy.place_foreign, "hand", Leg(client_order_id="hand", request=asks(), quantity=Decimal(2)))
        outside.do(toy.execute, "hand", 2)
        strategy.until(lambda: any(f"position {SYMBOL}" in each for each in strategy.notes("DRIFT")))

        assert strategy.session.halted() is None
        assert held(strategy) == 4


def test_a_liquidation_is_told_as_what_it_is_booked_and_halts_nothing(outside: Outside) -> None:
    toy = ToyMargin()
    with started(toy) as strategy:
        trade(strategy, outside, toy)
        outside.do(toy.liquidate)
        strategy.until(lambda: bool(strategy.of(BookingTold)))

        (note,) = strategy.notes("LIQUIDATED")
        assert note == f"{SYMBOL}: the exchange made an order: SELL 2 at 50"
        made = [each.event for each in strategy.of(OrderUpdate) if isinstance(each.event, Fill)][-1]
        assert (made.origin, made.quantity, made.realised) == (Origin.LIQUIDATION, 2, -100)
        assert held(strategy) == 0
        assert sums(strategy) == by_kind(toy)
        assert strategy.notes("HALT") == strategy.notes("DRIFT") == strategy.notes("FOREIGN") == []


def test_two_liquidations_that_the_venue_gives_one_name_are_two_orders(outside: Outside) -> None:
    toy = ToyMargin()
    with started(toy, margining=Margining(position_mode=PositionMode.HEDGE)) as strategy:
        trade(strategy, outside, toy, 2, position_side=PositionSide.LONG)
        trade(strategy, outside, toy, 1, side=Side.SELL, position_side=PositionSide.SHORT)
        for side in (PositionSide.LONG, PositionSide.SHORT):
            outside.do(toy.liquidate, LINEAR.symbol, side)
        strategy.until(lambda: len(strategy.of(BookingTold)) == 2)

        assert [held(strategy, side) for side in (PositionSide.LONG, PositionSide.SHORT)] == [0, 0]
        assert len(strategy.notes("LIQUIDATED")) == 2
        assert sums(strategy) == by_kind(toy)
        assert strategy.notes("FAULT") == strategy.notes("HALT") == []


def test_a_liquidation_whose_push_was_lost_is_asked_for_and_taken_once(outside: Outside) -> None:
    toy = ToyMargin()
    with started(toy, timing=attrs.evolve(TIMING, audit_s=0.02)) as strategy:
        trade(strategy, outside, toy)
        toy.is_muted = True
        outside.do(toy.liquidate)
        strategy.until(lambda: bool(strategy.notes("LIQUIDATED")) and held(strategy) == 0)
        strategy.until(lambda: bool(strategy.of(BookingTold)))
        toy.is_muted = False
        late = next(order for order in toy.orders.values() if order.leg.client_order_id.startswith("autoclose"))
        outside.do(lambda: toy.tell(toy.report(late), *late.fills))
        trade(strategy, outside, toy, 1)

        assert held(strategy) == 1
        assert sums(strategy) == by_kind(toy)
        assert strategy.session.halted() is None


def bracket_of(
    strategy: Strategy, outside: Outside, toy: ToyMargin, quantity: int = 2
) -> tuple[Group, ToyOrder, ToyOrder]:
    """Have a bracket whose entry is filled; return it with its stop and its limit as they rest."""
    session = strategy.session
    exits = (
        asks(side=Side.SELL, price=Decimal(130), quantity=Decimal(quantity)),
        asks(
            side=Side.SELL,
            order_type=OrderType.STOP_MARKET,
            price=None,
            trigger_price=Decimal(80),
            quantity=Decimal(quantity),
        ),
    )
    group = session.submit_group(GroupKind.BRACKET, entry=asks(quantity=Decimal(quantity)), members=exits)
    assert group.entry is not None
    entry_id = group.entry.member_id
    outside.wait(toy.until(lambda: entry_id in toy.orders))
    outside.do(toy.execute, entry_id, quantity)
    outside.wait(toy.until(lambda: len(toy.orders) == 3))
    resting = [each for each in toy.orders.values() if each.leg.request.side is Side.SELL]
    limit, stop = sorted(resting, key=lambda each: each.leg.request.order_type is OrderType.STOP_MARKET)
    return group, stop, limit


def test_stop_and_limit_of_a_bracket_rest_side_by_side_and_one_that_fills_ends_the_other(outside: Outside) -> None:
    toy = ToyMargin()
    with started(toy) as strategy:
        group, stop, limit = bracket_of(strategy, outside, toy)
        outside.do(toy.execute, limit.leg.client_order_id, 2)
        strategy.until(lambda: len(strategy.of(MemberEnded)) == 3)

        assert stop.leg.request.reduce_only
        assert limit.leg.request.reduce_only
        assert stop.leg.pair_id == limit.leg.pair_id is not None
        assert stop.status is Status.CANCELED
        ended = {each.member_id: each.status for each in strategy.of(MemberEnded)}
        assert ended == dict(
            zip(
                [each.member_id for each in group.everyone],
                [Status.FILLED, Status.FILLED, Status.CANCELED],
                strict=True,
            )
        )
        assert held(strategy) == 0


def test_the_exits_of_a_position_the_exchange_has_closed_are_taken_back(outside: Outside) -> None:
    toy = ToyMargin()
    with started(toy) as strategy:
        _, stop, limit = bracket_of(strategy, outside, toy)
        outside.do(toy.liquidate)
        strategy.until(lambda: len(strategy.of(MemberEnded)) == 3)

        assert (stop.status, limit.status) == (Status.CANCELED, Status.CANCELED)
        assert strategy.notes("NAKED") == []


def test_in_hedge_mode_a_long_and_a_short_stand_side_by_side(outside: Outside) -> None:
    toy = ToyMargin()
    with started(toy, margining=Margining(position_mode=PositionMode.HEDGE)) as strategy:
        trade(strategy, outside, toy, 2, position_side=PositionSide.LONG)
        trade(strategy, outside, toy, 1, side=Side.SELL, position_side=PositionSide.SHORT)

        assert (held(strategy, PositionSide.LONG), held(strategy, PositionSide.SHORT)) == (2, -1)
        assert strategy.session.halted() is None


def test_positions_are_valued_at_the_mark_price_as_it_is_pushed(outside: Outside) -> None:
    toy = ToyMargin()
    strategy = strategy_of(toy)
    strategy.session.require(SYMBOL)
    strategy.session.start()
    slot: Latest[MarkPrice] = Latest()
    try:
        trade(strategy, outside, toy)
        strategy.session.open_market(LINEAR, Channel.MARK, slot)
        outside.do(toy.push_mark, 110)
        strategy.until(lambda: getattr(strategy.session.mark(SYMBOL), "mark_price", None) == 110)

        account = strategy.session.margin()
        assert account is not None
        assert account.unrealised("USDT") == 20
        assert account.equity("USDT") == toy.balances["USDT"] + 20
        assert strategy.session.tiers(SYMBOL) == BTCUSDT
    finally:
        strategy.session.stop()


def test_a_margin_call_is_told_once_while_the_position_is_open(outside: Outside) -> None:
    toy = ToyMargin()
    with started(toy) as strategy:
        trade(strategy, outside, toy)
        for _ in range(2):
            outside.do(toy.warn, Key(SYMBOL))
        trade(strategy, outside, toy, 1)

        (text,) = strategy.notes("MARGIN")
        assert "comes close to its liquidation, mark price 100: reduce it, or add margin" in text


# --- restarts -----------------------------------------------------------------------------------------------


def test_a_restart_counts_on_where_the_last_process_stopped(outside: Outside, tmp_path: Path) -> None:
    toy, path = ToyMargin(), tmp_path / "journal.sqlite"
    with started(toy, journal=at(path)) as strategy:
        trade(strategy, outside, toy)
        outside.do(lambda: toy.book(BookingKind.FUNDING, "-0.5", reason="FUNDING_FEE", symbol=SYMBOL))
        strategy.until(lambda: bool(strategy.of(BookingTold)))
        (told,) = strategy.of(BookingTold)
        strategy.session.booking_delivered(told.booking)
        outside.do(lambda: toy.book(BookingKind.FUNDING, "-0.25", reason="FUNDING_FEE", symbol=SYMBOL))
        strategy.until(lambda: len(strategy.of(BookingTold)) == 2)  # and is not confirmed
    toy.book(BookingKind.FUNDING, "-0.125", reason=None, symbol=SYMBOL)  # while nobody is there

    with started(toy, journal=at(path)) as strategy:
        strategy.until(lambda: len(strategy.of(BookingTold)) == 2)

        assert [(each.booking.amount, each.recovered) for each in strategy.of(BookingTold)] == [
            (Decimal("-0.25"), True),
            (Decimal("-0.125"), True),
        ]
        assert sums(strategy) == by_kind(toy)
        assert wallet(strategy) == toy.balances["USDT"]
        assert held(strategy) == 2
        assert strategy.session.halted() is None
    assert len([each for each in written(path) if isinstance(each, Booked)]) == 3


def test_a_position_that_was_there_before_the_first_order_is_counted_from_its_entry(
    outside: Outside, tmp_path: Path
) -> None:
    toy, path = ToyMargin(), tmp_path / "journal.sqlite"
    with started(toy) as strategy:
        trade(strategy, outside, toy)
    for quantity in (2, 1):
        with started(toy, journal=at(path)) as strategy:
            assert held(strategy) == quantity
            trade(strategy, outside, toy, 1, side=Side.SELL, price=Decimal(120))
            account = strategy.session.margin()
            assert account is not None
            assert strategy.session.halted() is None
            assert account.wallet("USDT") == toy.balances["USDT"]
    assert held(strategy) == 0


def test_the_account_is_written_down_at_start_at_funding_and_at_the_end(outside: Outside, tmp_path: Path) -> None:
    toy, path = ToyMargin(), tmp_path / "journal.sqlite"
    with started(toy, journal=at(path)) as strategy:
        trade(strategy, outside, toy)
        outside.do(lambda: toy.book(BookingKind.FUNDING, "-0.5", reason="FUNDING_FEE", symbol=SYMBOL))
        strategy.until(lambda: bool(strategy.of(BookingTold)))

    states = [each for each in written(path) if isinstance(each, AccountState)]
    assert [each.reason for each in states] == ["START", "FUNDING", "END"]
    assert states[0].wallet == {"USDT": Decimal(10_000)}
    assert states[-1].wallet == {"USDT": toy.balances["USDT"]}
    assert [(each.symbol, each.quantity) for each in states[-1].positions] == [(SYMBOL, 2)]


# --- at start ------------------------------------------------------------------------------------------------


def refusal(toy: ToyMargin, *legs: tuple[str, PositionSide], **margining: Any) -> str:
    strategy = strategy_of(toy, margining=Margining(**margining))
    for leg in legs:
        strategy.session.require(*leg)
    with pytest.raises(ConfigError) as raised:
        strategy.session.start()
    return str(raised.value)


def test_a_data_with_a_position_side_needs_an_account_in_hedge_mode() -> None:
    text = refusal(ToyMargin(), ("BTC/USDT", PositionSide.SHORT))

    assert text == (
        f"the account is in one-way mode, and {SYMBOL} is asked for with position_side='short': "
        "load the store with position_mode='hedge', or switch the account at Toy"
    )


def test_a_data_without_one_needs_an_account_in_one_way_mode() -> None:
    toy = ToyMargin()
    toy.position_mode = PositionMode.HEDGE

    assert refusal(toy, (SYMBOL, PositionSide.NET)) == (
        f"the account is in hedge mode, and {SYMBOL} is asked for without a position_side: "
        "load the store with position_mode='one_way', or switch the account at Toy"
    )


def test_datas_of_both_kinds_are_refused() -> None:
    text = refusal(ToyMargin(), (SYMBOL, PositionSide.NET), (SYMBOL, PositionSide.LONG))

    assert "one data has a position_side and another has none" in text


def test_a_mode_that_is_asked_for_and_datas_that_need_the_other_are_refused() -> None:
    text = refusal(ToyMargin(), (SYMBOL, PositionSide.NET), position_mode=PositionMode.HEDGE)

    assert text == f"position_mode='hedge' was asked for, and {SYMBOL} is asked for without a position_side"


def test_what_the_venue_does_not_allow_is_said_at_start_in_its_words() -> None:
    toy = ToyMargin()
    toy.refusals["set_leverage"] = "Leverage 200 is not valid"

    assert refusal(toy, (SYMBOL, PositionSide.NET), leverage=200) == (
        f"Toy does not set the leverage of {SYMBOL} to 200: Leverage 200 is not valid"
    )
    toy.refusals = {"set_position_mode": "there are open orders"}
    assert "Toy does not switch to position_mode='hedge': there are open orders" in refusal(
        toy, position_mode=PositionMode.HEDGE
    )


def test_a_leverage_of_a_symbol_that_is_not_listed_is_refused() -> None:
    assert refusal(ToyMargin(), (SYMBOL, PositionSide.NET), leverages={"BTCUSDT": 3}) == (
        "leverage= names 'BTCUSDT', which Toy does not list: did you mean 'BTC/USDT'?"
    )
    assert refusal(ToyMargin(), (SYMBOL, PositionSide.NET), leverages={"XYZ/EUR": 3}).endswith(
        "which Toy does not list: write it like {'BTC/USDT': 5}"
    )


def test_an_account_whose_assets_are_one_margin_is_refused() -> None:
    toy = ToyMargin()
    toy.is_multi_asset = True

    assert "switch it to single-asset mode at Toy" in refusal(toy)


def test_leverage_and_modes_are_set_at_start_for_what_is_traded() -> None:
    toy = ToyMargin()
    strategy = strategy_of(
        toy,
        margining=Margining(
            leverages={"BTC/USDT": 7}, margin_mode=MarginMode.ISOLATED, position_mode=PositionMode.HEDGE
        ),
    )
    strategy.session.require("BTC/USDT", PositionSide.LONG)

    strategy.session.start()
    strategy.until(lambda: bool(strategy.session.tiers(SYMBOL)))
    account = strategy.session.margin()
    strategy.session.stop()

    assert (toy.position_mode, toy.margin_mode, toy.leverage) == (
        PositionMode.HEDGE,
        {SYMBOL: MarginMode.ISOLATED},
        {SYMBOL: 7},
    )
    assert account is not None
    assert (account.terms[SYMBOL].leverage, account.terms[SYMBOL].margin_mode) == (7, MarginMode.ISOLATED)


def test_the_accounts_own_fees_are_read_at_start_and_told() -> None:
    toy = ToyMargin()
    toy.own_fees = FeeSchedule(maker=Decimal("0.0002"), taker=Decimal("0.0005"), tier="VIP 1", source="the account")
    strategy = strategy_of(toy)
    strategy.session.require("BTC/USDT")

    strategy.session.start()
    fees = strategy.session.fee_schedule(LINEAR)
    strategy.take()
    strategy.session.stop()

    assert fees is toy.own_fees
    assert strategy.notes("FEES") == [f"{SYMBOL}: maker 0.0200%, taker 0.0500%, tier VIP 1"]


# --- limits --------------------------------------------------------------------------------------------------


def test_an_order_the_account_has_no_margin_for_is_refused_before_it_leaves(outside: Outside) -> None:
    toy = ToyMargin()
    settings = attrs.evolve(KEYS, limits=Limits(position_share=None, order_share=None))
    strategy = strategy_of(toy, margining=Margining(leverage=1), settings=settings)
    strategy.session.require(SYMBOL)
    strategy.session.start()
    try:
        strategy.until(lambda: bool(strategy.session.tiers(SYMBOL)))
        with pytest.raises(RiskVetoError, match="insufficient margin") as raised:
            strategy.session.submit(asks(quantity=Decimal("99.99")))

        assert raised.value.lacks_funds
        assert toy.count("place") == 0
    finally:
        strategy.session.stop()


def test_what_closes_a_position_passes_where_trading_is_halted(outside: Outside) -> None:
    toy = ToyMargin()
    with started(toy) as strategy:
        trade(strategy, outside, toy)
        strategy.session.halt("looked at")

        trade(strategy, outside, toy, 1, side=Side.SELL)
        with pytest.raises(RiskVetoError, match="trading is halted"):
            strategy.session.submit(asks(side=Side.SELL))

        assert held(strategy) == 1

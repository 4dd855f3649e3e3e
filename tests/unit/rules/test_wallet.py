from decimal import Decimal

import attrs
import pytest

from btx.model.account import AccountUpdate, Balance, Booking, BookingKind, PositionReport
from btx.model.derivatives import FundingRate, MarginMode
from btx.model.order import PositionSide
from btx.rules import wallet
from btx.rules.wallet import Key, MarginAccount, Terms
from tests.perpetuals import COIN_TERMS, LINEAR, USDT_TERMS, account, tiers_of, traded
from tests.values import d

NET = Key(LINEAR.symbol)
LONG = Key(LINEAR.symbol, PositionSide.LONG)
SHORT = Key(LINEAR.symbol, PositionSide.SHORT)
ISOLATED = MarginMode.ISOLATED


def after(start: MarginAccount, terms: Terms, *fills: tuple[str | int, str | int]) -> MarginAccount:
    for quantity, price in fills:
        start = wallet.apply_fill(start, traded(terms, quantity, price)).account
    return start


# --- fills -----------------------------------------------------------------------------------------------


def test_opening_costs_the_fee_and_nothing_else() -> None:
    done = wallet.apply_fill(account(1_000, USDT_TERMS), traded(USDT_TERMS, "0.1", 50_000, fee=d(2), fee_asset="USDT"))

    assert (done.opened, done.closed, done.realised) == (d("0.1"), 0, 0)
    assert done.account.wallet("USDT") == done.account.equity("USDT") == 998
    assert done.account.booked(BookingKind.FEE, "USDT") == -2
    assert done.account.initial("USDT") == 500
    assert done.account.maintenance("USDT") == 20
    assert done.account.available("USDT") == 498
    assert done.account.available("USDT", reserved=d(500)) == 0


def test_a_mark_moves_equity_and_not_the_wallet() -> None:
    held = after(account(1_000, USDT_TERMS), USDT_TERMS, ("-0.1", 50_000))

    marked = wallet.apply_mark(held, LINEAR.symbol, d(51_000))

    assert (marked.wallet("USDT"), marked.unrealised("USDT"), marked.equity("USDT")) == (1_000, -100, 900)
    assert marked.initial("USDT") == 510
    assert wallet.apply_mark(marked, LINEAR.symbol, d(51_000)) is marked
    assert marked.bookings == {}


def test_a_fill_through_zero_closes_all_and_opens_the_rest_at_its_own_price() -> None:
    held = after(account(1_000, USDT_TERMS), USDT_TERMS, ("0.1", 50_000))

    done = wallet.apply_fill(held, traded(USDT_TERMS, "-0.3", 49_000))

    assert (done.opened, done.closed, done.realised) == (d("-0.2"), d("-0.1"), -100)
    position = done.account.position(LINEAR.symbol)
    assert position is not None
    assert (position.quantity, position.entry_price) == (d("-0.2"), 49_000)
    assert done.account.booked(BookingKind.REALISED, "USDT") == -100


def test_a_closed_position_is_gone_and_so_are_its_margins() -> None:
    done = after(account(1_000, USDT_TERMS), USDT_TERMS, ("0.1", 50_000), ("-0.1", 50_500))

    assert done.positions == {}
    assert (done.wallet("USDT"), done.initial("USDT"), done.maintenance("USDT")) == (1_050, 0, 0)
    assert done.margin_ratio("USDT") == 0


def test_what_the_venue_says_was_realised_is_booked_as_it_says() -> None:
    held = after(account(1_000, USDT_TERMS), USDT_TERMS, ("0.1", 50_000))

    done = wallet.apply_fill(held, traded(USDT_TERMS, "-0.1", 50_500, realised=d("49.99999999")))

    assert done.realised == d("49.99999999")
    assert done.account.wallet("USDT") == d("1049.99999999")


def test_a_fee_in_another_coin_is_taken_from_that_wallet() -> None:
    done = wallet.apply_fill(account(1_000, USDT_TERMS), traded(USDT_TERMS, 1, 100, fee=d("0.01"), fee_asset="BNB"))

    assert (done.account.wallet("USDT"), done.account.wallet("BNB")) == (1_000, d("-0.01"))


def test_what_cannot_be_booked_waits_for_the_rest_of_the_position() -> None:
    held = after(account(1, COIN_TERMS), COIN_TERMS, (300, 30_000))
    booked = []
    for _ in range(3):
        done = wallet.apply_fill(held, traded(COIN_TERMS, -100, 60_000))
        held = done.account
        booked.append(done.realised)

    assert booked == [d("0.16666666"), d("0.16666667"), d("0.16666667")]
    assert held.wallet("BTC") == d("1.5")


@pytest.mark.parametrize(
    ("told", "counted"),
    [("0.16666666", "0.16666667"), ("0.1", "0.16666666")],
    ids=["it counts as we do", "it counts otherwise"],
)
def test_what_waits_is_not_lost_with_a_fill_of_which_the_venue_says_what_was_realised(told: str, counted: str) -> None:
    held = after(account(1, COIN_TERMS), COIN_TERMS, (300, 30_000))

    held = wallet.apply_fill(held, traded(COIN_TERMS, -100, 60_000, realised=d(told))).account
    done = wallet.apply_fill(held, traded(COIN_TERMS, -100, 60_000))

    assert done.realised == d(counted)


def test_long_and_short_of_a_hedge_are_two_positions() -> None:
    held = account(10_000, USDT_TERMS)
    for quantity, side in ((1, PositionSide.LONG), (-1, PositionSide.SHORT)):
        held = wallet.apply_fill(held, traded(USDT_TERMS, quantity, 50_000, position_side=side)).account

    held = wallet.apply_mark(held, LINEAR.symbol, d(60_000))

    assert [position.key for position in held.of_symbol(LINEAR.symbol)] == [LONG, SHORT]
    assert held.equity("USDT") == 10_000
    assert held.position(LINEAR.symbol) is None
    assert wallet.liquidation_price(held, LONG) == wallet.liquidation_price(held, SHORT)


def test_a_fill_of_an_unknown_symbol_is_refused() -> None:
    with pytest.raises(KeyError):
        wallet.apply_fill(MarginAccount(), traded(USDT_TERMS, 1, 1))


# --- isolated positions ----------------------------------------------------------------------------------


def test_an_isolated_position_puts_its_initial_margin_aside_and_gives_its_share_back() -> None:
    held = after(account(2_000, USDT_TERMS, mode=ISOLATED), USDT_TERMS, ("0.2", 50_000))
    assert (held.wallet("USDT"), held.cross_wallet("USDT"), held.available("USDT")) == (2_000, 1_000, 1_000)

    half = after(held, USDT_TERMS, ("-0.1", 50_100))
    assert half.positions[NET].isolated_wallet == 500
    assert (half.wallet("USDT"), half.cross_wallet("USDT")) == (2_010, 1_510)

    assert after(half, USDT_TERMS, ("-0.1", 50_100)).cross_wallet("USDT") == 2_020
    turned = after(half, USDT_TERMS, ("-0.2", 50_000))
    assert turned.positions[NET].isolated_wallet == 500


def test_its_profit_is_no_margin_for_others() -> None:
    held = after(account(2_000, USDT_TERMS, mode=ISOLATED), USDT_TERMS, ("0.2", 50_000))

    marked = wallet.apply_mark(held, LINEAR.symbol, d(60_000))

    assert (marked.equity("USDT"), marked.available("USDT"), marked.unrealised("USDT")) == (4_000, 1_000, 2_000)
    assert marked.initial("USDT") == 1_200
    assert marked.maintenance("USDT") == 0


def test_margin_is_added_to_it_and_taken_back_as_far_as_there_is_any() -> None:
    held = after(account(2_000, USDT_TERMS, mode=ISOLATED), USDT_TERMS, ("0.2", 50_000))

    more = wallet.move_margin(held, NET, d(300))
    assert (more.positions[NET].isolated_wallet, more.cross_wallet("USDT")) == (1_300, 700)
    assert wallet.move_margin(more, NET, d(-300)).positions[NET].isolated_wallet == 1_000
    for amount in (701, -301):
        with pytest.raises(ValueError, match="cannot be moved, there is less to spare"):
            wallet.move_margin(more, NET, d(amount))
    with pytest.raises(ValueError, match="has no isolated position"):
        wallet.move_margin(more, LONG, d(1))
    with pytest.raises(ValueError, match="has no isolated position"):
        wallet.move_margin(after(account(2_000, USDT_TERMS), USDT_TERMS, ("0.2", 50_000)), NET, d(1))


def test_its_funding_is_taken_from_what_was_put_aside() -> None:
    held = after(account(2_000, USDT_TERMS, mode=ISOLATED), USDT_TERMS, ("0.2", 50_000))
    paid = Booking(
        booking_id="1", kind=BookingKind.FUNDING, asset="USDT", amount=d(-1), symbol=LINEAR.symbol, time_ns=0
    )

    funded = wallet.apply_booking(held, paid)

    assert (funded.positions[NET].isolated_wallet, funded.cross_wallet("USDT")) == (999, 1_000)
    assert funded.booked(BookingKind.FUNDING, "USDT") == -1


def test_other_bookings_move_the_wallet_only() -> None:
    held = after(account(2_000, USDT_TERMS, mode=ISOLATED), USDT_TERMS, ("0.2", 50_000))
    paid = Booking(booking_id="1", kind=BookingKind.TRANSFER, asset="USDT", amount=d(7), time_ns=0)

    for booking in (
        paid,
        attrs.evolve(paid, kind=BookingKind.FUNDING),
        attrs.evolve(paid, kind=BookingKind.FUNDING, symbol="ETH/USDT:USDT"),
    ):
        done = wallet.apply_booking(held, booking)
        assert (done.wallet("USDT"), done.cross_wallet("USDT")) == (2_007, 1_007)
    crossed = after(account(2_000, USDT_TERMS), USDT_TERMS, ("0.2", 50_000))
    funded = wallet.apply_booking(crossed, attrs.evolve(paid, kind=BookingKind.FUNDING, symbol=LINEAR.symbol))
    assert (funded.wallet("USDT"), funded.positions) == (2_007, crossed.positions)


def test_each_position_pays_its_own_funding() -> None:
    held = account(10_000, USDT_TERMS, mode=ISOLATED)
    for quantity, side in ((2, PositionSide.LONG), (-1, PositionSide.SHORT)):
        held = wallet.apply_fill(held, traded(USDT_TERMS, quantity, 100, position_side=side)).account
    rate = FundingRate(symbol=LINEAR.symbol, time_ns=0, rate=d("0.01"), mark_price=d(110))

    done = wallet.apply_funding(held, rate)

    assert done.payments == {LONG: d("-2.2"), SHORT: d("1.1")}
    assert done.account.wallet("USDT") == d("9998.9")
    assert done.account.positions[LONG].isolated_wallet == d("17.8")


def test_funding_without_a_mark_price_of_its_own_takes_the_accounts() -> None:
    held = after(account(10_000, USDT_TERMS), USDT_TERMS, (2, 100))

    done = wallet.apply_funding(held, FundingRate(symbol=LINEAR.symbol, time_ns=0, rate=d("0.01")))

    assert (done.payments, done.account.wallet("USDT")) == ({NET: -2}, 9_998)


# --- liquidation -----------------------------------------------------------------------------------------


def test_cross_positions_of_an_asset_are_liquidated_together() -> None:
    ether = attrs.evolve(USDT_TERMS, instrument=attrs.evolve(LINEAR, symbol="ETH/USDT:USDT"))
    held = account(1_000, USDT_TERMS, ether, COIN_TERMS)
    held = after(after(held, USDT_TERMS, ("0.1", 50_000)), ether, (-1, 2_000))
    held = wallet.apply_fill(held, traded(COIN_TERMS, 1, 50_000)).account
    price = wallet.liquidation_price(held, NET)
    assert price is not None

    assert wallet.liquidated(wallet.apply_mark(held, LINEAR.symbol, price + 1), LINEAR.symbol) == ()
    gone = wallet.apply_mark(held, LINEAR.symbol, price - 1)

    assert wallet.liquidated(gone, LINEAR.symbol) == (NET, Key("ETH/USDT:USDT"))
    assert wallet.liquidated(gone, "ETH/USDT:USDT") == (NET, Key("ETH/USDT:USDT"))
    assert gone.margin_ratio("USDT") > 1


def test_an_isolated_position_is_liquidated_by_itself() -> None:
    ether = attrs.evolve(USDT_TERMS, instrument=attrs.evolve(LINEAR, symbol="ETH/USDT:USDT"))
    held = account(100_000, USDT_TERMS, mode=ISOLATED)
    held = wallet.with_terms(held, ether)
    held = after(after(held, USDT_TERMS, ("0.1", 50_000)), ether, (1, 2_000))

    price = wallet.liquidation_price(held, NET)
    assert price is not None
    assert 45_000 < price < 45_300
    gone = wallet.apply_mark(held, LINEAR.symbol, d(45_000))

    assert wallet.liquidated(gone, LINEAR.symbol) == (NET,)
    assert wallet.liquidated(gone, "ETH/USDT:USDT") == ()


@pytest.mark.parametrize(("money", "gone"), [("2", (NET,)), ("2.00000001", ())])
def test_at_a_ratio_of_exactly_one_it_is_over(money: str, gone: tuple[Key, ...]) -> None:
    terms = attrs.evolve(USDT_TERMS, tiers=tiers_of((1_000, 50, 2)), leverage=50)

    for mode in MarginMode:
        held = after(account(money, terms, mode=mode), terms, (1, 100))
        if mode is ISOLATED and not gone:
            held = wallet.move_margin(held, NET, d("0.00000001"))
        assert wallet.liquidated(held, LINEAR.symbol) == gone


def test_without_tiers_nothing_is_liquidated() -> None:
    terms = attrs.evolve(USDT_TERMS, tiers=())
    held = wallet.apply_mark(after(account(10, terms), terms, (1, 50_000)), LINEAR.symbol, d(1))

    assert wallet.liquidated(held, LINEAR.symbol) == ()
    assert wallet.liquidation_price(held, NET) is None
    assert held.available("USDT") == 0


def test_a_liquidation_costs_no_more_than_what_stood_behind_it() -> None:
    aside = after(account(2_000, USDT_TERMS, mode=ISOLATED), USDT_TERMS, ("0.2", 50_000))
    crossed = after(account(2_000, USDT_TERMS), USDT_TERMS, ("0.2", 50_000))

    assert wallet.uncovered(aside, after(aside, USDT_TERMS, ("-0.2", 44_000)), NET) == 200
    assert wallet.uncovered(aside, after(aside, USDT_TERMS, ("-0.2", 46_000)), NET) == 0
    assert wallet.uncovered(crossed, after(crossed, USDT_TERMS, ("-0.2", 39_000)), NET) == 200


# --- terms and what the venue states ---------------------------------------------------------------------


def test_another_leverage_counts_for_what_is_open_too() -> None:
    held = after(account(1_000, USDT_TERMS), USDT_TERMS, ("0.1", 50_000))

    held = wallet.with_terms(held, attrs.evolve(USDT_TERMS, leverage=20))

    assert held.initial("USDT") == 250
    with pytest.raises(ValueError, match="has an open position"):
        wallet.with_terms(held, attrs.evolve(USDT_TERMS, margin_mode=ISOLATED))


def test_a_position_is_reported_as_a_venue_would() -> None:
    held = after(account(2_000, USDT_TERMS, mode=ISOLATED), USDT_TERMS, ("0.2", 50_000))
    position = wallet.apply_mark(held, LINEAR.symbol, d(50_500)).positions[NET]

    assert position.report(time_ns=7, liquidation_price=d(45_000)) == PositionReport(
        symbol=LINEAR.symbol,
        quantity=d("0.2"),
        entry_price=d(50_000),
        mark_price=d(50_500),
        unrealised=d(100),
        liquidation_price=d(45_000),
        leverage=10,
        margin_mode=ISOLATED,
        isolated_margin=d(1_000),
        time_ns=7,
    )
    crossed = after(account(2_000, USDT_TERMS), USDT_TERMS, ("0.2", 50_000)).positions[NET]
    assert crossed.report(time_ns=7).isolated_margin is None


def stated(**changes: object) -> AccountUpdate:
    report = PositionReport(symbol=LINEAR.symbol, quantity=d("0.2"), time_ns=0)
    return AccountUpdate(
        balances={"USDT": Balance(free=d(500), locked=d(0))}, positions=(attrs.evolve(report, **changes),), time_ns=0
    )


def test_an_account_follows_what_the_venue_states() -> None:
    told = {"entry_price": d(50_000), "mark_price": d(51_000), "leverage": 20, "margin_mode": ISOLATED}

    seen = wallet.apply_update(account(1, USDT_TERMS), stated(**told, isolated_margin=d(400)))

    position = seen.positions[NET]
    assert (position.quantity, position.entry_price, position.unrealised) == (d("0.2"), 50_000, 200)
    assert (position.leverage, position.margin_mode, position.isolated_wallet) == (20, ISOLATED, 400)
    assert (seen.wallet("USDT"), seen.cross_wallet("USDT"), seen.equity("USDT")) == (500, 100, 700)

    seen = wallet.apply_update(seen, stated())
    assert seen.positions[NET] == position
    assert wallet.apply_update(seen, stated(quantity=d(0))).positions == {}


def test_what_the_venue_does_not_tell_of_a_position_stays() -> None:
    held = after(account(1, USDT_TERMS), USDT_TERMS, ("0.3", 50_000))

    smaller = wallet.apply_update(held, stated())
    assert (smaller.positions[NET].quantity, smaller.positions[NET].entry_price) == (d("0.2"), 50_000)
    same = wallet.apply_update(held, stated(quantity=d("0.3"), entry_price=d(50_000)))
    assert same.positions[NET].book == held.positions[NET].book

    fresh = wallet.apply_mark(account(1, USDT_TERMS), LINEAR.symbol, d(52_000))
    assert wallet.apply_update(fresh, stated()).positions[NET].entry_price == 52_000


def test_positions_of_unknown_symbols_or_prices_are_left_out() -> None:
    assert wallet.apply_update(MarginAccount(), stated(entry_price=d(1))).positions == {}
    assert wallet.apply_update(account(1, USDT_TERMS), stated()).positions == {}


def test_fifty_positions_and_one_mark_change_one_position() -> None:
    listed = [
        attrs.evolve(USDT_TERMS, instrument=attrs.evolve(LINEAR, symbol=f"C{number}/USDT:USDT")) for number in range(50)
    ]
    held = account(10**6, *listed)
    for terms in listed:
        held = after(held, terms, (1, 100))

    marked = wallet.apply_mark(held, "C7/USDT:USDT", d(110))

    changed = [key.symbol for key in held.positions if held.positions[key] is not marked.positions[key]]
    assert changed == ["C7/USDT:USDT"]
    assert marked.unrealised("USDT") == Decimal(10)
    assert marked.maintenance("USDT") == sum(each.maintenance for each in marked.positions.values())


# --- the fee of closing ----------------------------------------------------------------------------------

CHARGED = attrs.evolve(USDT_TERMS, closing_fee=d("0.0005"))


def test_where_the_venue_keeps_the_fee_of_closing_margins_hold_it() -> None:
    plain = after(account(1_000, USDT_TERMS), USDT_TERMS, ("0.1", 50_000))
    charged = after(account(1_000, CHARGED), CHARGED, ("0.1", 50_000))

    fee = 5_000 * d("0.0005") * (1 - 1 / d(CHARGED.leverage))
    assert charged.initial("USDT") - plain.initial("USDT") == fee
    assert charged.maintenance("USDT") - plain.maintenance("USDT") == fee
    assert wallet.liquidation_price(charged, NET) != wallet.liquidation_price(plain, NET)
    at = wallet.apply_mark(charged, LINEAR.symbol, wallet.liquidation_price(charged, NET) or d(1))
    assert abs(at.margin_ratio("USDT") - 1) < d("1e-9")


def test_an_isolated_position_puts_that_fee_aside() -> None:
    held = after(account(10_000, CHARGED, mode=ISOLATED), CHARGED, ("-0.1", 50_000))

    position = held.position(LINEAR.symbol)
    assert position is not None
    assert position.isolated_wallet == position.initial
    assert wallet.liquidation_price(held, NET) is not None

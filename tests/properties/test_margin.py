"""Accounts on margin: money is conserved, order does not matter, and liquidation is where it is said to be."""

import decimal
import random
from decimal import Decimal

import attrs
from hypothesis import example, given
from hypothesis import strategies as st

from btx.model.account import Booking, BookingKind
from btx.model.derivatives import FundingRate, LeverageTier, MarginMode
from btx.model.fees import FeeSchedule
from btx.model.order import Liquidity, PositionSide, Side
from btx.rules import margin, wallet
from btx.rules.contracts import value
from btx.rules.fees import fee_of
from btx.rules.funding import funding_payment
from btx.rules.money import EXACT, MONEY_GRID
from btx.rules.positions import Position, apply_fill
from btx.rules.wallet import Key, MarginAccount, Terms
from tests.perpetuals import BTCUSD, BTCUSDT, COIN_TERMS, INVERSE, USDT_TERMS, account, tiers_of, traded

TERMS = st.sampled_from([USDT_TERMS, COIN_TERMS])
MODES = st.sampled_from(list(MarginMode))
STEPS = st.integers(1, 5_000)
TICKS = st.integers(300_000, 1_200_000)  # of 0.1: 30,000 to 120,000
SKY = Decimal(10**9)
RATES = st.integers(-300, 300).map(lambda points: Decimal(points).scaleb(-6))
TINY = Decimal("1e-13")  # what twenty decimals of a coin leave of a small position
MAKER_FEE, TAKER_FEE = Decimal("-0.00005"), Decimal("0.0005")


def price_of(ticks: int) -> Decimal:
    return Decimal(ticks).scaleb(-1)


def quantity_of(terms: Terms, steps: int) -> Decimal:
    return steps * terms.instrument.step_size


def asset_of(terms: Terms) -> str:
    return terms.instrument.settle


# --- money -----------------------------------------------------------------------------------------------

trades = st.tuples(st.just("trade"), st.integers(0, 2), st.integers(0, 2), STEPS, TICKS)
fundings = st.tuples(st.just("funding"), st.just(0), st.just(0), RATES, TICKS)


@given(terms=TERMS, mode=MODES, events=st.lists(st.one_of(trades, fundings), min_size=1, max_size=25))
def test_no_sequence_of_fills_and_fundings_makes_or_loses_money(
    terms: Terms, mode: MarginMode, events: list[tuple[str, int, int, int | Decimal, int]]
) -> None:
    """Three accounts trade with each other; what they own and what the house took is what they brought.

    The house takes the fees and what rounding leaves, which is less than one last decimal for each booking.
    """
    instrument, asset = terms.instrument, asset_of(terms)
    accounts = [account(1_000_000, terms, mode=mode) for _ in range(3)]
    fees, bookings, mark = Decimal(0), 0, price_of(500_000)
    with decimal.localcontext(EXACT):
        for kind, buyer, seller, amount, ticks in events:
            price = mark = price_of(ticks)
            if kind == "funding":
                rate = FundingRate(symbol=instrument.symbol, time_ns=0, rate=Decimal(amount), mark_price=price)
                bookings += sum(bool(each.positions) for each in accounts)
                accounts = [wallet.apply_funding(each, rate).account for each in accounts]
                continue
            quantity = quantity_of(terms, int(amount))
            for number, signed, rate_of in ((buyer, quantity, MAKER_FEE), (seller, -quantity, TAKER_FEE)):
                fee = (abs(value(instrument, signed, price)) * rate_of).quantize(MONEY_GRID)
                fees, bookings = fees + fee, bookings + 1
                fill = traded(terms, signed, price, fee=fee, fee_asset=asset)
                accounts[number] = wallet.apply_fill(accounts[number], fill).account
        accounts = [wallet.apply_mark(each, instrument.symbol, mark) for each in accounts]
        residues = sum((each.residue for one in accounts for each in one.positions.values()), Decimal(0))

        owned = sum((each.equity(asset) for each in accounts), Decimal(0)) + fees + residues

        assert abs(owned - 3_000_000) <= bookings * MONEY_GRID
        for each in accounts:
            told = sum((each.booked(kind, asset) for kind in BookingKind), Decimal(0))
            assert each.wallet(asset) == 1_000_000 + told
            assert each.cross_wallet(asset) == each.wallet(asset) - sum(
                (one.isolated_wallet for one in each.positions.values()), Decimal(0)
            )


@given(terms=TERMS, steps=STEPS, ticks=TICKS, rate=RATES)
def test_shorts_receive_to_the_last_decimal_what_longs_of_the_same_size_pay(
    terms: Terms, steps: int, ticks: int, rate: Decimal
) -> None:
    quantity, price = quantity_of(terms, steps), price_of(ticks)

    paid = funding_payment(terms.instrument, quantity, price, rate)

    assert paid == -funding_payment(terms.instrument, -quantity, price, rate)
    assert paid * rate <= 0
    assert paid == paid.quantize(MONEY_GRID)


@given(
    terms=TERMS,
    mode=MODES,
    moves=st.lists(st.tuples(STEPS, TICKS, st.sampled_from(list(Side))), min_size=1, max_size=15),
    end=TICKS,
)
def test_a_position_that_is_closed_has_realised_what_was_received_less_what_was_paid(
    terms: Terms, mode: MarginMode, moves: list[tuple[int, int, Side]], end: int
) -> None:
    instrument, asset = terms.instrument, asset_of(terms)
    held, flows, position = account(1_000_000, terms, mode=mode), Decimal(0), Position.of(instrument)
    fills = [(side.sign * quantity_of(terms, steps), price_of(ticks)) for steps, ticks, side in moves]
    rest = -sum((quantity for quantity, _ in fills), Decimal(0))
    exact = Decimal(0)
    with decimal.localcontext(EXACT):
        for quantity, price in [*fills, *([(rest, price_of(end))] if rest else [])]:
            worth = value(instrument, quantity, price)
            flows += worth if instrument is INVERSE else -worth
            held = wallet.apply_fill(held, traded(terms, quantity, price)).account
            booked = apply_fill(position, signed_quantity=quantity, price=price)
            position, exact = booked.position, exact + booked.realised

        assert (position.quantity, position.cost, position.price) == (0, 0, 0)
        assert exact == flows
        assert held.positions == {}
        # What an account books is cut at each time it is flat, and at no other time.
        flats = len(fills) + 1
        assert abs(held.booked(BookingKind.REALISED, asset) - flows) < flats * MONEY_GRID
        assert held.cross_wallet(asset) == held.wallet(asset)


@given(terms=TERMS, steps=STEPS, ticks=st.lists(TICKS, min_size=1, max_size=8))
def test_the_average_entry_lies_between_the_entries_and_is_worth_the_cost(
    terms: Terms, steps: int, ticks: list[int]
) -> None:
    position = Position.of(terms.instrument)
    for each in ticks:
        position = apply_fill(position, signed_quantity=quantity_of(terms, steps), price=price_of(each)).position

    low, high = price_of(min(ticks)), price_of(max(ticks))
    assert low * (1 - TINY) <= position.price <= high * (1 + TINY)
    assert abs(position.worth(position.price) / position.cost - 1) < TINY


@given(
    worth=st.integers(1, 10**12),
    rate=st.sampled_from([MAKER_FEE, TAKER_FEE]),
    side=st.sampled_from(list(Side)),
    digits=st.sampled_from([3, 28]),
)
def test_a_fee_is_cut_towards_nothing_whatever_digits_the_caller_counts_with(
    worth: int, rate: Decimal, side: Side, digits: int
) -> None:

    schedule = FeeSchedule(maker=rate, taker=rate, source="a test")
    quantity = Decimal(worth).scaleb(-3)
    with decimal.localcontext() as context:
        context.prec = digits
        charge = fee_of(
            USDT_TERMS.instrument,
            schedule,
            side=side,
            price=Decimal("31234.5"),
            quantity=quantity,
            liquidity=Liquidity.MAKER,
        )

    with decimal.localcontext(EXACT):
        exact = quantity * Decimal("31234.5") * rate
        assert abs(charge.amount) <= abs(exact) < abs(charge.amount) + MONEY_GRID


@given(
    terms=TERMS,
    mode=MODES,
    moves=st.lists(st.tuples(STEPS, TICKS, st.sampled_from(list(Side))), min_size=1, max_size=6),
    digits=st.sampled_from([1, 5]),
)
@example(  # what waits to be realised is almost the eighth decimal
    terms=COIN_TERMS, mode=MarginMode.CROSS, moves=[(1, 846_967, Side.BUY), (2, 300_000, Side.SELL)], digits=1
)
def test_how_many_digits_the_caller_computes_with_does_not_matter(
    terms: Terms, mode: MarginMode, moves: list[tuple[int, int, Side]], digits: int
) -> None:
    fills = [traded(terms, side.sign * quantity_of(terms, steps), price_of(ticks)) for steps, ticks, side in moves]
    key, rate = Key(terms.instrument.symbol), FundingRate(symbol=fills[0].symbol, time_ns=0, rate=Decimal("0.0001"))

    def booked() -> tuple[object, ...]:
        held = account(1_000, terms, mode=mode)
        for each in fills:
            held = wallet.apply_fill(held, each).account
        held = wallet.apply_funding(wallet.apply_mark(held, key.symbol, Decimal("61234.5")), rate).account
        asset = asset_of(terms)
        liquidation = wallet.liquidation_price(held, key) if key in held.positions else None
        return held, held.equity(asset), held.available(asset), held.margin_ratio(asset), liquidation

    exact = booked()
    with decimal.localcontext() as context:
        context.prec = digits
        rough = booked()

    assert rough == exact


# --- order of updates ------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10**6),
    mode=MODES,
    held=st.lists(st.tuples(STEPS, TICKS, TICKS, st.sampled_from([1, -1])), min_size=1, max_size=8),
)
def test_sums_do_not_depend_on_the_order_in_which_marks_arrive(
    seed: int, mode: MarginMode, held: list[tuple[int, int, int, int]]
) -> None:
    listed = [
        attrs.evolve(COIN_TERMS, instrument=attrs.evolve(INVERSE, symbol=f"C{number}")) for number in range(len(held))
    ]
    start = account(1_000, *listed, mode=mode)
    for terms, (steps, entry, _, sign) in zip(listed, held, strict=True):
        start = wallet.apply_fill(start, traded(terms, sign * steps, price_of(entry))).account
    marks = [(f"C{number}", price_of(ticks)) for number, (_, _, ticks, _) in enumerate(held)]

    def marked(order: list[tuple[str, Decimal]]) -> MarginAccount:
        account = start
        for symbol, price in order:
            account = wallet.apply_mark(account, symbol, price)
        return account

    # With detours: prices that did not stay.
    detour = [(symbol, price + 17) for symbol, price in marks] + marks
    random.Random(seed).shuffle(marks)
    one, other = marked(marks), marked(detour)

    assert one == other
    assert one.sums == other.sums
    assert one.unrealised("BTC") == EXACT.create_decimal(
        sum_of(position.unrealised for position in one.positions.values())
    )
    assert sum_of(position.isolated_wallet for position in one.positions.values()) == sum_of(
        sums.isolated_wallet for sums in one.sums.values()
    )


def sum_of(amounts: object) -> Decimal:
    total = Decimal(0)
    for amount in amounts:  # type: ignore[attr-defined]
        total = EXACT.add(total, amount)
    return total


# --- liquidation -----------------------------------------------------------------------------------------

LADDER = tiers_of((20_000, 125, "0.4"), (100_000, 50, "1"), (500_000, 20, "2.5"), (10**7, 5, "12.5"))
COIN_LADDER = tiers_of((1, 125, "0.4"), (4, 50, "1"), (10, 20, "2.5"), (1_000, 5, "12.5"))


@given(
    terms=TERMS,
    mode=MODES,
    sign=st.sampled_from([1, -1]),
    opening=st.tuples(STEPS, TICKS),
    backing=st.tuples(st.integers(1, 100), st.integers(0, 300)),
)
def test_the_liquidation_price_is_where_the_margin_ratio_reaches_one(
    terms: Terms, mode: MarginMode, sign: int, opening: tuple[int, int], backing: tuple[int, int]
) -> None:
    (steps, entry), (leverage, spare) = opening, backing  # leverage, and percent of the initial margin on top
    ladder = COIN_LADDER if terms is COIN_TERMS else LADDER
    terms = attrs.evolve(terms, tiers=ladder, leverage=leverage)
    quantity, price = sign * quantity_of(terms, steps), price_of(entry)
    need = margin.initial_margin(abs(value(terms.instrument, quantity, price)), leverage)
    money = EXACT.multiply(need, 1 + Decimal(spare) / 100) + Decimal("1e-6")
    held = MarginAccount(wallets={asset_of(terms): money})
    held = wallet.with_terms(held, attrs.evolve(terms, margin_mode=mode))
    held = wallet.apply_fill(held, traded(terms, quantity, price)).account
    key = Key(terms.instrument.symbol)

    found = wallet.liquidation_price(held, key)

    if found is None or found > SKY:  # nothing that can happen to the price takes the wallet
        end = Decimal("0.1") if sign > 0 else SKY
        assert wallet.liquidated(wallet.apply_mark(held, key.symbol, end), key.symbol) == ()
        return
    tick = terms.instrument.tick_size
    worse = wallet.apply_mark(held, key.symbol, found - sign * tick)
    better = wallet.apply_mark(held, key.symbol, found + sign * tick)
    assert wallet.liquidated(worse, key.symbol) == (key,)
    assert wallet.liquidated(better, key.symbol) == ()


@given(
    longs=st.tuples(STEPS, TICKS),
    shorts=st.tuples(STEPS, TICKS),
    mark=TICKS,
    money=st.integers(0, 100_000),
    ladder=st.sampled_from([LADDER, BTCUSDT]),
)
def test_a_hedge_is_liquidated_at_the_price_it_names_and_not_between_that_and_the_mark(
    longs: tuple[int, int], shorts: tuple[int, int], mark: int, money: int, ladder: tuple[LeverageTier, ...]
) -> None:
    terms = attrs.evolve(USDT_TERMS, tiers=ladder)
    symbol = terms.instrument.symbol
    held = account(money, terms)
    for sign, side, (steps, ticks) in ((1, PositionSide.LONG, longs), (-1, PositionSide.SHORT, shorts)):
        fill = traded(terms, sign * quantity_of(terms, steps), price_of(ticks), position_side=side)
        held = wallet.apply_fill(held, fill).account
    held = wallet.apply_mark(held, symbol, price_of(mark))
    if wallet.liquidated(held, symbol):
        return

    found = wallet.liquidation_price(held, Key(symbol, PositionSide.LONG))

    ends = (found,) if found is not None else (Decimal("0.01"), SKY)
    for end in ends:
        beyond = Decimal("0.000001") * (1 if end > price_of(mark) else -1)
        near, middle = end - beyond, (end + price_of(mark)) / 2
        for safe in (near, middle) if found is not None else ():
            assert wallet.liquidated(wallet.apply_mark(held, symbol, safe), symbol) == ()
        gone = wallet.liquidated(wallet.apply_mark(held, symbol, end + beyond), symbol)
        assert len(gone) == (2 if found is not None else 0)


@given(notional=st.integers(0, 10**9), ladder=st.sampled_from([LADDER, BTCUSDT, BTCUSD]))
def test_maintenance_never_jumps_and_never_falls(notional: int, ladder: tuple[LeverageTier, ...]) -> None:
    worth = Decimal(notional).scaleb(-2)
    little = Decimal("1e-8")

    here, more = (margin.maintenance_margin(ladder, each) for each in (worth, worth + little))

    assert 0 <= more - here <= little


@given(terms=TERMS, steps=STEPS, entry=TICKS, end=TICKS, amount=st.integers(-100, 100))
def test_a_liquidation_never_costs_more_than_what_stood_behind_it(
    terms: Terms, steps: int, entry: int, end: int, amount: int
) -> None:
    start = account(50, terms, mode=MarginMode.ISOLATED)
    held = wallet.apply_fill(start, traded(terms, quantity_of(terms, steps), price_of(entry))).account
    key, asset = Key(terms.instrument.symbol), asset_of(terms)
    aside = held.positions[key].isolated_wallet

    done = wallet.apply_fill(held, traded(terms, -quantity_of(terms, steps), price_of(end))).account
    covered = Booking(
        booking_id="1", kind=BookingKind.OTHER, asset=asset, amount=wallet.uncovered(held, done, key), time_ns=amount
    )
    final = wallet.apply_booking(done, covered)

    assert final.wallet(asset) >= held.wallet(asset) - aside
    assert (covered.amount > 0) == (done.wallet(asset) < held.wallet(asset) - aside)

"""Futures: leverage, modes, positions, funding and liquidation, to the last decimal of the venue's ledger."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from btx.errors import OrderRejectedError
from btx.model.account import AccountUpdate, Booking, BookingKind, PositionReport
from btx.model.derivatives import MarginMode, PositionMode
from btx.model.order import Fill, Leg, OrderType, Origin, PositionSide, Side, Status
from btx.model.time import NS_PER_MINUTE
from btx.model.venue import Capabilities, Channel
from btx.rules.contracts import notional, profit
from btx.testing import needs
from btx.testing.bench import Bench
from btx.testing.card import expect, expect_error, ports_card, skip
from btx.testing.worlds import FALLING_MINUTES, before_funding, falling

__all__ = ()

_MARKET = (needs.margined, needs.order_type(OrderType.MARKET))
_ZERO = Decimal(0)
_CENT = Decimal("1e-6")


def _has_margin_mode(mode: MarginMode) -> Any:
    def need(_info: Any, can: Capabilities) -> str:
        return "" if mode in can.margin_modes else f"the market declares no margin mode {mode.value}"

    return need


async def _position(bench: Bench, side: PositionSide = PositionSide.NET) -> PositionReport | None:
    found = (await bench.store.account()).positions
    return next((each for each in found if (each.symbol, each.position_side) == (bench.symbol, side)), None)


async def _row(bench: Bench, side: PositionSide = PositionSide.NET) -> Mapping[str, Any] | None:
    rows = (await bench.ledger())["positions"]
    mine = [row for row in rows if row["symbol"] == bench.instrument.venue_symbol]
    if side is PositionSide.NET and bench.can.offsets:  # the venue has both sides, and their difference is the position
        held = sum((Decimal(row["quantity"]) for row in mine), _ZERO)
        (larger, *_) = [*sorted(mine, key=lambda row: -abs(Decimal(row["quantity"]))), None]
        return {**larger, "quantity": str(held)} if larger is not None else None
    return next((row for row in mine if row["position_side"] == side.value), None)


async def _flat(bench: Bench) -> None:
    """Close what earlier cards have left."""
    row = await _row(bench)
    held = Decimal(row["quantity"]) if row is not None else _ZERO
    if held:
        await bench.bought(side=Side.SELL if held > 0 else Side.BUY, quantity=abs(held))


@ports_card(
    "FUT-01",
    "Leverage can be set, is told, and setting it again changes nothing",
    hint="MarginStore.set_leverage, AccountSnapshot.terms",
    needs=(needs.margined, needs.flag("sets_leverage")),
)
async def _leverage(bench: Bench) -> None:
    await _flat(bench)
    for leverage in (3, 3, 5):
        await bench.margin_store.set_leverage(instrument=bench.instrument, leverage=leverage)
    terms = (await bench.store.account()).terms.get(bench.symbol)
    if terms is None or terms.leverage is None:
        skip("the venue does not tell the leverage of an instrument without a position")
    assert terms is not None
    expect(terms.leverage == 5, f"expected leverage 5, and the account says {terms.leverage}")


@ports_card(
    "FUT-02",
    "More leverage than the venue allows is refused",
    hint="MarginStore.set_leverage: OrderRejectedError",
    needs=(needs.margined,),
)
async def _too_much(bench: Bench) -> None:
    call = bench.margin_store.set_leverage(instrument=bench.instrument, leverage=1000)
    await expect_error(OrderRejectedError, call, "for a leverage of 1000")


@ports_card(
    "FUT-03",
    "The margin mode can be set, and setting it again changes nothing",
    hint="MarginStore.set_margin_mode",
    needs=(needs.margined, _has_margin_mode(MarginMode.ISOLATED)),
)
async def _margin_mode(bench: Bench) -> None:
    await _flat(bench)
    for mode in (MarginMode.ISOLATED, MarginMode.ISOLATED):
        await bench.margin_store.set_margin_mode(instrument=bench.instrument, mode=mode)
    await bench.bought()
    position = await _position(bench)
    expect(position is not None, "expected the position in account(), and it is not there")
    assert position is not None
    expect(position.margin_mode in {MarginMode.ISOLATED, None}, f"expected an ISOLATED position, and it is {position}")
    await _flat(bench)
    if MarginMode.CROSS in bench.can.margin_modes:
        await bench.margin_store.set_margin_mode(instrument=bench.instrument, mode=MarginMode.CROSS)


@ports_card(
    "FUT-04",
    "A long position is told as the venue's ledger has it",
    hint="PositionReport: quantity and entry_price",
    needs=_MARKET,
)
async def _long(bench: Bench) -> None:
    await _flat(bench)
    leg = await bench.bought()
    await _compare(bench, leg.quantity)


@ports_card(
    "FUT-05",
    "A short position is told with a negative quantity",
    hint="PositionReport.quantity: the sign of a short",
    needs=_MARKET,
)
async def _short(bench: Bench) -> None:
    await _flat(bench)
    leg = await bench.bought(side=Side.SELL)
    await _compare(bench, -leg.quantity)


async def _compare(bench: Bench, held: Decimal, side: PositionSide = PositionSide.NET) -> None:
    position, row = await _position(bench, side), await _row(bench, side)
    expect(position is not None, f"expected a position of {held} in account(), and there is none")
    assert position is not None
    assert row is not None
    expect(position.quantity == held, f"expected a position of {held}, and account() says {position.quantity}")
    if position.entry_price is not None:
        off = abs(position.entry_price - Decimal(row["entry_price"]))
        expect(
            off <= bench.instrument.tick_size, f"expected entry {row['entry_price']}, and it is {position.entry_price}"
        )


@ports_card(
    "FUT-06",
    "A position that changes is pushed",
    hint="AccountUpdate.positions of the account's stream",
    needs=(*_MARKET, needs.flag("account_updates")),
)
async def _pushed(bench: Bench) -> None:
    await _flat(bench)
    before = len(bench.updates())
    leg = await bench.bought()

    def told() -> bool:
        positions = [each for update in bench.updates()[before:] for each in update.positions]
        return any((each.symbol, each.quantity) == (bench.symbol, leg.quantity) for each in positions)

    await bench.account.until(told, f"AccountUpdate with a position of {leg.quantity} {bench.symbol}")


@ports_card(
    "FUT-07",
    "A closed position is told as none",
    hint="PositionReport of quantity zero, or none in account()",
    needs=_MARKET,
)
async def _closed(bench: Bench) -> None:
    await _flat(bench)
    await bench.sold(await bench.bought())
    position = await _position(bench)
    expect(position is None or not position.quantity, f"expected no position after closing it, and it is {position}")


@ports_card(
    "FUT-08",
    "An order that only reduces never opens a position",
    hint="reduce_only in Broker.place",
    needs=(*_MARKET, needs.flag("reduce_only")),
)
async def _reduce_only(bench: Bench) -> None:
    await _flat(bench)
    leg = await bench.leg(side=Side.SELL, reduce_only=True)
    try:
        await bench.place(leg)
    except OrderRejectedError:
        pass  # refused at once, or told as ended: venues do either
    else:
        await bench.until_status(leg, Status.REJECTED, Status.CANCELED, Status.EXPIRED)
    row = await _row(bench)
    expect(row is None or not Decimal(row["quantity"]), f"expected no position, and there is {row}")


@ports_card(
    "FUT-09",
    "Every movement of money is booked, and the bookings add up to the wallet",
    hint="MarginStore.bookings",
    needs=(*_MARKET, needs.flag("bookings")),
)
async def _bookings(bench: Bench) -> None:
    await _flat(bench)
    asset, known = bench.instrument.settle, {each.booking_id for each in await _booked(bench)}
    before = (await bench.store.account()).balances[asset].total
    bought = await bench.bought()
    await bench.advance(2)
    sold = await bench.sold(bought)
    after = (await bench.store.account()).balances[asset].total
    new = [each for each in await _booked(bench) if each.booking_id not in known and each.asset == asset]
    total = sum((each.amount for each in new), _ZERO)
    expect(total == after - before, f"expected bookings of {after - before} {asset}, and they add up to {total}")
    fees = {each.fill_id for each in new if each.kind is BookingKind.FEE and each.fill_id}
    ids = {each.fill_id for leg in (bought, sold) for each in bench.fills(leg)}
    expect(not fees or fees == ids, "expected one fee for each fill by its id, and they differ")


async def _booked(bench: Bench) -> tuple[Booking, ...]:
    start_ns = bench.endpoints.clock.market_origin_ns - NS_PER_MINUTE
    return tuple(await bench.margin_store.bookings(start_ns=start_ns))


@ports_card(
    "FUT-10", "What a closing fill realised is told as the venue's ledger has it", hint="Fill.realised", needs=_MARKET
)
async def _realised(bench: Bench) -> None:
    await _flat(bench)
    bought = await bench.bought()
    await bench.advance(2)
    sold = await bench.sold(bought)
    told = [each.realised for each in bench.fills(sold) if each.realised is not None]
    if not told:
        skip("the venue tells nothing of what a fill realised")
    rows = await bench.ledger_fills(sold)
    due = sum((Decimal(row["realised"]) for row in rows), _ZERO)
    expect(abs(sum(told, _ZERO) - due) < _CENT, f"expected {due} realised, and fills tell {sum(told, _ZERO)}")
    entry = sum((each.price * each.quantity for each in bench.fills(bought)), _ZERO) / bought.quantity
    leave = sum((each.price * each.quantity for each in bench.fills(sold)), _ZERO) / sold.quantity
    expected = profit(bench.instrument, sold.quantity, entry, leave)
    slack = abs(notional(bench.instrument, sold.quantity, leave)) * Decimal("1e-4") + len(rows) * Decimal("1e-8")
    expect(abs(due - expected) <= slack, f"expected about {expected} realised by its prices, and it is {due}")


@ports_card(
    "FUT-11",
    "Funding is paid by longs when the rate is positive, and booked with its amount",
    hint="BookingKind.FUNDING: its sign",
    needs=(*_MARKET, needs.channel(Channel.MARK), needs.flag("funding")),
    world=before_funding,
)
async def _funding_long(bench: Bench) -> None:
    await _funding(bench, Side.BUY)


@ports_card(
    "FUT-12",
    "Funding is received by shorts when the rate is positive, and booked with its amount",
    hint="BookingKind.FUNDING: its sign",
    needs=(*_MARKET, needs.channel(Channel.MARK), needs.flag("funding")),
    world=before_funding,
)
async def _funding_short(bench: Bench) -> None:
    await _funding(bench, Side.SELL)


async def _funding(bench: Bench, side: Side) -> None:
    if bench.instrument.delivery_ns is not None:
        skip(f"{bench.symbol} is delivered and has no funding")
    mark = await bench.margin_feed.mark_price(instrument=bench.instrument)
    due_ns = mark.next_funding_ns
    if due_ns is None or due_ns - bench.time.market > 30 * NS_PER_MINUTE:
        skip("the simulator's next funding is more than half an hour away")
    assert due_ns is not None
    leg = await bench.bought(side=side, quantity=await bench.size(20))
    await bench.advance_until(lambda: bench.time.market > due_ns + NS_PER_MINUTE, "the time of the funding")
    (rate,) = await bench.margin_feed.funding_rates(
        instrument=bench.instrument, start_ns=due_ns - NS_PER_MINUTE, end_ns=due_ns + NS_PER_MINUTE
    )
    paid = [each for each in await _booked(bench) if each.kind is BookingKind.FUNDING]
    if not rate.rate:
        skip("the rate of the simulator's funding is zero")
    expect(len(paid) == 1, f"expected one booking of funding, and there are {len(paid)}")
    price = rate.mark_price or mark.mark_price
    due = -side.sign * notional(bench.instrument, leg.quantity, price) * rate.rate
    expect(
        abs(paid[0].amount - due) <= abs(due) * Decimal("0.02") + Decimal("1e-8"),
        f"expected about {due:f} at the rate {rate.rate} for a {side.value}, and {paid[0].amount:f} is booked",
    )
    await bench.account.until(
        lambda: any(_is_of_now(each, due_ns) for each in bench.updates()), "AccountUpdate when funding was paid"
    )


def _is_of_now(update: AccountUpdate, due_ns: int) -> bool:
    return update.time_ns >= due_ns - NS_PER_MINUTE and bool(update.balances)


@ports_card(
    "FUT-13",
    "In hedge mode an instrument has a long and a short position, each its own",
    hint="position_side in orders and reports",
    needs=(*_MARKET, needs.mode(PositionMode.HEDGE)),
    alone=True,
)
async def _hedge(bench: Bench) -> None:
    for _ in range(2):  # the second time it is so already
        await bench.margin_store.set_position_mode(mode=PositionMode.HEDGE)
    bought = await bench.bought(position_side=PositionSide.LONG)
    sold = await bench.bought(side=Side.SELL, position_side=PositionSide.SHORT, quantity=2 * bought.quantity)
    expect((await bench.store.account()).position_mode is PositionMode.HEDGE, "expected account() to say HEDGE")
    await _compare(bench, bought.quantity, PositionSide.LONG)
    await _compare(bench, -sold.quantity, PositionSide.SHORT)
    for leg, side in ((bought, PositionSide.LONG), (sold, PositionSide.SHORT)):
        told = {each.position_side for each in bench.fills(leg)}
        expect(told == {side}, f"expected fills of {side.value}, and they are of {told}")


@ports_card(
    "FUT-14",
    "The position mode stays while there is a position",
    hint="MarginStore.set_position_mode: OrderRejectedError",
    needs=(*_MARKET, needs.mode(PositionMode.HEDGE)),
    alone=True,
)
async def _mode_stays(bench: Bench) -> None:
    await bench.bought()
    call = bench.margin_store.set_position_mode(mode=PositionMode.HEDGE)
    await expect_error(OrderRejectedError, call, "for another position mode while there is a position")


@ports_card(
    "FUT-15",
    "A liquidation is told: by its fills, by the position, and by what it cost",
    hint="Origin.LIQUIDATION of Fill and OrderReport",
    needs=(*_MARKET, needs.flag("reduce_only")),
    world=falling,
)
async def _liquidation(bench: Bench) -> None:
    tiers = (await bench.margin_store.leverage_tiers(instruments=[bench.instrument]))[bench.symbol]
    leverage = tiers[0].max_leverage
    await bench.margin_store.set_leverage(instrument=bench.instrument, leverage=leverage)
    held = await _all_in(bench, leverage)

    def told() -> list[Fill]:
        return [each for each in bench.account.of(Fill) if each.origin is Origin.LIQUIDATION]

    for _ in range(FALLING_MINUTES):
        await bench.advance()
        row = await _row(bench)
        if row is None or not Decimal(row["quantity"]):
            break
    else:
        skip(f"the simulator kept a position of leverage {leverage} in a market that fell to a twentieth")
    await bench.account.until(told, f"a fill of a liquidation of {held.quantity} {bench.symbol}")
    position = await _position(bench)
    expect(
        position is None or not position.quantity, f"expected no position after its liquidation, and it is {position}"
    )
    fees = [each for each in await _booked(bench) if each.kind is BookingKind.LIQUIDATION_FEE]
    charged = [each for each in (await bench.ledger())["bookings"] if each["kind"] == BookingKind.LIQUIDATION_FEE.value]
    expect(
        len(fees) == len(charged), f"expected {len(charged)} bookings of a liquidation's fee, and there are {len(fees)}"
    )


async def _all_in(bench: Bench, leverage: int) -> Leg:
    """Buy as much as the account and its leverage allow."""
    times = Decimal(leverage) * Decimal("0.9")
    for _ in range(8):
        quantity = await bench.affordable(times, as_one=True)
        try:
            return await bench.bought(quantity=quantity)
        except OrderRejectedError:
            times *= Decimal("0.8")
    skip("no order near the account's limit was taken")
    raise AssertionError

"""Orders that must be refused, and say why."""

from decimal import Decimal

from btx.errors import FilterError, InsufficientFundsError, OrderRejectedError
from btx.model.order import Leg, OrderType, Side, Status
from btx.testing import needs
from btx.testing.bench import Bench
from btx.testing.card import CardFailedError, expect, ports_card, skip

__all__ = ()

_LIMIT = needs.order_type(OrderType.LIMIT)


@ports_card(
    "ORD-18",
    "An order that the account cannot pay for is refused as such",
    hint="InsufficientFundsError",
    needs=(_LIMIT,),
)
async def _funds(bench: Bench) -> None:
    terms = (await bench.store.account()).terms.get(bench.symbol)
    leverage = (terms.leverage if terms is not None else None) or (20 if bench.can.margined else 1)
    quantity = await bench.affordable(Decimal(2 * leverage))
    most = bench.instrument.max_quantity
    if most is not None and quantity > most:
        skip("the account can pay for the largest order of the instrument")
    leg = await bench.leg(order_type=OrderType.LIMIT, price=await bench.away(Side.BUY), quantity=quantity)
    try:
        await bench.place(leg)
    except InsufficientFundsError:
        return
    except OrderRejectedError as error:
        if isinstance(error, FilterError) or bench.can.margined:  # a position limit may come before the margin
            skip(f"an order so large breaks another rule first: {error}")
        raise CardFailedError(f"expected InsufficientFundsError, and {type(error).__name__} came: {error}") from error
    report = await bench.until_status(leg, Status.NEW, Status.REJECTED, Status.FILLED)
    if report.status is not Status.REJECTED:
        raise CardFailedError(f"expected a refusal of what is too dear, and the order is {report.status.value}")


@ports_card(
    "ORD-19",
    "An order that is off the price grid is refused, and never rounded",
    hint="FilterError or OrderRejectedError; no rounding",
    needs=(_LIMIT,),
)
async def _off_grid(bench: Bench) -> None:
    price = await bench.away(Side.BUY) + bench.instrument.tick_size / 4
    leg = await bench.leg(order_type=OrderType.LIMIT, price=price)
    await _refused(bench, leg)


@ports_card(
    "ORD-20", "An order below the least quantity is refused", hint="FilterError or OrderRejectedError", needs=(_LIMIT,)
)
async def _too_small(bench: Bench) -> None:
    leg = await bench.leg(
        order_type=OrderType.LIMIT, price=await bench.away(Side.BUY), quantity=bench.instrument.step_size / 4
    )
    await _refused(bench, leg)


async def _refused(bench: Bench, leg: Leg) -> None:
    """Send an order that the venue must refuse: by its answer, or by what it tells afterwards."""
    try:
        await bench.place(leg)
    except OrderRejectedError:
        pass
    else:
        await bench.until_status(leg, Status.REJECTED)
    rows = [row for row in await bench.ledger_orders(leg) if row["is_open"] or Decimal(row["filled"])]
    expect(not rows, f"expected the order to be refused, and the ledger has it as {rows[:1]}")

"""Instruments: what is listed can be traded by its grids, and found by its name."""

import functools
import itertools
from decimal import Decimal

from btx.errors import UnknownSymbolError
from btx.model.account import Lots
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.order import OrderType
from btx.testing import needs
from btx.testing.bench import Bench
from btx.testing.card import expect, ports_card, run_card, skip
from btx.testing.hall import Hall

__all__ = ()

_NOWHERE = "NO/SUCH"
_GRIDS = (
    *("tick_size", "step_size", "min_quantity", "max_quantity", "market_step_size", "market_min_quantity"),
    *("market_max_quantity", "min_price", "max_price", "min_notional", "max_notional", "multiplier", "max_position"),
)
_MOST = Decimal("0.05")  # of a notional: a fee above it is a percentage taken for a fraction


@ports_card("INS-01", "Every instrument is listed under its symbol, and belongs to the venue", hint="Store.instruments")
async def _symbols(bench: Bench) -> None:
    for symbol, each in bench.instruments.items():
        expect(each.symbol == symbol, f"expected {each.symbol} under its own symbol, and it is under {symbol}")
        expect(each.venue == bench.info.name, f"expected venue {bench.info.name!r} of {symbol}, not {each.venue!r}")


@ports_card("INS-02", "Grids and limits are exact decimals, and fit together", hint="how filters are read")
async def _grids(bench: Bench) -> None:
    for symbol, each in bench.instruments.items():
        for name in _GRIDS:
            value = getattr(each, name)
            expect(value is None or isinstance(value, Decimal), f"expected a Decimal in {name} of {symbol}: {value!r}")
            expect(value is None or value.is_finite(), f"expected a number in {name} of {symbol}, not {value}")
        for least, most in (
            ("min_quantity", "max_quantity"),
            ("min_price", "max_price"),
            ("min_notional", "max_notional"),
        ):
            low, high = getattr(each, least), getattr(each, most)
            expect(
                low is None or high is None or low <= high, f"expected {least} below {most} of {symbol}: {low}, {high}"
            )
        expect(
            not each.min_quantity % each.step_size,
            f"expected min_quantity of {symbol} on its grid of {each.step_size}, not {each.min_quantity}",
        )


@ports_card(
    "INS-03", "Asking for some instruments gives the same as asking for all", hint="Store.instruments(symbols=)"
)
async def _some(bench: Bench) -> None:
    wanted = [each for each in (bench.symbol, bench.other) if each]
    some = await bench.store.instruments(symbols=wanted)
    whole = {symbol: bench.instruments[symbol] for symbol in wanted}
    expect(dict(some) == whole, f"expected {', '.join(whole)} as in the whole list, and there are {', '.join(some)}")


@ports_card("INS-04", "What is not listed is left out, and has no price", hint="UnknownSymbolError of Feed.last_price")
async def _unknown(bench: Bench) -> None:
    found = await bench.store.instruments(symbols=[_NOWHERE])
    expect(not found, f"expected nothing for {_NOWHERE}, and there is {', '.join(found)}")
    try:
        last = await bench.feed.last_price(symbol=_NOWHERE)
    except UnknownSymbolError:
        return
    expect(
        condition=False, sentence=f"expected UnknownSymbolError of last_price for {_NOWHERE}, and it returned {last}"
    )


@ports_card("INS-05", "No two instruments have one name at the venue", hint="Instrument.venue_symbol")
async def _venue_symbols(bench: Bench) -> None:
    seen: dict[str, str] = {}
    for symbol, each in bench.instruments.items():
        other = seen.setdefault(each.venue_symbol, symbol)
        expect(other == symbol, f"expected one symbol for {each.venue_symbol}, and there are {other} and {symbol}")


@ports_card("INS-06", "A symbol says base, quote and settle asset as the instrument has them", hint="Instrument.symbol")
async def _spelling(bench: Bench) -> None:
    for symbol, each in bench.instruments.items():
        spelt = f"{each.base}/{each.quote}"
        if each.kind in {InstrumentKind.LINEAR, InstrumentKind.INVERSE}:
            spelt += f":{each.settle}"
        elif each.kind is not InstrumentKind.SPOT:
            continue  # stocks and dated futures have the names that their markets give them
        expect(symbol == spelt or symbol.startswith(f"{spelt}-"), f"expected {spelt}, and the symbol is {symbol}")


@ports_card("INS-07", "Instruments are of a kind that the market's capabilities are about", hint="Instrument.kind")
async def _kinds(bench: Bench) -> None:
    for symbol, each in bench.instruments.items():
        words = "on margin" if bench.can.margined else "owned"
        expect(each.kind.is_margined is bench.can.margined, f"expected {symbol} {words}, and it is {each.kind.value}")


@ports_card(
    "INS-08", "The least order of each instrument passes its own limits", hint="min_quantity, min_notional, steps"
)
async def _tradable(bench: Bench) -> None:
    size, price = await bench.size(1), await bench.price()
    each = bench.instrument
    expect(
        each.max_quantity is None or size <= each.max_quantity,
        f"expected the least order of {size} {each.symbol} below max_quantity {each.max_quantity}",
    )
    expect(price > 0, f"expected a last price above zero, and it is {price}")
    expect(not price % each.tick_size, f"expected the last price on the grid of {each.tick_size}, and it is {price}")


@ports_card(
    "INS-09", "Fees of every instrument are known before an account is, and where they come from", hint="btx_commission"
)
async def _fees(bench: Bench) -> None:
    schedule = bench.venue.commission(bench.instrument, None)
    for name, rate in (("maker", schedule.maker), ("taker", schedule.taker)):
        expect(isinstance(rate, Decimal), f"expected a Decimal as the {name} rate, and it is {rate!r}")
        expect(-_MOST < rate < _MOST, f"expected a {name} rate as a fraction of the notional, and it is {rate}")
    expect(
        bool(schedule.source), "expected FeeSchedule.source to say which document the rates are from, and it is empty"
    )


@ports_card(
    "INS-10", "A calendar is there for every instrument, with its zone and its hours in order", hint="btx_calendar"
)
async def _calendar(bench: Bench) -> None:
    from zoneinfo import ZoneInfo

    for symbol, each in bench.instruments.items():
        calendar = bench.venue.calendar(each)
        ZoneInfo(calendar.zone)
        ends = [None, *(hours.close_s for hours in calendar.hours)]
        for before, hours in zip(ends, calendar.hours, strict=False):
            expect(hours.open_s < hours.close_s, f"expected hours of {symbol} that open before they close: {hours}")
            expect(before is None or before <= hours.open_s, f"expected hours of {symbol} in order, and {hours} is not")


@ports_card("INS-11", "The adapter's own tables list what its simulator lists", hint="btx_listed and btx_simulator")
async def _listed(bench: Bench) -> None:
    listed = _listed_by(bench)
    if not listed:
        skip("the adapter has no tables of instruments (the hook btx_listed)")
    for symbol, each in listed.items():
        expect(symbol in bench.instruments, f"expected {symbol} of the tables at the simulator, and it is not listed")
        there = bench.instruments[symbol]
        for name in ("tick_size", "step_size", "min_quantity", "multiplier", "kind"):
            here, said = getattr(each, name), getattr(there, name)
            expect(here == said, f"expected {name} {here} of {symbol} as in the tables, and the simulator says {said}")


def _listed_by(bench: Bench) -> dict[str, Instrument]:
    from btx.model.venue import Scenario

    found = bench.venue.listed(Scenario(market=bench.market, symbols=tuple(filter(None, (bench.symbol, bench.other)))))
    return {each.instrument.symbol: each.instrument for each in found}


@ports_card(
    "INS-12",
    "Leverage tiers begin at nothing, join each other, and never allow more leverage for more",
    hint="MarginStore.leverage_tiers",
    needs=(needs.margined,),
)
async def _tiers(bench: Bench) -> None:
    tiers = (await bench.margin_store.leverage_tiers(instruments=[bench.instrument]))[bench.symbol]
    expect(bool(tiers), f"expected a tier of {bench.symbol}, and there is none")
    expect(not tiers[0].floor, f"expected the first tier to begin at 0, and it begins at {tiers[0].floor}")
    for low, high in itertools.pairwise(tiers):
        expect(
            low.cap == high.floor, f"expected tiers that join, and one ends at {low.cap}, the next begins {high.floor}"
        )
        expect(low.max_leverage >= high.max_leverage, f"expected less leverage for more, and {high} allows more")
        expect(
            low.maintenance_rate <= high.maintenance_rate, f"expected more maintenance for more, and {high} asks less"
        )


@ports_card(
    "INS-13",
    "The plan of an order is one or more parts that add up to it",
    hint="the hook btx_plan",
    needs=(needs.order_type(OrderType.MARKET),),
)
async def _plan(bench: Bench) -> None:
    request = bench.request(quantity=await bench.size())
    lots = Lots(symbol=request.instrument.symbol) if bench.can.offsets else None
    parts = bench.venue.plan(request, lots)
    total = functools.reduce(lambda sum_, part: sum_ + part.quantity, parts, Decimal(0))
    expect(total == request.quantity, f"expected parts of {request.quantity} altogether, and they are of {total}")


@run_card(
    "INS-40",
    "In a market on margin a plain symbol means the perpetual: at the simulator, too",
    hint="Scenario.symbols and Scenario.data in the hook btx_simulator",
    needs=(needs.margined,),
)
def _plain(hall: Hall) -> None:
    symbol = next((each for each in hall.symbols if ":" in each and "-" not in each), None)
    if symbol is None:
        skip("the simulator lists no perpetual")
    assert symbol is not None
    with hall.world(symbols=(symbol.partition(":")[0],)) as world:
        expect(not world.ledger()["orders"], "expected a world of its own")

"""Brackets: what was filled is protected, and one exit takes the other away."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from btx.model.order import OrderType
from btx.model.time import NS_PER_MINUTE
from btx.model.venue import Channel
from btx.testing import needs
from btx.testing.books import check_books, position_in
from btx.testing.card import expect, run_card, skip
from btx.testing.hall import Hall, Run, World
from btx.testing.steps import Step, price_at, size_of

__all__ = ()

_NEEDS = (
    needs.channel(Channel.BAR),
    needs.order_type(OrderType.MARKET),
    needs.order_type(OrderType.LIMIT),
    needs.any_order_type(OrderType.STOP_MARKET, OrderType.STOP_LIMIT),
)


def _bracket(bps: int, times: int = 6) -> Step:
    """Buy at the market with a stop and a target so many basis points away."""

    def step(strategy: Any) -> None:
        data = strategy.data
        strategy.kept["entry"], strategy.kept["stop"], strategy.kept["target"] = strategy.buy_bracket(
            size=size_of(data, times),
            exectype=strategy.Market,
            stopprice=price_at(data, -bps),
            limitprice=price_at(data, bps),
        )

    return step


def _play(world: World, steps: Mapping[int, Step], **words: Any) -> Run:
    return world.hall.play(world.load(**words), steps, datas=[{"dataname": world.symbol}], on_stop="keep")


def _protected(ledger: Mapping[str, Any]) -> Decimal:
    """Return how much of what is held the stops at the venue would sell."""
    rows = (*ledger["orders"], *_waiting(ledger))
    stops = [row for row in rows if row["is_open"] and row["side"] == "SELL" and row["trigger_price"] is not None]
    return sum((Decimal(row["quantity"] or "0") - Decimal(row.get("filled", "0")) for row in stops), Decimal(0))


def _waiting(ledger: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = (each for each in ledger.get("conditionals", ()) if each["order_id"] is None)
    return [{**each, "is_open": each["state"] in {"NEW", "TRIGGERING"}} for each in found]


@run_card(
    "CPX-20",
    "A bracket's entry is filled, and what it filled is protected at the venue",
    hint="exits: order lists, or stops that only reduce",
    needs=_NEEDS,
)
def _protects(hall: Hall) -> None:
    with hall.world(until_ns=10 * NS_PER_MINUTE) as world:
        run = _play(world, {2: _bracket(300)})
        ledger, instrument = world.ledger(), run.strategy.data.instrument
        held, covered = position_in(ledger, instrument), _protected(ledger)
        expect(held > 0, "expected the bracket's entry to be filled, and nothing is held")
        expect(
            held - covered <= 2 * instrument.step_size,
            f"expected {held} to be protected at the venue, and {covered} is",
        )
        check_books(ledger, run.strategy)


@run_card(
    "CPX-21",
    "One exit of a bracket closes the position, and takes the other away",
    hint="how the end of one exit is told",
    needs=_NEEDS,
)
def _closes(hall: Hall) -> None:
    with hall.world(until_ns=180 * NS_PER_MINUTE) as world:
        run = _play(world, {2: _bracket(10)})
        ledger, instrument = world.ledger(), run.strategy.data.instrument
        told = {name: run.strategy.statuses_of(run.strategy.kept[name]) for name in ("stop", "target")}
        if not any("Completed" in each for each in told.values()):
            skip("the market came to neither exit, ten basis points away, in three hours")
        done = [name for name, each in told.items() if "Completed" in each]
        expect(len(done) == 1, f"expected one exit to be Completed, and it was {done}")
        held = position_in(ledger, instrument)
        expect(held == 0, f"expected nothing to be held after an exit, and {held} is")
        resting = [row for row in (*ledger["orders"], *_waiting(ledger)) if row["is_open"]]
        expect(not resting, f"expected the other exit to be gone, and {len(resting)} orders rest")
        check_books(ledger, run.strategy)


@run_card(
    "CPX-22",
    "A bracket whose answers are lost still protects what it filled",
    hint="OutcomeUnknownError of Broker.place and place_list",
    needs=_NEEDS,
)
def _lost(hall: Hall) -> None:
    with hall.world(until_ns=15 * NS_PER_MINUTE) as world:
        world.faults({"kind": "lose", "where": "place", "at": 1, "count": 2})
        run = _play(world, {2: _bracket(300)})
        if not world.ask("fault_log")["log"]:
            skip("the simulator does not play the fault 'lose' here")
        ledger, instrument = world.ledger(), run.strategy.data.instrument
        held, covered = position_in(ledger, instrument), _protected(ledger)
        expect(
            held - covered <= 2 * instrument.step_size,
            f"expected {held} to be protected at the venue, and {covered} is",
        )
        check_books(ledger, run.strategy)


@run_card(
    "RST-09",
    "A bracket outlives the process: its exits rest, and the next one keeps them",
    hint="Broker.open_orders, Broker.query and client order ids of exits",
    needs=_NEEDS,
)
def _survives(hall: Hall) -> None:
    with hall.world(until_ns=60 * NS_PER_MINUTE) as world:
        datas = [{"dataname": world.symbol}]
        steps = {2: _bracket(300)}
        first = hall.play(world.load(keep="bracket"), steps, datas=datas, on_stop="keep", last=6)
        before = _protected(world.ledger())
        second = hall.play(world.load(keep="bracket"), {}, datas=datas, on_stop="keep", last=6)
        ledger, instrument = world.ledger(), second.strategy.data.instrument
        held, after = position_in(ledger, instrument), _protected(ledger)
        expect(before == after, f"expected the protection of {before} to stay over a restart, and it became {after}")
        expect(held - after <= 2 * instrument.step_size, f"expected {held} to be protected, and {after} is")
        check_books(ledger, first.strategy, second.strategy)

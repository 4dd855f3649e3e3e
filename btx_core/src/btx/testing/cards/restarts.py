"""Restarts: what one process left is found by the next, and nothing is sent, told or counted twice."""

from typing import Any

from btx.errors import BtxError
from btx.model.order import OrderType
from btx.model.time import NS_PER_MINUTE
from btx.model.venue import Channel
from btx.testing import needs
from btx.testing.books import check_books
from btx.testing.card import expect, run_card, skip
from btx.testing.hall import Hall, Run, World
from btx.testing.steps import Step, buy, cancel, close, limit
from btx.testing.victim import kill_at

__all__ = ()

_BAR = needs.channel(Channel.BAR)
_MARKET = (_BAR, needs.order_type(OrderType.MARKET))
_LIMIT = (_BAR, needs.order_type(OrderType.LIMIT))
_MINUTES = 60
_KEEP = "restarted"


def _life(world: World, steps: dict[int, Step], *, last: int | None = 6, keep: str = _KEEP) -> Run:
    """Play one process: until its ``last`` bar; orders stay at the venue."""
    store = world.load(keep=keep)
    return world.hall.play(store, steps, datas=[{"dataname": world.symbol}], on_stop="keep", last=last)


def _adopt(name: str) -> Step:
    """Keep the order that an earlier life left under a name."""

    def step(strategy: object) -> None:
        found = strategy.broker.open_orders()  # type: ignore[attr-defined]
        strategy.kept["found"] = len(found)  # type: ignore[attr-defined]
        if found:
            strategy.kept[name] = found[0]  # type: ignore[attr-defined]

    return step


@run_card(
    "RST-01",
    "An order that rests is found by the next process, and can be cancelled there",
    hint="Broker.open_orders and Broker.query by client order id",
    needs=_LIMIT,
)
def _found(hall: Hall) -> None:
    with hall.world(until_ns=_MINUTES * NS_PER_MINUTE) as world:
        _life(world, {2: limit("order", -300)})
        resting = [row for row in world.ledger()["orders"] if row["is_open"]]
        expect(len(resting) == 1, f"expected the order to rest when the process has ended, and {len(resting)} do")
        second = _life(world, {2: _adopt("order"), 3: cancel("order")})
        expect(
            second.strategy.kept["found"] == 1, f"expected one order to be found, not {second.strategy.kept['found']}"
        )
        rows = world.ledger()["orders"]
        expect(len(rows) == 1, f"expected one order at the venue after a restart, and there are {len(rows)}")
        expect(not rows[0]["is_open"], "expected the order to be cancelled by the second process, and it rests")


@run_card(
    "RST-02",
    "What was filled between two processes is told to the second, once and as recovered",
    hint="Broker.query and Broker.fills: what happened while nobody listened",
    needs=(*_LIMIT, *_MARKET),
)
def _between(hall: Hall) -> None:
    def rest(strategy: Any) -> None:  # on both sides: to one of them every market comes
        limit("below", -15)(strategy)
        limit("above", 15, 2, sells=True)(strategy)

    with hall.world(until_ns=3 * _MINUTES * NS_PER_MINUTE) as world:
        first = _life(world, {2: buy("in"), 3: rest}, last=4)
        known = {each.fill_id for each in first.strategy.fills}
        if any(first.strategy.kept[name].executed.size for name in ("below", "above")):
            skip("an order was filled before the first process ended")
        for _ in range(150):
            world.ask("advance")
            if len(world.ledger()["fills"]) > len(known):
                break
        else:
            skip("the market did not come to an order while nobody was there")
        second = _life(world, {})
        check_books(world.ledger(), first.strategy, second.strategy)
        told = {each.fill_id for each in second.strategy.fills}
        expect(told == second.strategy.recovered, "expected these fills to be told as recovered, and they were not")


@run_card(
    "RST-03",
    "A position is found by the next process, and can be closed there",
    hint="Store.account, and fills that the journal has",
    needs=_MARKET,
)
def _position(hall: Hall) -> None:
    with hall.world(until_ns=_MINUTES * NS_PER_MINUTE) as world:
        first = _life(world, {2: buy("in")})
        second = _life(world, {2: close("out")})
        told = second.strategy.statuses_of(second.strategy.kept["out"])
        expect(told[-1:] == ["Completed"], f"expected the position to be closed, and the strategy was told {told}")
        check_books(world.ledger(), first.strategy, second.strategy)


@run_card(
    "RST-04", "What was told once is not told again", hint="fill_id: the same by push and by request", needs=_MARKET
)
def _once(hall: Hall) -> None:
    with hall.world(until_ns=_MINUTES * NS_PER_MINUTE) as world:
        first = _life(world, {2: buy("in"), 4: close("out")})
        second = _life(world, {})
        again = {each.fill_id for each in first.strategy.fills} & {each.fill_id for each in second.strategy.fills}
        expect(not again, f"expected no fill to be told twice, and {', '.join(sorted(again))} was")
        check_books(world.ledger(), first.strategy, second.strategy)


@run_card(
    "RST-05", "No client order id is used by two processes", hint="ClientIdSpec, and how ids travel", needs=_LIMIT
)
def _ids(hall: Hall) -> None:
    with hall.world(until_ns=_MINUTES * NS_PER_MINUTE) as world:
        for life in range(3):
            _life(world, {2: limit("order", -300 - life)}, last=4)
        ids = [row["client_order_id"] for row in world.ledger()["orders"]]
        expect(len(ids) == 3, f"expected three orders at the venue, and there are {len(ids)}")
        expect(len(set(ids)) == 3, f"expected an id of its own for each, and they are {', '.join(ids)}")


@run_card(
    "RST-06",
    "An order whose answer was lost as the process ended is settled by the next",
    hint="Broker.query by client order id",
    needs=_MARKET,
)
def _unsettled(hall: Hall) -> None:
    with hall.world(until_ns=_MINUTES * NS_PER_MINUTE) as world:
        world.faults(
            {"kind": "lose", "where": "place"},
            {"kind": "drop", "where": "query", "count": 2},
            {"kind": "cut", "where": "account_stream"},
        )
        first = _life(world, {2: buy("in")}, last=2)
        world.faults()
        second = _life(world, {})
        orders = world.ledger()["orders"]
        expect(len(orders) <= 1, f"expected one order at the venue, and there are {len(orders)}: it was sent again")
        check_books(world.ledger(), first.strategy, second.strategy)


@run_card(
    "RST-07",
    "A process that is killed before an order has left sends it never, and loses nothing",
    hint="Broker.place must not be called twice for one id",
    needs=_MARKET,
)
def _killed_before(hall: Hall) -> None:
    _killed(hall, "sent.after")


@run_card(
    "RST-08",
    "A process that is killed when the venue has answered finds the order, once",
    hint="Broker.query, and fills by their ids",
    needs=_MARKET,
)
def _killed_after(hall: Hall) -> None:
    _killed(hall, "send.after")


def _killed(hall: Hall, point: str) -> None:
    with hall.world(until_ns=_MINUTES * NS_PER_MINUTE) as world:
        try:
            kill_at(world, point, keep=_KEEP)
        except BtxError as error:
            skip(f"no process could be started for it: {error}")
        placed = len(world.ledger()["orders"])
        second = _life(world, {}, last=8)
        orders = world.ledger()["orders"]
        expect(len(orders) == placed, f"expected {placed} orders after the restart, and there are {len(orders)}")
        check_books(world.ledger(), second.strategy)

"""kill -9 and a second start: orders, fills and brackets are found again, and a third start changes nothing."""

import json
import multiprocessing
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from btx.defaults import open_venue
from btx.model.journal import Event, GroupState, Intent
from btx.model.order import Fill
from btx.model.venue import Endpoints
from btx.storage.journal import read_journal
from btx.testing.simulators import Simulators
from tests.e2e import restarted
from tests.e2e.test_attach import DEADLINE_S
from tests.e2e.trading import account, world


@pytest.fixture(params=["binance", "bybit"])
def venue(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def simulators() -> Iterator[Simulators]:
    threads = Simulators()
    yield threads
    threads.close()


@pytest.fixture
def simulator(venue: str, simulators: Simulators) -> Iterator[Endpoints]:
    with simulators.serve(open_venue(venue), world(minutes=120, accounts=(account(USDT="100000"),))) as endpoints:
        yield endpoints


# A process is forked from a server that has imported what takes long, as `btx chaos` has it.
PROCESSES = multiprocessing.get_context("forkserver")
LIBRARIES = (
    *("btx.compose", "btx.storage.journal", "btx_binance.spot.broker", "btx_binance.spot.stream"),
    *("btx_bybit.broker", "btx_bybit.stream"),
)


class Trader:
    """The trading process, as often as it is started."""

    def __init__(self, venue: str, simulator: Endpoints, home: Path) -> None:
        self._venue = venue
        self._control = simulator.control
        self._home = home
        self._starts = 0

    def run(self, *, kill_at: tuple[str, int] | None = None, wait: bool = False) -> list[dict[str, Any]]:
        """Run it until it ends, or is killed; return what it wrote."""
        self._starts += 1
        result = self._home / f"run-{self._starts}.jsonl"
        result.touch()
        PROCESSES.set_forkserver_preload([*LIBRARIES])
        ours, its = PROCESSES.Pipe()
        arguments: dict[str, Any] = {
            "venue": self._venue,
            "control": self._control,
            "result": result,
            "home": self._home,
            "point": kill_at,
            "killer": its if wait else None,
        }
        with ours, its:
            process = PROCESSES.Process(target=restarted.trade, kwargs=arguments, daemon=True)
            process.start()
            try:
                if wait:
                    assert ours.poll(DEADLINE_S), "it does not come to where it waits for its killer"
                    process.kill()
                process.join(DEADLINE_S)
                assert process.exitcode == (-signal.SIGKILL if wait or kill_at is not None else 0)
            finally:
                process.kill()
                process.join()
                process.close()
        return [json.loads(line) for line in result.read_text(encoding="utf-8").splitlines()]

    def records(self) -> list[Any]:
        (path,) = self._home.glob(f"{self._venue}/sim/spot/*/restarted/journal.sqlite")
        reader = read_journal(path)
        try:
            return [record for _, _, record in reader.records() if isinstance(record, Event | Intent | GroupState)]
        finally:
            reader.close()

    def fills(self) -> dict[str, Decimal]:
        events = [record.order_event for record in self.records() if isinstance(record, Event)]
        return {event.fill_id: event.side.sign * event.quantity for event in events if isinstance(event, Fill)}


def of(lines: list[dict[str, Any]], what: str) -> dict[str, Any]:
    return next(line for line in lines if line["what"] == what)


def told(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["what"] == "told" and not line["seed"]]


def without(order: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in order.items() if name not in names}


def test_everything_is_found_again_after_a_kill_and_a_third_start_changes_nothing(
    venue: str, simulator: Endpoints, tmp_path: Path
) -> None:
    trader = Trader(venue, simulator, tmp_path)
    first = trader.run(wait=True)
    before, open_before = of(first, "ready"), of(first, "open")["orders"]
    assert sorted(order["exectype"] for order in open_before) == ["Limit", "Limit", "Stop"]  # the entry has filled
    records = trader.records()

    second = trader.run(wait=True)
    found = of(second, "found")
    assert found["size"] == pytest.approx(before["size"])
    assert found["price"] == pytest.approx(before["price"])
    assert found["cash"] == pytest.approx(before["cash"])
    assert found["state"] is not None
    assert found["state"]["entered"]
    assert {order["id"]: without(order, "recovered", "id", "parent") for order in found["orders"]} == {
        order["id"]: without(order, "recovered", "id", "parent") for order in open_before
    }
    assert all(order["recovered"] for order in found["orders"])
    parents = {order["id"]: order["parent"] for order in open_before}
    assert {order["id"]: order["parent"] for order in found["orders"]} == parents
    assert sum(parent is not None for parent in parents.values()) == 2
    (seed,) = [line for line in second if line["what"] == "told" and line["seed"]]
    assert seed["price"] == pytest.approx(before["price"])
    assert told(second) == []  # the strategy knew everything
    assert trader.records() == records

    third = trader.run()
    assert [line for line in third if line["what"] == "found"] == [found | {"state": of(third, "found")["state"]}]
    assert told(third) == []
    assert trader.records() == records


BEFORE_ENTRY = {"group.after", "sent.after", "send.after"}  # in lockstep the single order leaves first


@pytest.mark.parametrize(
    "point", ["sent.after", "send.after", "event.before", "event.after", "group.after", "delivered.before"]
)
def test_what_a_crash_cut_off_is_told_once_by_the_next_process(
    venue: str, simulator: Endpoints, tmp_path: Path, point: str
) -> None:
    trader = Trader(venue, simulator, tmp_path)
    first = trader.run(kill_at=(point, 2 if point.startswith("event") else 1))
    known = {fill for line in told(first) for fill in line["fills"]}

    second = trader.run()

    heard = {fill for line in told(second) for fill in line["fills"]}
    again = {fill for line in told(second) for fill in line["recovered"]} & known
    fills = trader.fills()
    assert known | heard == fills.keys()
    assert not again or point == "delivered.before"  # it was told, and that was not written down any more
    counted = [fill for line in {line["id"]: line for line in told(second)}.values() for fill in line["fills"]]
    assert len(counted) == len(set(counted))
    after = of(second, "ready")
    assert after["size"] == pytest.approx(float(sum(fills.values())) * 0.999, abs=1e-4)  # less the fee in the coin
    if point in BEFORE_ENTRY:  # an entry that had not left is not sent on an old signal; the strategy may enter anew
        ended = [line["id"] for line in told(second) if line["status"] == "Canceled"]
        assert len(ended) == len(set(ended)) == 3  # it and its exits, each told once
        assert not [line for line in told(second) if line["fills"] and line["id"][:8] == ended[0][:8]]
    else:
        assert after["size"] > 0
    quiet = trader.records()

    third = trader.run()

    assert of(third, "found")["size"] == pytest.approx(after["size"])
    assert told(third) == []
    assert trader.records() == quiet

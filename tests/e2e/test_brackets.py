"""Brackets and OCO pairs on the served simulator: what is filled is protected, and every exit ends as it should."""

import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import backtrader as bt
import pytest

import btx
from tests.e2e.klines import Minute, flat, market, move
from tests.e2e.trading import Scripted, account, books_agree, run_on

Step = Callable[["Scene", Any], Any]

DEADLINE_S = 60.0
STEP = Decimal("0.00001")
STOP_TYPES = {"STOP_MARKET", "STOP_LIMIT"}
ENTRY, STOP, TARGET = 49_900, 49_500, 50_500


class Scene:
    """One run: what was placed, and after every bar whether what was filled is protected."""

    def __init__(self, path: Path, minutes: list[Minute], steps: Mapping[int, Step], **settings: Any) -> None:
        self.placed: dict[str, Any] = {}
        self.held: list[Decimal] = []  # by the brackets, after each bar
        self.most_stops = 0
        self._checks = settings.pop("is_protected", True)
        self.store = btx.load("binance", env="sim", scenario=market(path, minutes, **settings))
        self._steps = steps
        everything = dict.fromkeys(range(1, len(minutes) + 1), self._step)
        self.strategy: Any = run_on(self.store, everything, at_end=self._at_end)
        self.naked = self.store.session.naked()

    def _step(self, strategy: Scripted) -> None:
        if self._checks:
            self._is_protected()
        step = self._steps.get(strategy.live_bars)
        if step is not None:
            step(self, strategy)

    def _at_end(self, strategy: Scripted) -> None:
        books_agree(strategy)
        ledger = self.store.session.ledger()
        self.open = [order for order in ledger["orders"] if order["is_open"]]
        self.sold = sum(
            (Decimal(fill["quantity"]) for fill in ledger["fills"] if fill["side"] == "SELL"),
            Decimal(0),
        )

    def _is_protected(self) -> None:
        """The market stands still while the strategy thinks: by then everything that was filled has its stop."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            ledger = self.store.session.ledger()
            stops = [each for each in ledger["orders"] if each["is_open"] and each["order_type"] in STOP_TYPES]
            protected = sum((Decimal(each["quantity"]) - Decimal(each["filled"]) for each in stops), Decimal(0))
            held = sum(
                (Decimal(balance["free"]) + Decimal(balance["locked"]))
                for asset, balance in ledger["balances"].items()
                if asset == "BTC"
            )
            if protected == held // STEP * STEP:
                self.held.append(protected)
                self.most_stops = max(self.most_stops, len(stops))
                return
            assert time.monotonic() < deadline, (protected, held, ledger["orders"])

    def told(self, name: str) -> list[list[str]]:
        """Return what was told of each order placed under a name, without repeats."""
        return [_without_repeats(self.strategy.told(order)) for order in self.placed[name]]

    def order(self, name: str, index: int) -> Any:
        """Return an order as it was told last."""
        wanted = self.placed[name][index]
        return next(each for each in reversed(self.strategy.orders) if each.ref == wanted.ref)

    def filled(self, name: str) -> list[float]:
        return [pytest.approx(self.order(name, index).executed.size) for index in range(len(self.placed[name]))]


def _without_repeats(words: list[str]) -> list[str]:
    return [word for number, word in enumerate(words) if not number or word != words[number - 1]]


def bracket(name: str = "b", **changes: Any) -> Step:
    words = {"size": 1.0, "price": ENTRY, "stopprice": STOP, "limitprice": TARGET} | changes

    def place(scene: Scene, strategy: Any) -> None:
        scene.placed[name] = strategy.buy_bracket(**words)

    return place


DIP = [*flat(minutes=4), *move(50_000, 49_890, 1.0), *flat(49_895, 0.6, minutes=4)]


# --- brackets ------------------------------------------------------------------------------------------------


def test_each_part_that_is_filled_gets_its_stop_and_the_stop_closes_them_all(tmp_path: Path) -> None:
    scene = Scene(tmp_path, [*DIP, *move(49_895, 49_000), *flat(49_000, minutes=3)], {2: bracket()})

    assert len(set(scene.held)) >= 3  # nothing, a part, all of it
    assert max(scene.held) == Decimal("0.999")  # a part of the coin is the fee
    assert scene.most_stops >= 2
    assert scene.told("b") == [
        ["Submitted", "Accepted", "Partial", "Completed"],
        ["Submitted", "Accepted", "Partial", "Completed"],
        ["Submitted", "Accepted", "Canceled"],
    ]
    assert scene.filled("b") == [1.0, -0.999, 0.0]
    assert scene.open == []
    assert scene.strategy.position.size == 0
    assert 0 < scene.naked["longest_s"] <= scene.naked["total_s"] < DEADLINE_S


def test_the_target_closes_all_parts_and_no_stop_is_left(tmp_path: Path) -> None:
    scene = Scene(tmp_path, [*DIP, *move(49_895, 50_600), *flat(50_600, minutes=3)], {2: bracket()})

    assert scene.told("b")[1] == ["Submitted", "Accepted", "Canceled"]
    assert scene.told("b")[2][-1] == "Completed"
    assert scene.filled("b") == [1.0, 0.0, -0.999]
    assert scene.open == []


def test_what_a_target_has_not_sold_is_sold_by_the_stop(tmp_path: Path) -> None:
    partly = [*move(49_895, 50_499, 10), (50_499, 50_501, 50_499, 50_499, 0.5), *move(50_499, 49_900, 5)]
    scene = Scene(
        tmp_path, [*DIP, *partly, *flat(49_900, minutes=3), *move(49_900, 49_000), *flat(49_000)], {2: bracket()}
    )

    assert scene.told("b")[1][-1] == "Completed"
    assert scene.told("b")[2][-1] == "Canceled"
    _, stopped, reached = (scene.order("b", index).executed.size for index in range(3))
    assert stopped < 0
    assert reached < 0
    assert stopped + reached == pytest.approx(-0.999)
    assert scene.sold == Decimal("0.999")
    assert scene.open == []


def test_an_entry_that_is_cancelled_half_way_keeps_the_protection_of_what_it_bought(tmp_path: Path) -> None:
    scene = Scene(
        tmp_path,
        [*flat(minutes=4), *move(50_000, 49_890, 1.0), *flat(49_950, minutes=4), *move(49_950, 49_000), *flat(49_000)],
        {2: bracket(), 6: lambda scene, strategy: strategy.cancel(scene.placed["b"][0])},
    )

    bought = scene.order("b", 0).executed.size
    assert 0 < bought < 1
    assert scene.told("b")[0] == ["Submitted", "Accepted", "Partial", "Canceled"]
    assert scene.told("b")[1][-1] == "Completed"
    assert float(scene.sold) == pytest.approx(bought * 0.999, abs=1e-4)
    assert scene.open == []


def test_an_entry_that_is_cancelled_before_it_bought_takes_its_exits_with_it(tmp_path: Path) -> None:
    scene = Scene(
        tmp_path,
        flat(minutes=8),
        {2: bracket(), 4: lambda scene, strategy: strategy.cancel(scene.placed["b"][0])},
    )

    assert scene.told("b") == [["Submitted", "Accepted", "Canceled"]] * 3
    assert scene.open == []
    assert scene.naked == {"total_s": 0.0, "longest_s": 0.0}


def test_a_stop_that_is_moved_moves_for_every_part(tmp_path: Path) -> None:
    def moved(scene: Scene, strategy: Any) -> None:
        assert strategy.broker.amend(scene.placed["b"][1], price=49_800)

    def look(scene: Scene, _strategy: Any) -> None:
        ledger = scene.store.session.ledger()
        scene.placed["stops"] = {
            Decimal(each["trigger_price"]) for each in ledger["orders"] if each["is_open"] and each["trigger_price"]
        }

    scene = Scene(
        tmp_path,
        [*DIP, *flat(49_895, minutes=4), *move(49_895, 49_700), *flat(49_700, minutes=2)],
        {2: bracket(), 10: moved, 12: look},
    )

    assert scene.placed["stops"] == {Decimal(49_800)}
    assert scene.order("b", 1).created.price == 49_800
    assert scene.told("b")[1][-1] == "Completed"
    assert 49_700 <= scene.order("b", 1).executed.price <= 49_800
    assert scene.open == []


def test_an_exit_that_is_cancelled_takes_the_others_and_what_was_bought_stays(tmp_path: Path) -> None:
    scene = Scene(
        tmp_path,
        [*DIP, *flat(49_895, minutes=4), *move(49_895, 49_000), *flat(49_000)],
        {2: bracket(), 11: lambda scene, strategy: strategy.cancel(scene.placed["b"][1])},
        is_protected=False,
    )

    assert [words[-1] for words in scene.told("b")] == ["Completed", "Canceled", "Canceled"]
    assert scene.open == []
    assert scene.sold == 0
    assert scene.strategy.position.size == pytest.approx(0.999)


def test_a_sell_bracket_buys_back_what_was_sold_of_what_is_held(tmp_path: Path) -> None:
    def sell(scene: Scene, strategy: Any) -> None:
        scene.placed["b"] = strategy.sell_bracket(size=0.5, price=50_100, stopprice=50_600, limitprice=49_500)

    scene = Scene(
        tmp_path,
        [
            *flat(minutes=4),
            *move(50_000, 50_150),
            *flat(50_100, minutes=3),
            *move(50_100, 49_400),
            *flat(49_400, minutes=3),
        ],
        {2: sell},
        accounts=(account(USDT="1000000", BTC="2"),),
        is_protected=False,
    )

    assert scene.told("b")[0][-1] == "Completed"
    assert scene.told("b")[1] == ["Submitted", "Accepted", "Canceled"]
    assert scene.told("b")[2][-1] == "Completed"
    assert scene.filled("b") == [-0.5, 0.0, 0.5]
    assert scene.open == []


def test_three_brackets_share_the_venues_few_stops_and_everything_is_protected(tmp_path: Path) -> None:
    def three(scene: Scene, strategy: Any) -> None:
        for number, price in enumerate((49_900, 49_890, 49_880)):
            bracket(f"b{number}", size=1.0, price=price)(scene, strategy)

    crumbs = [minute for _ in range(4) for minute in (*move(49_950, 49_870, 0.9), *move(49_870, 49_950, 0.9))]
    scene = Scene(
        tmp_path,
        [
            *flat(minutes=4),
            *move(50_000, 49_950),
            *crumbs,
            *flat(49_870, minutes=3),
            *move(49_870, 49_000),
            *flat(49_000, minutes=3),
        ],
        {2: three},
    )

    assert scene.most_stops <= 5
    assert len(set(scene.held)) >= 4
    for number in range(3):
        assert scene.told(f"b{number}")[0][-1] == "Completed"
        assert scene.told(f"b{number}")[1][-1] == "Completed"
        assert scene.told(f"b{number}")[2][-1] == "Canceled"
    assert scene.open == []
    assert scene.strategy.position.size == 0


def test_a_native_bracket_rests_at_the_venue_after_a_complete_fill(tmp_path: Path) -> None:
    def look(scene: Scene, _strategy: Any) -> None:
        ledger = scene.store.session.ledger()
        scene.placed["waiting"] = {(each["side"], each["status"]) for each in ledger["orders"]}

    scene = Scene(
        tmp_path,
        [*DIP, *flat(49_895, 5, minutes=2), *move(49_895, 49_000), *flat(49_000, minutes=3)],
        {2: bracket(native_bracket=True), 3: look},
        is_protected=False,
    )

    assert scene.placed["waiting"] == {("BUY", "NEW"), ("SELL", "PENDING_NEW")}
    assert [words[-1] for words in scene.told("b")] == ["Completed", "Completed", "Canceled"]
    assert scene.open == []


def test_a_trailing_stop_protects_a_bracket_and_follows_the_market(tmp_path: Path) -> None:
    up = [*move(49_895, 50_200), *flat(50_200, minutes=2), *move(50_200, 50_400), *flat(50_400, minutes=2)]
    scene = Scene(
        tmp_path,
        [*DIP, *flat(49_895, 5, minutes=2), *up, *move(50_400, 50_000), *flat(50_000, minutes=3)],
        {2: bracket(stopexec=bt.Order.StopTrail, stopprice=None, stopargs={"trailamount": 300}, limitprice=52_000)},
        is_protected=False,
    )

    assert [words[-1] for words in scene.told("b")] == ["Completed", "Completed", "Canceled"]
    assert 50_000 <= scene.order("b", 1).executed.price <= 50_100  # 300 below the highest, not below the entry
    assert scene.open == []


# --- OCO ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("end", "winner"), [(50_600, 0), (49_400, 1)])
def test_of_an_oco_pair_one_fills_and_the_other_is_cancelled(tmp_path: Path, end: int, winner: int) -> None:
    def exits(scene: Scene, strategy: Any) -> None:
        target = strategy.sell(size=0.5, exectype=bt.Order.Limit, price=50_500)
        stop = strategy.sell(size=0.5, exectype=bt.Order.Stop, price=49_500, oco=target)
        scene.placed["pair"] = [target, stop]

    scene = Scene(
        tmp_path,
        [*flat(minutes=4), *move(50_000, end), *flat(end, minutes=3)],
        {2: exits},
        accounts=(account(USDT="1000", BTC="0.5"),),
        is_protected=False,
    )

    assert scene.told("pair")[winner][-1] == "Completed"
    assert scene.told("pair")[1 - winner] == ["Submitted", "Accepted", "Canceled"]
    assert scene.sold == Decimal("0.5")
    assert scene.open == []


@pytest.mark.parametrize(("end", "winner"), [(50_600, 0), (49_400, 1)])
def test_an_order_can_join_one_that_rests_already(tmp_path: Path, end: int, winner: int) -> None:
    def first(scene: Scene, strategy: Any) -> None:
        scene.placed["pair"] = [strategy.sell(size=0.5, exectype=bt.Order.Limit, price=50_500)]

    def second(scene: Scene, strategy: Any) -> None:
        (target,) = scene.placed["pair"]
        stop = strategy.sell(size=0.5, exectype=bt.Order.Stop, price=49_500, oco=target)
        scene.placed["pair"] = [target, stop]

    scene = Scene(
        tmp_path,
        [*flat(minutes=6), *move(50_000, end), *flat(end, minutes=3)],
        {2: first, 4: second},
        accounts=(account(USDT="1000", BTC="0.5"),),
        is_protected=False,
    )

    assert scene.told("pair")[winner][-1] == "Completed"
    assert scene.told("pair")[1 - winner][-1] == "Canceled"
    assert scene.sold == Decimal("0.5")
    assert scene.open == []

"""The books of a chaos run, side by side: the journal, the simulator's ledger, and what the strategy was told."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from btx.model.order import GroupKind, Order, Status
from btx.rules.positions import base_change
from btx.rules.recovery import History, replay, undelivered_bookings
from btx.storage.journal import read_journal

__all__ = ("Books",)

_ZERO = Decimal(0)
_EDGE = Decimal("1e-9")  # what backtrader's floats may differ from the ledger
_Row = Mapping[str, Any]


class Books:
    """The journal, the simulator's ledger, and what the strategy was told, side by side."""

    def __init__(self, *, folder: Path, ledger: Mapping[str, Any]) -> None:
        self._folder = folder
        self._ledger = ledger
        self._rows = {row["client_order_id"]: row for row in (*_waiting(ledger), *ledger["orders"])}
        self._history = self._read_history()
        told = folder / "told.jsonl"
        lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
        self._told = [json.loads(line) for line in lines]
        naked = folder / "naked.json"
        self.naked_s = float(json.loads(naked.read_text(encoding="utf-8"))["longest_s"]) if naked.exists() else 0.0

    @property
    def recovered(self) -> int:
        """Fills that a later process told in place of the one that died."""
        return sum(each["recovered"] for each in self._told)

    def _read_history(self) -> History:
        found = sorted(self._folder.glob("*/*/*/*/*/journal.sqlite"))
        if not found:
            return History()
        reader = read_journal(found[0])
        try:
            return replay(record for _, _, record in reader.records())
        finally:
            reader.close()

    def differences(self) -> Iterator[str]:
        """Yield every invariant that does not hold, in words."""
        yield from self._order_differences()
        yield from self._fill_differences()
        yield from self._group_differences()
        yield from self._strategy_differences()
        if self._history.halted is not None:
            yield f"trading was halted though nobody else traded: {self._history.halted.reason}"

    def _order_differences(self) -> Iterator[str]:
        ours = self._history.orders
        seen: dict[str, int] = {}
        for row in self._ledger["orders"]:
            order_id = row["client_order_id"]
            seen[order_id] = seen.get(order_id, 0) + 1
            if order_id not in ours:
                yield f"order {order_id} is at the venue and was never written down"
        yield from (f"order {order_id} was placed {count} times" for order_id, count in seen.items() if count > 1)
        for order_id, order in ours.items():
            yield from _state_differences(order_id, order, self._rows.get(order_id))

    def _fill_differences(self) -> Iterator[str]:
        theirs = {
            (row["client_order_id"], row["fill_id"]): tuple(Decimal(row[k]) for k in ("price", "quantity", "fee"))
            for row in self._ledger["fills"]
        }
        ours = {
            (order_id, fill.fill_id): (fill.price, fill.quantity, fill.fee)
            for order_id, order in self._history.orders.items()
            for fill in order.fills
        }
        for key in sorted({*ours, *theirs}):
            if ours.get(key) != theirs.get(key):
                yield f"fill {key}: journal {ours.get(key)}, venue {theirs.get(key)}"

    def _group_differences(self) -> Iterator[str]:
        for group_id, state in self._history.groups.items():
            group, legs = state.group, [o for o in self._history.orders.values() if o.leg.group_id == group_id]
            if group.kind is not GroupKind.BRACKET or group.entry is None:
                continue
            sign = group.entry.request.side.sign
            entered = sum((sign * _moved(o) for o in legs if o.leg.owner_id == group.entry.member_id), _ZERO)
            exited = sum((-sign * _moved(o) for o in legs if o.leg.owner_id != group.entry.member_id), _ZERO)
            if exited > entered:
                yield f"bracket {group_id}: {exited} left for {entered} that came in"
            yield from self._naked(group_id, legs, entered - exited)

    def _naked(self, group_id: str, legs: Sequence[Order], held: Decimal) -> Iterator[str]:
        state = self._history.groups[group_id]
        group = state.group
        assert group.entry is not None
        if group.withdrawn or state.is_over:
            return
        rows, covered = self._rows, _ZERO
        for member in group.members:
            resting = [o for o in legs if o.leg.owner_id == member.member_id and _rests(rows.get(o.client_order_id))]
            covered = max(covered, sum((o.quantity - o.filled for o in resting), _ZERO))
        instrument = group.entry.request.instrument
        waiting = [row for row in rows.values() if row["is_open"] and row["trigger_price"] is not None]
        if instrument.max_conditional_orders is not None and len(waiting) >= instrument.max_conditional_orders:
            return  # the venue takes no more stops: the price is watched by the process, and the user was told
        least = max(instrument.min_quantity, instrument.step_size)
        if held - covered >= least + instrument.step_size:
            price = group.entry.request.price or Decimal(1)
            if (held - covered) * price >= (instrument.min_notional or _ZERO):
                yield f"bracket {group_id}: {held} held and {covered} protected"

    def _strategy_differences(self) -> Iterator[str]:
        path = self._folder / "result.json"
        if not path.exists():
            yield "the strategy left no word of its end"
            return
        result = json.loads(path.read_text(encoding="utf-8"))
        if "positions" in self._ledger:
            yield from self._margin_differences(result)
        else:
            yield from self._spot_differences(result)
        yield from self._status_differences(result["statuses"])
        told = {each["fill"].rpartition("/")[2] for each in self._told}
        untold = {row["fill_id"] for row in self._ledger["fills"]} - told
        if untold:
            yield f"fills {', '.join(sorted(untold))} were never told to the strategy"

    def _spot_differences(self, result: _Row) -> Iterator[str]:
        balances = {
            asset: Decimal(each["free"]) + Decimal(each["locked"]) for asset, each in self._ledger["balances"].items()
        }
        cash = balances.get("USDT", _ZERO)
        if abs(Decimal(result["cash"]) - cash) > _EDGE:
            yield f"cash: backtrader {result['cash']}, venue {cash}"
        for name, size in result["positions"].items():
            held = balances.get(name.partition("/")[0], _ZERO)
            if abs(Decimal(size) - held) > Decimal("0.00001"):
                yield f"position {name}: backtrader {size}, venue {held}"

    def _margin_differences(self, result: _Row) -> Iterator[str]:
        """Compare positions, wallets and every kind of booking; of backtrader the positions."""
        ours, instruments = self._history.margin, self._history.margin.terms
        names = {each.instrument.venue_symbol: symbol for symbol, each in instruments.items()}
        theirs = {
            (names.get(row["symbol"], row["symbol"]), row["position_side"]): Decimal(row["quantity"])
            for row in self._ledger["positions"]
            if Decimal(row["quantity"])
        }
        counted = {(key.symbol, key.position_side.value): each.quantity for key, each in ours.positions.items()}
        for symbol, side in sorted(theirs.keys() | counted.keys()):
            there, here = theirs.get((symbol, side), _ZERO), counted.get((symbol, side), _ZERO)
            if there != here:
                yield f"position {symbol} {side}: journal {here}, venue {there}"
            shown = Decimal(result["positions"].get(f"{symbol} {side}", "0"))
            if abs(shown - there) > _EDGE:
                yield f"position {symbol} {side}: backtrader {shown}, venue {there}"
        for asset, wallet in self._ledger["wallets"].items():
            if (there := Decimal(wallet["wallet"])) != ours.wallet(asset):
                yield f"wallet {asset}: journal {ours.wallet(asset)}, venue {there}"
        sums: Counter[tuple[str, str]] = Counter()
        for row in self._ledger["bookings"]:
            sums[row["kind"], row["asset"]] += Decimal(row["amount"])  # type: ignore[assignment] # it adds anything
        for (kind, asset), total in ours.bookings.items():
            if sums[kind.value, asset] != total:
                yield f"{kind.value} in {asset}: journal {total}, venue {sums[kind.value, asset]}"
        if untold := undelivered_bookings(self._history):
            yield f"bookings {', '.join(each.booking_id for each in untold)} were never told to the strategy"

    def _status_differences(self, statuses: Mapping[str, str]) -> Iterator[str]:
        """Compare what the strategy was told last with the venue, of orders that are one order at the venue, too."""
        legs = Counter(order.leg.owner_id for order in self._history.orders.values())
        for row in self._ledger["orders"]:
            told = statuses.get(row["client_order_id"])
            if told is None or legs[row["client_order_id"]] != 1 or row["client_order_id"] not in self._history.orders:
                continue
            expected = _TOLD[row["status"]]
            if told not in expected:
                yield f"order {row['client_order_id']}: the strategy was told {told}, the venue says {row['status']}"


# What backtrader calls each of the venue's words; an expiry that the core made is a cancel at the venue.
_TOLD = {
    "NEW": {"Accepted"},
    "PARTIALLY_FILLED": {"Partial"},
    "FILLED": {"Completed"},
    "CANCELED": {"Canceled", "Expired"},
    "EXPIRED": {"Expired", "Canceled"},
    "REJECTED": {"Rejected", "Margin"},
    "PENDING_NEW": {"Submitted", "Accepted"},
}


def _state_differences(order_id: str, order: Order, row: Mapping[str, Any] | None) -> Iterator[str]:
    if row is None:
        if order.status is not Status.REJECTED:
            yield f"order {order_id} is not at the venue and the journal says {order.status.value}"
    elif bool(row["is_open"]) is order.status.is_final or order.status is Status.UNKNOWN:
        yield f"order {order_id}: journal {order.status.value}, venue {row['status']}"


def _moved(order: Order) -> Decimal:
    instrument = order.leg.request.instrument
    if instrument.kind.is_margined:  # a fee in the base coin comes from the wallet, not from the position
        return sum((fill.side.sign * fill.quantity for fill in order.fills), _ZERO)
    return sum((base_change(fill, base=instrument.base) for fill in order.fills), _ZERO)


def _waiting(ledger: _Row) -> Iterator[_Row]:
    """Yield conditional orders as if they were orders: one that has triggered is the order it became."""
    for row in ledger.get("conditionals", ()):
        if row["order_id"] is None:
            yield {**row, "is_open": row["state"] in {"NEW", "TRIGGERING"}, "status": row["state"]}


def _rests(row: Mapping[str, Any] | None) -> bool:
    return row is not None and bool(row["is_open"])

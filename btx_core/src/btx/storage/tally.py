"""What the live path made of the frames: closed bars, fills, orders, balances, and their digest."""

import hashlib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from btx.model.account import AccountSnapshot, PositionReport
from btx.model.market import Bar
from btx.model.order import Fill, Order, OrderReport, Status

__all__ = ("Tally",)


@attrs.define
class _Bars:
    count: int = 0
    last_open_ns: int = -1
    digest: Any = attrs.field(factory=hashlib.sha256)


class Tally:
    """Counts what a run delivered. Of one bar that two feeds share, the first delivery counts."""

    def __init__(self) -> None:
        self._bars: dict[str, _Bars] = {}
        self._fills: dict[str, str] = {}
        self._own: dict[str, str] = {}
        self._orders: dict[str, tuple[str, bool]] = {}  # what is known of it, and whether it is over

    def bar(self, bar: Bar) -> tuple[str, str] | None:
        """Count a closed bar; return its data and what it says, None when it was counted before."""
        name = f"{bar.symbol} {bar.interval}"
        bars = self._bars.setdefault(name, _Bars())
        if bar.open_ns <= bars.last_open_ns:
            return None
        prices = " ".join(map(_plain, (bar.open, bar.high, bar.low, bar.close, bar.volume)))
        line = f"{bar.open_ns} {prices}"
        bars.count += 1
        bars.last_open_ns = bar.open_ns
        bars.digest.update(line.encode())
        return name, line

    def account(self, event: OrderReport | Fill) -> str | None:
        """Count what was told of an order; return it in words, None when it is nothing new."""
        if isinstance(event, Fill):
            key = f"{event.symbol} {event.fill_id}"
            if key in self._fills:
                return None
            fee = "" if event.fee is None else f" fee {_plain(event.fee)} {event.fee_asset}"
            line = f"{event.side.value} {_plain(event.quantity)} at {_plain(event.price)}{fee}"
            self._fills[key] = line
            return f"fill {key}: {line}"
        line = f"{event.status.value} {_plain(event.filled)}"
        before = self._orders.get(event.client_order_id)
        if before is not None and (before[0] == line or before[1]):
            return None
        self._orders[event.client_order_id] = line, event.status.is_final
        return f"order {event.client_order_id}: {line}"

    def own(self, order: Order) -> str | None:
        """Count a step of an order of ours, whoever told it; return it in words, None when nothing changed."""
        status = order.status
        if status is Status.PENDING_CANCEL:  # what we asked for is not what came of it
            status = Status.PARTIALLY_FILLED if order.fills else Status.NEW
        line = f"{status.value} {_plain(order.filled)} of {_plain(order.quantity)} in {len(order.fills)} fills"
        if self._own.get(order.client_order_id) == line:
            return None
        self._own[order.client_order_id] = line
        return f"our order {order.client_order_id}: {line}"

    def state(self, account: AccountSnapshot | None) -> dict[str, Any]:
        """Return everything as values JSON knows; equal runs give equal ones."""
        balances = account.balances if account is not None else {}
        positions = account.positions if account is not None else ()
        return {
            "bars": {
                name: {"count": bars.count, "last_open_ns": bars.last_open_ns, "sha256": bars.digest.hexdigest()}
                for name, bars in sorted(self._bars.items())
            },
            "fills": {"count": len(self._fills), "sha256": _digest(self._fills)},
            "orders": {
                "count": len(self._orders),
                "sha256": _digest({name: line for name, (line, _) in self._orders.items()}),
            },
            "own": {"count": len(self._own), "sha256": _digest(self._own)},
            "open_orders": {name: line for name, (line, is_over) in sorted(self._orders.items()) if not is_over},
            "balances": {
                asset: f"{_plain(balance.free)} + {_plain(balance.locked)}"
                for asset, balance in sorted(balances.items())
                if balance.total
            },
        } | ({"positions": _positions(positions)} if positions else {})


def _positions(reports: Iterable[PositionReport]) -> dict[str, str]:
    found = {}
    for each in sorted(reports, key=lambda each: (each.symbol, each.position_side.value)):
        entry = each.entry_price or Decimal(0)
        found[f"{each.symbol} {each.position_side.value}"] = f"{_plain(each.quantity)} at {_plain(entry)}"
    return found


def _digest(lines: Mapping[str, str]) -> str:
    text = "\n".join(f"{name} {line}" for name, line in sorted(lines.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"

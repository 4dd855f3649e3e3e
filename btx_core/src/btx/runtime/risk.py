"""The limits of one account, asked before every order: whoever orders on it shares one exposure."""

import datetime
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal

from btx.errors import BtxError
from btx.model.account import AccountSnapshot
from btx.model.instrument import Instrument
from btx.model.order import Order, OrderRequest, Side
from btx.model.time import NS_PER_MINUTE, NS_PER_S
from btx.rules.risk import Exposure, Limits, check_daily_loss, check_risk

__all__ = ("RiskDesk",)

_log = logging.getLogger("btx.risk")
_ZERO = Decimal(0)
_UNSEEN_NS = 60 * NS_PER_S  # an order that was vetted and is not among the orders by then never became one

Rate = Callable[[str, str], Decimal | None]


class RiskDesk:
    """Vets orders against limits. Any thread; two orders at once are vetted one after the other.

    Args:
        limits: what an order must keep.
        currency: what equity is counted in.
        now_ns: the market's time.
        rate: the price of one asset in another, None where it is not known.
        orders: the account's orders as they are now; those that are settled may be left out.
        is_known: says whether an order of this client order id was ever among them.
        account: the account as it is now.
        position: the position that an order is about; by default what the account owns of a spot
            instrument's base coin, and nothing of any other.
        equity: what there is, by asset; by default the account's totals. Of a margin account with what open
            positions would bring.
        price: an instrument's last price, None where it is not known; by default the rate of its base coin.
        zone: where a day begins at midnight.
        state: what :meth:`state` said in an earlier run, so that a restart does not begin the day anew.

    A transfer to or from the account counts as a profit or loss of the day.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        currency: str,
        now_ns: Callable[[], int],
        rate: Rate,
        orders: Callable[[], Iterable[Order]],
        is_known: Callable[[str], bool],
        account: Callable[[], AccountSnapshot],
        position: Callable[[OrderRequest], Decimal] | None = None,
        equity: Callable[[], Mapping[str, Decimal]] | None = None,
        price: Callable[[Instrument], Decimal | None] | None = None,
        zone: datetime.tzinfo = datetime.UTC,
        state: str | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.limits = limits
        self._currency = currency
        self._now_ns = now_ns
        self._rate = rate
        self._orders = orders
        self._is_known = is_known
        self._account = account
        self._position = position or self._held
        self._equity = equity or self._totals
        self._price = price or (lambda instrument: rate(instrument.base, instrument.quote))
        self._zone = zone
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()
        self._left_ns: deque[int] = deque()
        self._unseen: dict[str, tuple[int, OrderRequest]] = {}  # vetted, and not among the orders yet
        self._day = ""
        self._day_start: Decimal | None = None
        self._is_whole = True  # everything that is held has its price in the equity
        self._unpriced: dict[str, Decimal] = {}  # what was held at the day's start and had no price then
        if state is not None:
            self._restore(state)

    def vet(
        self, request: OrderRequest, *, worst_price: Decimal | None = None, replaces: Collection[str] = ()
    ) -> str | None:
        """Return why an order must not leave, None when it may; then tell :meth:`sent` that it does.

        ``worst_price`` is where a market order of this size would end in the book, where that is known.
        ``replaces`` are the owners and groups whose orders it takes the place of.
        """
        with self._lock:
            now_ns, equity = self._now_ns(), self._mark()
            instrument = request.instrument
            open_orders = [
                each
                for each in self._open_orders(instrument)
                if not {each[0], each[1]} & set(replaces) and each[2].position_side is request.position_side
            ]
            quote_rate = self._rate(instrument.quote, self._currency)
            if quote_rate is None:
                return (
                    f"{instrument.quote} has no price in {self._currency} yet, so no limit can be checked: wait for one"
                )
            exposure = Exposure(
                now_ns=now_ns,
                equity=equity,
                day_start_equity=self._day_start,
                position=self._position(request),
                pending_buys=_pending(open_orders, Side.BUY),
                pending_sells=_pending(open_orders, Side.SELL),
                last_price=self._price(instrument),
                worst_price=worst_price,
                quote_rate=quote_rate,
                order_times_ns=tuple(self._left_ns),
            )
            breach = check_risk(self.limits, request, exposure)
        return breach.text if breach is not None else None

    def sent(self, client_order_id: str, request: OrderRequest) -> None:
        """Count an order that leaves now: it is pending from here on, also before it is among the orders."""
        with self._lock:
            now_ns = self._now_ns()
            while self._left_ns and self._left_ns[0] <= now_ns - NS_PER_MINUTE:
                self._left_ns.popleft()
            self._left_ns.append(now_ns)
            self._unseen[client_order_id] = (self._monotonic_ns(), request)

    def look(self) -> None:
        """Begin the day where one has begun, and value what had no price then; ask every second or so."""
        with self._lock:
            if self._today() != self._day or any(self._rate(each, self._currency) for each in self._unpriced):
                self._mark()

    def daily_loss(self) -> str | None:
        """Return why trading must halt, None while the day's loss is within its limit.

        While something that is held has no price, nobody can say what was lost.
        """
        with self._lock:
            equity = self._mark()
            if not self._is_whole:
                return None
            breach = check_daily_loss(self.limits, equity=equity, day_start_equity=self._day_start)
        return breach.text if breach is not None else None

    def resumed(self) -> None:
        """Measure the day's loss from now on: the user has looked at what was lost."""
        with self._lock:
            self._day = ""
            self._mark()

    def state(self) -> str:
        """Return what a later run of the same day must know."""
        with self._lock:
            return json.dumps(
                {
                    "day": self._day,
                    "equity": str(self._day_start),
                    "unpriced": {asset: str(total) for asset, total in self._unpriced.items()},
                }
            )

    def _restore(self, state: str) -> None:
        try:
            fields = json.loads(state)
            self._unpriced = {asset: Decimal(total) for asset, total in fields["unpriced"].items()}
            self._day_start = Decimal(fields["equity"])
            self._day = fields["day"]
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise BtxError(f"the day's start cannot be read from {state!r}: {error!r}") from error

    def _mark(self) -> Decimal:
        """Return the equity now; the first of a day is what its loss is measured from."""
        totals = {asset: total for asset, total in self._equity().items() if total}
        rates = {asset: self._rate(asset, self._currency) for asset in {*totals, *self._unpriced}}
        equity = sum((totals[asset] * (rates[asset] or _ZERO) for asset in totals), _ZERO)
        if (day := self._today()) != self._day:
            self._day, self._day_start = day, equity
            self._unpriced = {asset: total for asset, total in totals.items() if rates[asset] is None}
            _log.info("the day's loss is measured from %s %s", equity, self._currency)
        for asset, total in tuple(self._unpriced.items()):
            if (price := rates[asset]) is not None and self._day_start is not None:
                self._day_start += total * price  # it was there, only its worth was not known
                del self._unpriced[asset]
        # After a restart the day's start may hold what has no price in this process yet.
        self._is_whole = all(rates[asset] is not None or asset in self._unpriced for asset in totals)
        return equity

    def _today(self) -> str:
        return datetime.datetime.fromtimestamp(self._now_ns() // NS_PER_S, self._zone).date().isoformat()

    def _open_orders(self, instrument: Instrument) -> list[tuple[str, str, OrderRequest, Decimal]]:
        """Return (group, owner, request, what may still fill) of the orders of an instrument."""
        too_old_ns = self._monotonic_ns() - _UNSEEN_NS
        # Before the orders are looked at: what becomes known in between is then counted there.
        self._unseen = {
            each: entry for each, entry in self._unseen.items() if entry[0] > too_old_ns and not self._is_known(each)
        }
        found, seen = [], set()
        for order in self._orders():
            seen.add(order.client_order_id)
            leg = order.leg
            if leg.request.instrument.symbol == instrument.symbol and not order.status.is_final:
                group = leg.group_id or leg.list_id or leg.owner_id
                found.append((group, leg.owner_id, leg.request, order.remaining))
        found.extend(
            (each, each, request, request.quantity)
            for each, (_, request) in self._unseen.items()
            if each not in seen and request.instrument.symbol == instrument.symbol
        )
        return found

    def _totals(self) -> Mapping[str, Decimal]:
        return {asset: balance.total for asset, balance in self._account().balances.items()}

    def _held(self, request: OrderRequest) -> Decimal:
        instrument = request.instrument
        if instrument.kind.is_margined:
            return _ZERO
        balance = self._account().balances.get(instrument.base)
        return balance.total if balance is not None else _ZERO


def _pending(orders: Collection[tuple[str, str, OrderRequest, Decimal]], side: Side) -> Decimal:
    """Return what open orders may still fill on one side; of a group's alternatives only the largest can."""
    groups: dict[str, dict[str, Decimal]] = {}
    for group, owner, request, remaining in orders:
        if request.side is side:
            owners = groups.setdefault(group, {})
            owners[owner] = owners.get(owner, _ZERO) + remaining
    return sum((max(owners.values()) for owners in groups.values()), _ZERO)

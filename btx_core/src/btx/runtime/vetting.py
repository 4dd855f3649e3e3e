"""What an order must pass before it leaves: halts, the day's loss, the limits, and what the account has."""

from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from typing import Any

import attrs

from btx.errors import RiskVetoError
from btx.model.account import AccountSnapshot
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import Leg, Order, OrderRequest, PositionSide, Side
from btx.model.time import NS_PER_S, iso
from btx.rules.risk import DAY_START, NO_LIMITS, lacking_margin
from btx.runtime.facts import Facts
from btx.runtime.risk import RiskDesk

__all__ = ("Vetting",)

_ZERO = Decimal(0)


class Vetting:
    """Refuses orders of one run; the strategy's thread asks it. Before :meth:`begin` there are no limits.

    ``orders`` are those that are not settled; ``halt`` ends the trading for the
    day, and ``save`` keeps a text for the next process. ``age_ns`` says how old a bar
    of an instrument is now by its close.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        is_margined: bool,
        orders: Callable[[], Collection[Order]],
        is_known: Callable[[str], bool],
        account: Callable[[], AccountSnapshot],
        fees: Callable[[Instrument], FeeSchedule],
        halt: Callable[[str], None],
        save: Callable[[str, str], None],
        age_ns: Callable[[Instrument, int], int],
    ) -> None:
        self._facts = facts
        self._is_margined = is_margined
        self._orders = orders
        self._is_known = is_known
        self._account = account
        self._fees = fees
        self._halt = halt
        self._save = save
        self._age_ns = age_ns
        self._handed_over: dict[str, tuple[OrderRequest, int | None]] = {}  # by owner, with how old its bar may be
        self._risk: RiskDesk | None = None

    def begin(self) -> None:
        """Hold orders to the limits from here on: the account is known."""
        facts = self._facts
        on_margin: dict[str, Any] = {"equity": facts.equity, "position": facts.position} if self._is_margined else {}
        self._risk = RiskDesk(
            facts.settings.limits,
            currency=facts.settings.currency,
            now_ns=facts.clock.market_ns,
            rate=facts.rate,
            orders=self._orders,
            is_known=self._is_known,
            account=self._account,
            state=facts.states.get(DAY_START),
            price=facts.last_price,
            **on_margin,
        )

    def check(self, request: OrderRequest) -> None:
        """Let an order pass.

        Raises:
            RiskVetoError: trading is halted, and this is no reduction; or it breaks one of the limits.
        """
        self.check_halt(request)
        if self._risk is None:
            return
        if (loss := self._risk.daily_loss()) is not None and not self._reduces(request):
            self._halt(loss)
            raise RiskVetoError(loss)
        if (breach := self._risk.vet(request)) is not None:
            lacking = self._lacking(request)
            raise RiskVetoError(f"{breach}{lacking}", lacks_funds=bool(lacking))
        if (unaffordable := self._lacking_margin(request)) is not None:
            raise RiskVetoError(unaffordable, lacks_funds=True)

    def check_halt(self, request: OrderRequest) -> None:
        """Let an order pass while trading is halted, if it is a reduction.

        Raises:
            RiskVetoError: it is none.
        """
        halted = self._facts.halted
        if halted is not None and not self._reduces(request):
            raise RiskVetoError(f"trading is halted: {halted}; reductions pass, `btx resume` ends it")

    def check_amendment(self, owner_id: str, request: OrderRequest, legs: Sequence[Order]) -> None:
        """Hold what an order will be to the limits: in place of what it is, and without what its legs have filled.

        What becomes smaller and nothing else passes.

        Raises:
            RiskVetoError: it would grow beyond a limit.
        """
        if self._risk is None:
            return
        rest = request.quantity - sum((order.filled for order in legs), _ZERO)
        if rest <= 0 or (legs and _only_shrinks(legs[-1], request, rest)):
            return
        replaces = {owner_id} | {order.leg.group_id for order in legs if order.leg.group_id is not None}
        if (breach := self._risk.vet(attrs.evolve(request, quantity=rest), replaces=replaces)) is not None:
            raise RiskVetoError(breach)

    def hands_over(self, owner_id: str, request: OrderRequest, max_age_ns: int | None) -> None:
        """Know an order that stands alone, or enters a bracket, and how old its bar may be when it leaves."""
        self._handed_over[owner_id] = request, max_age_ns

    def overtaken(self, leg: Leg) -> str | None:
        """Return why an order that passed must not leave any more, None when it still may. Any thread.

        Never of an exit, or of what the core holds until its price comes: those protect, or were decided long ago.
        """
        asked, max_age_ns = self._handed_over.get(leg.owner_id, (None, None))
        if asked is None or asked.order_type is not leg.request.order_type:
            return None
        request = attrs.evolve(leg.request, quantity=leg.quantity)
        try:
            self.check_halt(request)
        except RiskVetoError as error:
            return str(error)
        age_ns = self._age_ns(request.instrument, request.signal_ns)
        if max_age_ns is None or age_ns <= max_age_ns:
            return None
        return (
            f"stale: its bar closed {age_ns / NS_PER_S:.1f} s ago, at {iso(request.signal_ns)}, "
            f"and max_signal_age is {max_age_ns / NS_PER_S:g} s"
        )

    def sent(self, client_order_id: str, request: OrderRequest) -> None:
        """Count an order that passed and was sent."""
        if self._risk is not None:
            self._risk.sent(client_order_id, request)
            self._keep_day(self._risk)

    def look(self) -> None:
        """Have the day's loss measured from the day's beginning, not from its first order; ask now and then."""
        if self._risk is not None:
            self._risk.look()
            self._keep_day(self._risk)

    def resumed(self) -> None:
        """Take it that the user ended a halt."""
        if self._risk is not None:
            self._risk.resumed()
            self._keep_day(self._risk)

    def _keep_day(self, risk: RiskDesk) -> None:
        day = risk.state()
        if day != self._facts.states.get(DAY_START):
            self._save(DAY_START, day)

    def _lacking_margin(self, request: OrderRequest) -> str | None:
        """Return why the account has not the margin for an order, None where it has or where that is not known."""
        facts, instrument = self._facts, request.instrument
        account, mark = facts.margin, facts.marks.get(instrument.symbol)
        leverage = facts.leverages.get(instrument.symbol)
        if account is None or mark is None or leverage is None or request.reduce_only:
            return None
        if facts.settings.limits == NO_LIMITS:
            return None  # whoever switched the limits off leaves it to the venue
        opening = [
            attrs.evolve(each.leg.request, quantity=each.remaining)
            for each in self._orders()
            if each.leg.request.instrument.symbol == instrument.symbol
            and _opens(each.leg.request)
            and not each.status.is_final
            and each.remaining > 0
        ]
        return lacking_margin(
            account,
            request,
            leverage=leverage,
            price=request.price or request.trigger_price or facts.last_price(instrument) or mark.mark_price,
            mark_price=mark.mark_price,
            open_orders=opening,
            fee_rate=self._fees(instrument).taker,
        )

    def _lacking(self, request: OrderRequest) -> str:
        """Return what to say of an order that the account has not the balance for, as far as prices are known."""
        instrument, account = request.instrument, self._account()
        price = request.price or request.trigger_price or self._facts.rate(instrument.base, instrument.quote)
        if request.reduce_only or instrument.kind.is_margined or price is None:
            return ""
        is_buy = request.side is Side.BUY
        asset, needed = (instrument.quote, request.quantity * price) if is_buy else (instrument.base, request.quantity)
        balance = account.balances.get(asset)
        free = balance.free if balance is not None else _ZERO
        return f"; insufficient balance: {free.normalize():f} {asset} are free" if needed > free else ""

    def _reduces(self, request: OrderRequest) -> bool:
        """Say whether an order can only make a holding smaller: on spot, a sale of what is there."""
        if request.reduce_only:
            return True
        if request.instrument.kind.is_margined:
            return request.quantity <= -request.side.sign * self._facts.position(request)
        account = self._facts.account_now
        balance = account.balances.get(request.instrument.base) if account is not None else None
        return request.side is Side.SELL and balance is not None and request.quantity <= balance.total


def _opens(request: OrderRequest) -> bool:
    """Say whether an order may open a position."""
    if request.reduce_only or request.position_side is PositionSide.NET:
        return not request.reduce_only
    return (request.side is Side.BUY) is (request.position_side is PositionSide.LONG)


def _only_shrinks(newest: Order, request: OrderRequest, rest: Decimal) -> bool:
    """Say whether an amendment asks for less than what is open, at the same prices."""
    now = newest.leg.request
    same = (now.price, now.trigger_price, now.trail_amount) == (
        request.price,
        request.trigger_price,
        request.trail_amount,
    )
    return same and not newest.status.is_final and rest <= newest.remaining

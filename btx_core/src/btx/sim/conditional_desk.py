"""Where conditional orders wait, and what becomes of them when their price comes."""

import itertools
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import attrs

from btx.model.venue import SimAccount
from btx.sim.conditionals import (
    ConditionalEvent,
    ConditionalState,
    SimConditional,
    child_of,
    followed,
    wakes,
)
from btx.sim.engine import Engine, Waiting
from btx.sim.liquidity import Liquidity
from btx.sim.margin_account import MarginClient, Valuation
from btx.sim.margin_gate import MarginGate, reducible
from btx.sim.marks import Marks
from btx.sim.orders import (
    ExecutionKind,
    Listing,
    PriceKind,
    Refused,
)

__all__ = ("ConditionalDesk",)


class ConditionalDesk(Engine[MarginClient]):
    """Accounts on margin with orders that wait for a price of trades or of marks."""

    def __init__(
        self,
        *,
        listings: Iterable[Listing],
        accounts: Iterable[SimAccount],
        market: Liquidity,
        marks: Marks,
        listener: Callable[[object], None],
    ) -> None:
        super().__init__(
            listings=listings,
            accounts=[MarginClient(api_key=account.api_key, wallet=dict(account.balances)) for account in accounts],
            market=market,
            listener=listener,
        )
        self.marks = marks
        self.pulse = 0  # counts what changes which marks matter: executions and conditional orders
        self._valuation = Valuation(self.listings, lambda symbol: marks.mark(symbol).mark_price)
        self._gate = MarginGate(self.listings, market, self._offers, self._valuation)
        self._conditional_ids = itertools.count(1)
        self._conditionals: dict[str, dict[int, MarginClient]] = {symbol: {} for symbol in self.listings}

    def has_orders(self, venue_symbol: str) -> bool:
        """Tell whether any account has an open or conditional order there, so that single trades matter."""
        return super().has_orders(venue_symbol) or bool(self._conditionals[venue_symbol])

    def _step(
        self,
        account: MarginClient,
        conditional: SimConditional,
        state: ConditionalState,
        now_ns: int,
        **changes: Any,
    ) -> SimConditional:
        """Let a conditional order take a step, and tell it."""
        conditional = attrs.evolve(conditional, state=state, updated_ns=now_ns, **changes)
        account.keep_conditional(conditional)
        self.pulse += 1
        if conditional.is_open:
            self._conditionals[conditional.venue_symbol][conditional.conditional_id] = account
        else:
            self._conditionals[conditional.venue_symbol].pop(conditional.conditional_id, None)
        account.sequence = next(self._sequences)
        self._listener(
            ConditionalEvent(
                api_key=account.api_key, sequence=account.sequence, conditional=conditional, time_ns=now_ns
            )
        )
        return conditional

    def _wake(self, listing: Listing, waiting: Waiting[MarginClient], price: Decimal, now_ns: int) -> None:
        assert all(resting is not None for _, (_, resting) in waiting), "what waits is in an id space of its own"
        self._wake_conditionals(listing, PriceKind.LAST, price, now_ns)

    def _wake_conditionals(self, listing: Listing, kind: PriceKind, price: Decimal, now_ns: int) -> None:
        here = self._conditionals[listing.venue_symbol]
        for number, account in tuple(here.items()):
            conditional = account.conditionals[number]
            if number not in here or conditional.trigger_by is not kind or conditional.created_ns > now_ns:
                continue
            if conditional.trail_bps is not None:
                conditional = followed(conditional, price, now_ns)
                account.keep_conditional(conditional)
            if wakes(conditional, price):
                self._trigger(account, listing, conditional, now_ns)

    def _trigger(self, account: MarginClient, listing: Listing, conditional: SimConditional, now_ns: int) -> None:
        """Let a conditional order make its order, or be rejected."""
        conditional = self._step(account, conditional, ConditionalState.TRIGGERING, now_ns, triggered_ns=now_ns)
        quantity = conditional.quantity
        if quantity is None:
            quantity = reducible(account, listing, conditional)
        child = child_of(conditional, quantity)
        try:
            self._gate.check(account, child, now_ns, parent=conditional)
        except Refused as refused:
            self._step(account, conditional, ConditionalState.REJECTED, now_ns, reject_reason=refused.reason)
            return
        order = self._made(child, now_ns, order_id=next(self._order_ids))
        order = attrs.evolve(order, conditional_id=conditional.conditional_id)
        self._keep(account, order)
        self._tell(account, ExecutionKind.NEW, order, now_ns, changed=())
        self._step(account, conditional, ConditionalState.TRIGGERED, now_ns, order_id=order.order_id)
        self._execute(account, listing, order, now_ns)

"""Where conditional orders wait, and what becomes of them when their price comes."""

import itertools
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import attrs

from btx.model.order import PositionSide, Side
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
from btx.sim.manners import BINANCE, Manners
from btx.sim.margin_account import MarginClient, Valuation
from btx.sim.margin_gate import MarginGate, reducible
from btx.sim.marks import Marks
from btx.sim.orders import (
    ExecutionKind,
    Exit,
    Listing,
    NewOrder,
    PriceKind,
    Refused,
    SimOrder,
)

__all__ = ("ConditionalDesk", "exit_order")


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
        manners: Manners = BINANCE,
    ) -> None:
        super().__init__(
            listings=listings,
            accounts=[
                MarginClient(
                    api_key=account.api_key,
                    wallet=dict(account.balances),
                    default_leverage=manners.default_leverage,
                )
                for account in accounts
            ],
            market=market,
            listener=listener,
            manners=manners,
        )
        self.marks = marks
        self.pulse = 0  # counts what changes which marks matter: executions and conditional orders
        self._valuation = Valuation(
            self.listings, lambda symbol: marks.mark(symbol).mark_price, charges_closing=manners.charges_closing
        )
        self._gate = MarginGate(
            self.listings, market, self._offers, self._valuation, price_of=self.price_of, manners=manners
        )
        self._conditional_ids = itertools.count(1)
        self._conditionals: dict[str, dict[int, MarginClient]] = {symbol: {} for symbol in self.listings}

    def has_orders(self, venue_symbol: str) -> bool:
        """Tell whether any account has an open or conditional order there, so that single trades matter."""
        return super().has_orders(venue_symbol) or bool(self._conditionals[venue_symbol])

    def price_of(self, venue_symbol: str, kind: PriceKind) -> Decimal:
        """Return the price of now that conditional orders of this kind wait for."""
        if kind is PriceKind.LAST:
            return self._market.last_price(venue_symbol)
        mark = self.marks.mark(venue_symbol)
        return mark.mark_price if kind is PriceKind.MARK else mark.index_price

    def _await(self, account: MarginClient, order: NewOrder, now_ns: int) -> SimConditional:
        """Let an order wait for its price, and tell it; it was looked at before."""
        number = next(self._conditional_ids)
        conditional = SimConditional(
            conditional_id=number,
            client_order_id=order.client_order_id or f"btxsimalgo{number}",
            venue_symbol=order.venue_symbol,
            side=order.side,
            position_side=order.position_side,
            order_type=order.order_type,
            time_in_force=order.time_in_force,
            post_only=order.post_only,
            quantity=order.quantity,
            price=order.price,
            trigger_price=order.trigger_price,
            trigger_by=order.trigger_by,
            trail_bps=order.trail_bps,
            reduce_only=order.reduce_only,
            close_position=order.close_position,
            good_till_ns=order.good_till_ns,
            trail_distance=order.trail_distance,
            exits=order.exits,
            is_exit=order.is_exit,
            pair=order.pair,
            memo=order.memo,
            state=ConditionalState.NEW,
            created_ns=now_ns,
            updated_ns=now_ns,
        )
        return self._step(account, conditional, ConditionalState.NEW, now_ns)

    def _set_exits(self, account: MarginClient, order: SimOrder, opened: Decimal, now_ns: int) -> None:
        """Let the exits of an order guard what it has opened; nothing is asked of them any more."""
        pair = f"order-{order.order_id}"
        for each in order.exits:
            found = account.exit(order.venue_symbol, order.position_side, each.order_type, each.is_whole, pair)
            if found is None:
                asked = exit_order(
                    each,
                    order.venue_symbol,
                    order.side,
                    position_side=order.position_side,
                    quantity=opened,
                    pair=pair,
                )
                self._await(account, asked, now_ns)
            elif not each.is_whole:
                assert found.quantity is not None, "only whole ones have none"
                self._step(account, found, ConditionalState.NEW, now_ns, quantity=found.quantity + opened)
            elif (found.trigger_price, found.trigger_by) != (each.trigger_price, each.trigger_by):
                changes = {"trigger_price": each.trigger_price, "trigger_by": each.trigger_by}
                self._step(account, found, ConditionalState.NEW, now_ns, **changes)

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
            if conditional.trails:
                conditional = followed(conditional, price, now_ns)
                account.keep_conditional(conditional)
            if wakes(conditional, price):
                self._trigger(account, listing, conditional, now_ns)

    def _trigger(self, account: MarginClient, listing: Listing, conditional: SimConditional, now_ns: int) -> None:
        """Let a conditional order make its order, or be rejected; those of its pair end."""
        conditional = self._step(account, conditional, ConditionalState.TRIGGERING, now_ns, triggered_ns=now_ns)
        for other in account.waiting(conditional.venue_symbol):
            if conditional.pair and other.pair == conditional.pair:
                self._step(account, other, ConditionalState.CANCELED, now_ns)
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


def exit_order(
    exit_: Exit, venue_symbol: str, opened: Side, *, position_side: PositionSide, quantity: Decimal, pair: str
) -> NewOrder:
    """Return the conditional order of an exit of a position that was ``opened`` so; a whole one has no quantity."""
    return NewOrder(
        venue_symbol=venue_symbol,
        side=Side.SELL if opened is Side.BUY else Side.BUY,
        order_type=exit_.order_type,
        quantity=None if exit_.is_whole else quantity,
        price=exit_.price,
        trigger_price=exit_.trigger_price,
        trigger_by=exit_.trigger_by,
        position_side=position_side,
        reduce_only=not exit_.is_whole,
        close_position=exit_.is_whole,
        is_exit=True,
        pair="" if exit_.is_whole else pair,
        memo=exit_.memo,
    )

"""What a strategy asks for, on its way to the desk, or to the keeper where the venue cannot do it alone."""

from collections.abc import Callable, Collection
from decimal import Decimal

import attrs

from btx.model.order import (
    CancelOutcome,
    CancelResult,
    Group,
    GroupKind,
    Leg,
    Member,
    OrderRequest,
    Pending,
    PlaceRefused,
    Status,
)
from btx.model.venue import Capabilities
from btx.rules.orders import apply, new_order
from btx.runtime.keeper import Keeper, alone, needs_keeper
from btx.runtime.mailbox import MemberEnded, OrderUpdate
from btx.runtime.orders import OrderDesk

__all__ = ("Routes",)

_ZERO = Decimal(0)
_OVER = "the order is over"


class Routes:
    """Finds who looks after an order of the strategy, by its owner id. Lives on btx-io.

    What cannot be done is told to ``post`` like a refusal of the venue, so that
    nobody waits for it.
    """

    def __init__(
        self,
        *,
        desk: OrderDesk,
        keeper: Keeper,
        capabilities: Capabilities,
        next_id: Callable[[], str],
        post: Callable[[OrderUpdate | MemberEnded], None],
    ) -> None:
        self._desk = desk
        self._keeper = keeper
        self._capabilities = capabilities
        self._next_id = next_id
        self._post = post

    def submit(self, leg: Leg) -> None:
        """Send an order; one that trails or expires where the venue cannot do that goes to the keeper."""
        if needs_keeper(leg.request, self._capabilities):
            self._keeper.take(alone(leg.client_order_id, leg.request))
        else:
            self._desk.submit(leg)

    def take_group(self, group: Group) -> None:
        """Send a bracket or an OCO group."""
        self._keeper.take(group)

    def join(self, member: Member, *, group_id: str, oco_with: str | None, parent: str | None) -> None:
        """Tie a new order to one that was sent before: to its group, or to the order alone, which makes them one."""
        other = parent or oco_with or ""
        if self._keeper.knows(other):
            self._keeper.add(member, to=other)
            return
        legs = self._desk.legs(other)
        if not legs:
            reason = f"it is tied to order {other}, which is not known here: not sent"
            self._post(
                MemberEnded(group_id=group_id, member_id=member.member_id, status=Status.REJECTED, reason=reason)
            )
            return
        leader = Member(member_id=other, request=legs[0].leg.request)
        is_bracket = parent is not None
        self._keeper.take(
            Group(
                group_id=group_id,
                kind=GroupKind.BRACKET if is_bracket else GroupKind.OCO,
                entry=leader if is_bracket else None,
                members=(member,) if is_bracket else (leader, member),
                withdrawn=(other,) if any(order.pending is Pending.CANCEL for order in legs) else (),
            )
        )

    def cancel(self, owner_id: str) -> None:
        """Cancel an order of the strategy, whatever legs it has."""
        if self._keeper.knows(owner_id):
            self._keeper.cancel(owner_id)
            return
        for order in self._desk.legs(owner_id):
            self._desk.cancel(order.client_order_id)

    def cancel_many(self, owner_ids: Collection[str]) -> None:
        """Cancel several orders of the strategy, in as few requests as the venue can do it."""
        self._desk.cancel_many(order.client_order_id for each in owner_ids for order in self._desk.legs(each))
        for owner_id in owner_ids:
            if self._keeper.knows(owner_id):
                self._keeper.cancel(owner_id)  # which finds that its legs are being cancelled

    async def withdraw(self, owner_ids: Collection[str]) -> None:
        """Cancel orders of the strategy and wait until all of their legs have ended, with every fill."""
        self.cancel_many(owner_ids)
        await self._desk.until(lambda: all(order.is_settled for order in self._desk.legs(*owner_ids)))

    def amend(self, owner_id: str, request: OrderRequest) -> None:
        """Change an order of the strategy: ``request`` is what it should be now, in all."""
        if self._keeper.knows(owner_id):
            self._keeper.amend(owner_id, request)
            return
        legs = self._desk.legs(owner_id)
        living = [order for order in legs if not order.status.is_final]
        filled = sum((order.filled for order in legs), _ZERO)
        rest = request.quantity - filled
        leg = Leg(client_order_id=self._next_id(), request=request, quantity=request.quantity, member_id=owner_id)
        if legs and not living:  # it ends as it ended, not as refused
            order, time_ns = legs[-1], request.signal_ns
            late = CancelResult(
                client_order_id=order.client_order_id, outcome=CancelOutcome.REFUSED, reason=_OVER, time_ns=time_ns
            )
            self._post(OrderUpdate(event=late, order=order))
        elif not living:
            self._refuse(leg, _OVER)
        elif len(living) > 1:
            self._refuse(leg, f"it is {len(living)} orders at the venue: cancel it, and send what it should be")
        elif rest <= 0:
            self._refuse(leg, f"{filled} of it has filled: it cannot become smaller than that")
        elif self._desk.amends(living[-1].client_order_id, request):
            whole = attrs.evolve(request, quantity=rest + living[-1].filled)
            self._desk.amend(living[-1].client_order_id, whole)
        else:
            changed = attrs.evolve(request, quantity=rest)
            self._desk.replace(living[-1].client_order_id, attrs.evolve(leg, request=changed, quantity=rest))

    def _refuse(self, leg: Leg, reason: str) -> None:
        """Tell of a leg that is never made as of one that was refused."""
        refused = PlaceRefused(client_order_id=leg.client_order_id, reason=reason, time_ns=leg.request.signal_ns)
        self._post(OrderUpdate(event=refused, order=apply(new_order(leg), refused)))

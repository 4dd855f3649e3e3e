"""Orders that are tied together: what ``parent=``, ``oco=`` and ``transmit=`` mean, collected until they may leave."""

from collections.abc import Iterator
from typing import Any

import attrs

from btx.bt.books import Ticket
from btx.errors import ConfigError
from btx.model.order import Group, GroupKind, ListKind

__all__ = ("Bundle", "Bundles", "Tie", "tie_of")


@attrs.frozen(kw_only=True)
class Tie:
    """What an order is tied to."""

    kind: GroupKind
    head: Ticket  # its parent, or the order it excludes


def tie_of(ticket: Ticket, *, parent: Ticket | None, oco: Ticket | None) -> Tie | None:
    """Return what an order is tied to, None when it stands alone.

    Raises:
        ConfigError: it cannot be tied like that.
    """
    head = parent or oco
    if head is None:
        return None
    if parent is not None and oco is not None:
        raise ConfigError("the children of one parent cancel each other already: leave oco= out")
    if head.book is not ticket.book:
        symbols = f"{ticket.request.instrument.symbol} and {head.request.instrument.symbol}"
        raise ConfigError(f"orders that are tied together are of one instrument: these are of {symbols}")
    order, word = head.order, "parent=" if parent is not None else "oco="
    if not order.alive() and (oco is not None or not order.executed.size):
        reason = order.info.get("reason")
        because = f": {reason}" if reason else ""
        raise ConfigError(f"its {word} order {order.ref} is over ({order.getstatusname()}{because})")
    if parent is not None and order.parent is not None:
        raise ConfigError("a bracket has one level: the parent of this order has a parent itself")
    if parent is not None and head.request.side is ticket.request.side:
        raise ConfigError(f"a child leaves what its parent entered: both are a {ticket.request.side.value}")
    return Tie(kind=GroupKind.BRACKET if parent is not None else GroupKind.OCO, head=head)


@attrs.define(kw_only=True, eq=False)
class Bundle:
    """Orders that leave together."""

    kind: GroupKind | None = None  # None: one order, so far
    head: Ticket  # the parent, or the first of those that exclude each other
    others: list[Ticket] = attrs.field(factory=list)
    native_entry: bool = False

    def __iter__(self) -> Iterator[Ticket]:
        """Go through what has not been sent."""
        return iter(([] if self.head.owner_id else [self.head]) + self.others)

    def send(self, *, max_age_ns: int | None = None) -> Group | None:
        """Hand them over to the session; every ticket has its owner id afterwards. Return the new group, if it is one.

        ``max_age_ns`` is how old the bar may be when what opens or stands alone leaves.

        Raises:
            BtxError: the session does not take them.
            ConfigError: the venue has no list for ``native_bracket``.
        """
        session, head = self.head.book.account.session, self.head
        if head.owner_id:
            for ticket in self.others:
                if self.kind is GroupKind.BRACKET:
                    ticket.owner_id = session.submit(ticket.request, parent=head.owner_id)
                else:
                    ticket.owner_id = session.submit(ticket.request, oco_with=head.owner_id)
                ticket.in_group = head.in_group = True
            return None
        if self.kind is None:
            head.owner_id = session.submit(head.request, max_age_ns=max_age_ns)
            return None
        is_bracket = self.kind is GroupKind.BRACKET
        if self.native_entry:
            self._check_native()
        members = self.others if is_bracket else [head, *self.others]
        group = session.submit_group(
            self.kind,
            entry=head.request if is_bracket else None,
            members=[ticket.request for ticket in members],
            native_entry=self.native_entry,
            max_age_ns=max_age_ns,
        )
        if group.entry is not None:
            head.owner_id = group.entry.member_id
        for ticket, member in zip(members, group.members, strict=True):
            ticket.owner_id = member.member_id
        for ticket in (head, *self.others):
            ticket.in_group = True
        return group

    def _check_native(self) -> None:
        session = self.head.book.account.session
        kind = {1: ListKind.OTO, 2: ListKind.OTOCO}.get(len(self.others))
        if self.kind is not GroupKind.BRACKET or kind not in session.info.capabilities[session.market].order_lists:
            raise ConfigError(
                f"native_bracket=True: {session.info.title} takes no such list of an entry and "
                f"{len(self.others)} exits: leave it out, and the core keeps the exits"
            )


class Bundles:
    """The orders that wait for one that transmits them."""

    def __init__(self) -> None:
        self._held: list[Bundle] = []

    def __iter__(self) -> Iterator[Bundle]:
        return iter(self._held)

    def clear(self) -> None:
        """Forget what waits."""
        self._held.clear()

    def holding(self, ticket: Ticket | None) -> Bundle | None:
        """Return the bundle an order waits in, None when it waits in none."""
        return next((each for each in self._held if ticket is each.head or ticket in each.others), None)

    def take(self, ticket: Ticket, tie: Tie | None, *, transmit: bool, native_entry: bool) -> Bundle | None:
        """Take an order in; return the bundle that may leave with it, None while it waits for more.

        Raises:
            ConfigError: the orders it would leave with are tied in another way.
        """
        bundle = self.holding(tie.head) if tie is not None else None
        if tie is None:
            bundle = Bundle(head=ticket)
        else:
            bundle = bundle or Bundle(head=tie.head)
            if bundle.kind not in {None, tie.kind}:
                raise ConfigError("one group is a bracket or an OCO: its orders have parent= or oco=, not both")
            bundle.kind = tie.kind
            bundle.others.append(ticket)
        bundle.native_entry |= native_entry
        if bundle in self._held:
            self._held.remove(bundle)
        if transmit:
            return bundle
        self._held.append(bundle)
        return None

    def drop(self, bundle: Bundle) -> list[Ticket]:
        """Let a bundle go unsent; return its orders."""
        if bundle in self._held:
            self._held.remove(bundle)
        return [ticket for ticket in bundle if ticket.order.alive()]

    def remove(self, ticket: Ticket) -> list[Ticket]:
        """Take an order out that has not been sent, a parent with its children; return what was taken out."""
        bundle: Any = self.holding(ticket)
        if ticket is bundle.head and bundle.kind is GroupKind.BRACKET:
            return self.drop(bundle)
        if ticket is bundle.head:
            self._held.remove(bundle)
            if bundle.others:
                head, *others = bundle.others
                self._held.append(attrs.evolve(bundle, head=head, others=others))
            return [ticket]
        bundle.others.remove(ticket)
        return [ticket]

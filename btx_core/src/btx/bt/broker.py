"""The broker: backtrader's orders out, the session's events in, and one exact ledger behind both."""

import logging
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import backtrader as bt
from backtrader.order import BuyOrder, SellOrder
from backtrader.position import Position as BtPosition

from btx.bt.books import Account, Book, Ticket
from btx.bt.commission import commission_of
from btx.bt.feed import LiveFeed, feed_of
from btx.bt.orders import STATUSES, misspelt, not_sent_yet, order_type_of, time_in_force_of
from btx.errors import BtxError, ConfigError
from btx.model.account import BalanceUpdate
from btx.model.order import (
    CancelOutcome,
    CancelResult,
    Fill,
    Leg,
    Order,
    OrderRequest,
    OrderType,
    OutcomeUnknown,
    PlaceRefused,
    Side,
    Status,
)
from btx.model.time import NS_PER_DAY, NS_PER_S, iso
from btx.rules.filters import check, check_quantity, step_of, to_grid_price, to_grid_quantity
from btx.rules.orders import new_order
from btx.rules.positions import split_dust
from btx.runtime.mailbox import OrderUpdate

if TYPE_CHECKING:
    from btx.bt.store import LiveStore

__all__ = ("LiveBroker", "broker")

_log = logging.getLogger("btx")
_ZERO = Decimal(0)
_EPOCH_DAYS = 719_163.0
_WITHDRAW_S = 2.0  # how long the end of a run waits for the answers to its cancels
# What a strategy may pass beside backtrader's own arguments.
_OWN_ARGUMENTS = ("time_in_force", "post_only", "params")
_ON_STOP = ("keep_protection", "cancel", "keep")


class LiveBroker(bt.BrokerBase):
    """The broker of one or several accounts; an order goes where its data comes from.

    Everything of an order or a position happens on cerebro's thread, in
    ``next()``: what btx-io learns arrives through the sessions' mailboxes.
    ``getcash``, ``getvalue`` and ``getposition`` answer from the ledger.
    """

    def __init__(self, *stores: "LiveStore", currency: str | None = None) -> None:
        super().__init__()
        self._stores = stores
        self._on_stop = _ON_STOP[0]
        self.currency = currency or stores[0].session.settings.currency
        self._cerebro: Any = None
        self._accounts = {id(store): Account(store) for store in stores}
        self._by_data: dict[Any, Book] = {}
        self.positions: dict[Any, BtPosition] = defaultdict(BtPosition)
        self._tickets: dict[int, Ticket] = {}  # by order.ref
        self._notifications: deque[Any] = deque()
        self._told: set[tuple[int, int, str]] = set()
        self._ending: list[Ticket] = []  # cancelled by the end of the run

    # --- life -------------------------------------------------------------------------------------------------

    @property
    def on_stop(self) -> str:
        """What happens to resting orders at the end of a run."""
        return self._on_stop

    @on_stop.setter
    def on_stop(self, policy: str) -> None:
        if policy not in _ON_STOP:
            raise ConfigError(f"on_stop={policy!r} is unknown: choose one of {', '.join(map(repr, _ON_STOP))}")
        self._on_stop = policy

    @property
    def cerebro(self) -> Any:
        """The cerebro this broker was set on; setting it makes the stores part of its run."""
        return self._cerebro

    @cerebro.setter
    def cerebro(self, cerebro: Any) -> None:
        for store in self._stores:
            store.join(cerebro)
            store.broker = self
        self._cerebro = cerebro

    def serves(self, store: "LiveStore") -> bool:
        """Say whether the account of ``store`` is one of this broker's."""
        return id(store) in self._accounts

    @property
    def has_news(self) -> bool:
        """An order waits to be told to the strategy."""
        return bool(self._notifications)

    def start(self) -> None:
        """Connect the accounts and take over what they hold.

        Raises:
            BtxError: a venue was not reached, or lists no instrument of a data.
            ConfigError: an instrument is paid in a currency whose price is not known.
        """
        super().start()
        self._by_data.clear()
        self.positions.clear()
        self._tickets.clear()
        self._notifications.clear()
        self._told.clear()
        self._ending.clear()
        for account in self._accounts.values():
            account.store.start(broker=self)
            account.open()
        for data in self.cerebro.datas:
            feed = feed_of(data)
            if feed is not None and id(feed.store) in self._accounts:
                self._register(data, feed)
        self._check_currencies()
        self.startingcash = self.cash = self.getcash()
        self.startingvalue = self.value = self.getvalue()

    def _register(self, data: Any, feed: LiveFeed) -> None:
        account = self._accounts[id(feed.store)]
        instrument = feed.instrument
        book = account.books.get(instrument.symbol)
        if book is None:
            comminfo = commission_of(
                instrument,
                account.session.fee_schedule(instrument),
                quote_rate=lambda: account.rate(instrument.quote, self.currency),
            )
            book = account.add_book(instrument, comminfo)
        else:
            data.compensate(book.data)  # the trades of all its datas land on the first
        book.datas.append(data)
        self._by_data[data] = book
        self.positions[data] = book.shown

    def _check_currencies(self) -> None:
        for account in self._accounts.values():
            for book in account.books.values():
                quote = book.instrument.quote
                if not account.can_price(quote, self.currency):
                    raise ConfigError(
                        f"{book.instrument.symbol} is paid in {quote}, and cash is counted in {self.currency}: "
                        f"add a data of {quote}/{self.currency}, or load the store with currency={quote!r}"
                    )

    def withdraw(self, store: "LiveStore") -> None:
        """End of a run: cancel the open orders that ``on_stop`` names, and wait a moment for the answers."""
        account = self._accounts[id(store)]
        self._take(account)
        live = [ticket for ticket in account.tickets.values() if not ticket.state.status.is_final]
        ending = [ticket for ticket in live if self._ends(ticket)]
        for ticket in live:
            verb = "cancelled" if ticket in ending else "kept at the venue"
            _log.warning("%s: open at the end, %s: %s", account.session.name, verb, ticket)
        if ending:
            account.session.withdraw([ticket.client_order_id for ticket in ending], timeout_s=_WITHDRAW_S)
            self._ending.extend(ending)

    def _ends(self, ticket: Ticket) -> bool:
        if self._on_stop == "keep_protection":
            return not ticket.book.would_close(ticket.state)
        return self._on_stop == "cancel"

    def settle(self, store: "LiveStore") -> None:
        """Take over the last words of a session that has hung up, and say which cancels were not answered."""
        account = self._accounts[id(store)]
        self._take(account)
        for ticket in self._ending:
            if ticket.book.account is account and not ticket.state.is_settled:
                _log.warning("%s: the cancel got no answer, look at the venue: %s", account.session.name, ticket)

    # --- the account --------------------------------------------------------------------------------------------

    def getcash(self, data: Any = None) -> float:
        """Return the total of ``currency``, reserved or not; with ``data`` of that data's account alone."""
        accounts = self._accounts.values() if data is None else (self._book(data).account,)
        return float(sum((account.total(self.currency) for account in accounts), _ZERO))

    get_cash = getcash

    def getvalue(self, datas: Iterable[Any] | None = None) -> float:
        """Return cash and holdings at their last close; of ``datas`` alone, without cash, when given."""
        if datas is None:
            return float(sum((account.worth(self.currency) for account in self._accounts.values()), _ZERO))
        books = {id(book): book for data in datas if (book := self._by_data.get(data)) is not None}
        return float(sum((book.worth(self.currency) for book in books.values()), _ZERO))

    get_value = getvalue

    def getposition(self, data: Any, clone: bool = False) -> BtPosition:
        """Return what is held of a data's instrument; all datas of one instrument share it."""
        shown = self.positions[data]
        return shown.clone() if clone else shown

    def getcommissioninfo(self, data: Any) -> Any:
        """Return the venue's rates; ``setcommission`` cannot change them."""
        book = self._by_data.get(data)
        return book.comminfo if book is not None else super().getcommissioninfo(data)

    def getdust(self, data: Any) -> Decimal:
        """Return what is held of a data's instrument beside its position: less than a step, so it cannot be traded.

        Raises:
            ConfigError: the data is of no account of this broker.
        """
        return self._book(data).dust

    def ledger(self, store: "LiveStore | None" = None) -> Mapping[str, Decimal]:
        """Return the exact totals by asset of one account, the first when not said."""
        account = self._accounts[id(store if store is not None else self._stores[0])]
        return dict(account.ledger)

    def _book(self, data: Any) -> Book:
        book = self._by_data.get(data)
        if book is None:
            name = getattr(data, "_name", data)
            raise ConfigError(
                f"the data {name!r} is of no account of this broker: use store.getdata(...), "
                "and btx.broker(store, other_store) when there are several"
            )
        return book

    # --- orders out ---------------------------------------------------------------------------------------------

    def buy(self, owner: Any, data: Any, size: float, **arguments: Any) -> Any:
        """Send a buy order; see :meth:`_order`."""
        return self._order(BuyOrder, Side.BUY, owner, data, size, **arguments)

    def sell(self, owner: Any, data: Any, size: float, **arguments: Any) -> Any:
        """Send a sell order; see :meth:`_order`."""
        return self._order(SellOrder, Side.SELL, owner, data, size, **arguments)

    def cancel(self, order: Any) -> None:
        """Ask for an order's end; of an order that is over nothing happens."""
        ticket = self._tickets.get(order.ref)
        if ticket is not None and not ticket.state.status.is_final and ticket.book.account.session.is_running:
            ticket.book.account.session.cancel(ticket.client_order_id)

    def orderstatus(self, order: Any) -> Any:
        """Return backtrader's status of an order now."""
        ticket = self._tickets.get(order.ref)
        return ticket.order.status if ticket is not None else order.status

    def _order(  # noqa: PLR0917 -- backtrader's signature
        self,
        kind: Any,
        side: Side,
        owner: Any,
        data: Any,
        size: float,
        price: float | None = None,
        plimit: float | None = None,
        exectype: Any = None,
        valid: Any = None,
        tradeid: int = 0,
        oco: Any = None,
        trailamount: float | None = None,
        trailpercent: float | None = None,
        parent: Any = None,
        transmit: bool = True,
        **info: Any,
    ) -> Any:
        """Make backtrader's order and send ours; what cannot be sent ends Rejected, with ``order.info.reason``.

        Extra arguments: ``time_in_force="IOC"``, ``post_only=True``, and ``params``
        (a dict of venue parameters); everything else lands in ``order.info``, but
        what looks like one of ours misspelt is not sent.

        Raises:
            BtxError: the data has no bar yet, so backtrader cannot make an order.
        """
        book = self._book(data)
        if not len(data):
            raise BtxError(f"{data._name}: no order before its first bar, backtrader needs its price: wait for next()")
        order = kind(
            owner=owner,
            data=data,
            size=size,
            price=price,
            pricelimit=plimit,
            exectype=exectype,
            valid=valid,
            tradeid=tradeid,
            oco=oco,
            trailamount=trailamount,
            trailpercent=trailpercent,
            parent=parent,
            transmit=transmit,
        )
        order.addinfo(**{key: value for key, value in info.items() if key not in _OWN_ARGUMENTS})
        order.addcomminfo(book.comminfo)
        is_grouped = oco is not None or parent is not None or not transmit
        if (too_early := self._not_now(data)) is not None:
            self._refuse(order, too_early)  # a strategy may try at every bar of history: that is not worth a line each
            return order
        refusal = not_sent_yet(valid=valid, is_grouped=is_grouped) or misspelt(info, _OWN_ARGUMENTS)
        if refusal is None:
            refusal = self._send(order, book, side=side, size=size, price=price, info=info)
        if refusal is not None:
            name = book.account.session.name
            _log.warning("%s: an order in %s is not sent: %s", name, book.instrument.symbol, refusal)
            self._refuse(order, refusal)
        return order

    def _send(
        self, order: Any, book: Book, *, side: Side, size: float, price: float | None, info: Mapping[str, Any]
    ) -> str | None:
        """Check and submit; return the reason when it is not sent."""
        session = book.account.session
        if (refused := session.orders_refused()) is not None:
            return refused
        try:
            request = _request(book, order, side=side, size=size, price=price, info=info)
        except (BtxError, ValueError) as error:
            return str(error)
        violation = check(request, reference_price=book.last_close())
        if violation is not None:
            return violation.text
        if (veto := session.check_order(request)) is not None:
            return veto
        try:
            client_order_id = session.submit(request)
        except BtxError as error:
            return str(error)
        order.addinfo(client_order_id=client_order_id)
        ticket = Ticket(
            order=order, book=book, client_order_id=client_order_id, state=_placed(request, client_order_id)
        )
        self._tickets[order.ref] = ticket
        book.account.tickets[client_order_id] = ticket
        order.submit(self)
        self._tell(order)
        return None

    def _not_now(self, data: Any) -> str | None:
        """Return why an order on this data must not leave now: history is never traded."""
        feed = feed_of(data)
        assert feed is not None, "only datas of ours have a book"
        if not feed.is_live:
            return self._once(feed, "history: this bar is not live, and history is not traded")
        age_ns = feed.store.session.clock.market_ns() - feed.last_close_ns
        if age_ns > feed.max_signal_age_ns:
            text = f"the last bar closed {age_ns / NS_PER_S:.1f} s ago, at {iso(feed.last_close_ns)}"
            return self._once(feed, f"stale: {text}, and max_signal_age is {feed.max_signal_age_ns / NS_PER_S:g} s")
        return None

    def _once(self, feed: LiveFeed, text: str) -> str:
        """Tell a phase's reason to ``notify_store`` once, and return it for the order."""
        key = (id(feed), feed.phase, text.partition(":")[0])
        if key not in self._told:
            self._told.add(key)
            _log.warning("%s: %s: orders are rejected: %s", feed.store.session.name, feed.symbol, text)
            feed.store.put_notification(f"{feed.symbol}: orders are rejected: {text}")
        return text

    def _refuse(self, order: Any, reason: str, *, for_money: bool = False) -> None:
        order.addinfo(reason=reason)
        if for_money:
            order.margin()
        else:
            order.reject(self)
        self._tell(order)

    # --- events in ----------------------------------------------------------------------------------------------

    def next(self) -> None:
        """Take over what the sessions learned. Called by cerebro once per loop."""
        for account in self._accounts.values():
            self._seed(account)
            self._take(account)

    def _take(self, account: Account) -> None:
        for item in account.store.events():
            match item:
                case OrderUpdate():
                    self._on_update(account, item)
                case BalanceUpdate():
                    account.take_totals(item)
        for difference in account.differences(account.session.clock.market_ns()):
            account.store.put_notification(difference)

    def get_notification(self) -> Any:
        """Return the next order for ``notify_order``, None when there is none."""
        return self._notifications.popleft() if self._notifications else None

    def _tell(self, order: Any) -> None:
        self._notifications.append(order.clone())

    def _on_update(self, account: Account, update: OrderUpdate) -> None:
        ticket = account.tickets.get(update.order.client_order_id)
        if ticket is None:
            return  # sent past this broker: the venue's totals will tell
        ticket.state = update.order
        if update.order.venue_order_id is not None:
            ticket.order.addinfo(venue_order_id=update.order.venue_order_id)
        match update.event:
            case Fill() as fill:
                self._on_fill(account, ticket, fill)
            case PlaceRefused(reason=reason, insufficient_funds=for_money):
                _log.warning("%s: %s was refused: %s", account.session.name, ticket, reason)
                self._refuse(ticket.order, reason, for_money=for_money)
            case OutcomeUnknown(reason=reason):
                ticket.order.addinfo(reason=reason)
                account.store.put_notification(f"order {ticket.order.ref}: no answer yet: {reason}")
            case CancelResult(outcome=CancelOutcome.REFUSED, reason=reason):
                ticket.order.addinfo(cancel_refused=reason)
                account.store.put_notification(f"order {ticket.order.ref}: the cancel was refused: {reason}")
            case _:
                self._on_status(ticket)

    def _on_status(self, ticket: Ticket) -> None:
        state, order = ticket.state, ticket.order
        if not order.alive():
            return
        if state.status.is_final:
            if state.is_settled:
                self._finish(ticket)
        elif order.status == bt.Order.Submitted and STATUSES[state.status] != bt.Order.Submitted:
            order.accept(self)
            self._tell(order)

    def _finish(self, ticket: Ticket) -> None:
        order, state = ticket.order, ticket.state
        if state.evidence is not None and state.evidence.reason:
            order.addinfo(reason=state.evidence.reason)
        if state.status is Status.FILLED:
            order.executed.remsize = 0  # floats may leave a dust of their own: the venue's word counts
            order.completed()
        elif state.status is Status.CANCELED:
            order.cancel()
        elif state.status is Status.EXPIRED:
            # Order.expire() asks the clock of the data; the venue has decided already.
            order.status = bt.Order.Expired
            order.executed.dt = order.data.datetime[0]
        else:
            order.reject(self)
        self._tell(order)

    def _on_fill(self, account: Account, ticket: Ticket, fill: Fill) -> None:
        known = ticket.fills.get(fill.fill_id)
        ticket.fills[fill.fill_id] = fill
        order, book = ticket.order, ticket.book
        order.addinfo(fills=tuple(ticket.fills.values()))
        if known is not None:  # told again, with the fee it lacked
            account.book_late_fee(known, fill)
            return
        if order.status == bt.Order.Submitted:
            order.accept(self)
            self._tell(order)
        executed = account.book_fill(book, fill)
        order.execute(
            _EPOCH_DAYS + fill.time_ns / NS_PER_DAY,
            float(fill.side.sign * fill.quantity),
            float(fill.price),
            *executed.parts(order.comminfo, account.fee_of(book, fill)),
        )
        if ticket.state.is_settled:
            self._finish(ticket)
        else:
            order.partial()
            self._tell(order)

    def _seed(self, account: Account) -> None:
        """Show what was held at the start as an order and a trade, once there is a bar to date it with."""
        for book in account.unseeded():
            data, size = book.data, float(book.pending_seed)
            price = data.close[0]
            executed = book.seed(Decimal(repr(price)))
            order = BuyOrder(owner=None, data=data, size=size, price=price, exectype=bt.Order.Market)
            order.addcomminfo(book.comminfo)
            order.addinfo(seed=True)
            order.submit(self)
            order.accept(self)
            order.execute(data.datetime[0], size, price, *executed.parts(order.comminfo, 0.0))
            order.executed.remsize = 0
            order.completed()
            self._tell(order)


def broker(*stores: "LiveStore", currency: str | None = None) -> LiveBroker:
    """Return one broker for several stores; it counts cash in ``currency``.

    Raises:
        ConfigError: no store was given, one twice, or one that counts in another currency.
    """
    if not stores:
        raise ConfigError("btx.broker needs at least one store: btx.broker(btx.load('binance'), ...)")
    if len({id(store) for store in stores}) != len(stores):
        raise ConfigError("a store was given twice: the same account loaded twice is the same store")
    currencies = {store.session.settings.currency for store in stores}
    wanted = currency or stores[0].session.settings.currency
    if currencies != {wanted}:
        raise ConfigError(
            f"stores count cash in {', '.join(sorted(currencies))}: load them all with currency={wanted!r}"
        )
    return LiveBroker(*stores, currency=wanted)


def _request(
    book: Book, order: Any, *, side: Side, size: float, price: float | None, info: Mapping[str, Any]
) -> OrderRequest:
    """Return what is asked for, on the venue's grid.

    Raises:
        ConfigError: the venue, or this version, does not do it; the message says what it does.
        ValueError: a number is none.
    """
    session, instrument = book.account.session, book.instrument
    known = session.info.capabilities[session.market]
    order_type = order_type_of(order, known)
    time_in_force = time_in_force_of(info.get("time_in_force"), known)
    post_only = bool(info.get("post_only"))
    if post_only and (not known.post_only or order_type is not OrderType.LIMIT):
        raise ConfigError(
            f"post_only=True is for limit orders at venues that know it: not for this one at {instrument.venue}"
        )
    quantity = _quantity(book, side=side, size=size, order_type=order_type)
    asked = quantity or Decimal(repr(float(size)))  # of what is below a step nothing is left to tell
    if (violation := check_quantity(instrument, asked, order_type=order_type)) is not None:
        raise ConfigError(violation.text)
    limit = None
    if order_type is OrderType.LIMIT:
        limit = to_grid_price(instrument, order.created.price if price is None else price, side=side)
    feed = feed_of(order.data)
    assert feed is not None
    return OrderRequest(
        instrument=instrument,
        side=side,
        order_type=order_type,
        quantity=quantity,
        price=limit,
        time_in_force=time_in_force,
        post_only=post_only,
        signal_ns=feed.last_close_ns,
        params=dict(info.get("params") or {}),
    )


def _placed(request: OrderRequest, client_order_id: str) -> Order:
    return new_order(Leg(client_order_id=client_order_id, request=request, quantity=request.quantity))


def _quantity(book: Book, *, side: Side, size: float, order_type: OrderType) -> Decimal:
    """Return ``size`` on the grid; what sells the whole position sells what is there, and not a float's idea of it."""
    held = book.mirror.held
    if held and (held > 0) is (side is Side.SELL) and float(size) == abs(book.mirror.size):
        whole, _ = split_dust(abs(held), step_size=step_of(book.instrument, order_type=order_type))
        return whole
    return to_grid_quantity(book.instrument, size, order_type=order_type)

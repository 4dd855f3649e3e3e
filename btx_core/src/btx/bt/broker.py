"""The broker: backtrader's orders out, the session's events in, and one exact ledger behind both."""

import logging
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import backtrader as bt
from backtrader.order import BuyOrder, SellOrder
from backtrader.position import Position as BtPosition

from btx.bt.books import Account, Book, Ticket
from btx.bt.feed import LiveFeed, feed_of
from btx.bt.groups import Bundle, Bundles, tie_of
from btx.bt.margin import MarginedAccount
from btx.bt.news import News
from btx.bt.orders import (
    OWN_ARGUMENTS,
    Asked,
    amended,
    exectype_of,
    make_request,
    misspelt,
    refusal_of,
    show_request,
)
from btx.bt.restart import StateKeeper, rebuild
from btx.errors import BtxError, ConfigError
from btx.model.account import BookingKind
from btx.model.order import (
    OrderRequest,
    Side,
)
from btx.model.time import NS_PER_S, iso
from btx.rules.wallet import Key

if TYPE_CHECKING:
    from btx.bt.store import LiveStore

__all__ = ("LiveBroker", "broker")

_log = logging.getLogger("btx")
_ZERO = Decimal(0)
_EPOCH_DAYS = 719_163.0
_WITHDRAW_S = 2.0  # how long the end of a run waits for the answers to its cancels
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
        self._accounts = {
            id(store): MarginedAccount(store) if store.is_margined else Account(store) for store in stores
        }
        self._by_data: dict[Any, Book] = {}
        self.positions: dict[Any, BtPosition] = defaultdict(BtPosition)
        self._tickets: dict[int, Ticket] = {}  # by order.ref
        self._bundles = Bundles()
        self._states = StateKeeper(stores[0].session)
        self._news = News(self, self._states)
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
        return bool(self._news)

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
        self._bundles.clear()
        self._states = StateKeeper(self._stores[0].session)
        self._news = News(self, self._states)
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
        for account in self._accounts.values():
            for ticket in rebuild(account):
                self.keep(account, ticket)
        self.startingcash = self.cash = self.getcash()
        self.startingvalue = self.value = self.getvalue()

    def keep(self, account: Account, ticket: Ticket) -> None:
        """Take over an order that no call of a strategy made: of an earlier run, or an exit of the venue's making."""
        self._tickets[ticket.order.ref] = account.tickets[ticket.owner_id] = ticket

    def _register(self, data: Any, feed: LiveFeed) -> None:
        account = self._accounts[id(feed.store)]
        instrument = feed.instrument
        leg = feed.spec.position_side
        book = account.books.get(Key(instrument.symbol, leg))
        if book is None:
            book = account.add_book(instrument, account.commission(instrument, self.currency), leg)
        else:
            data.compensate(book.data)  # the trades of all its datas land on the first
        book.datas.append(data)
        self._by_data[data] = book
        self.positions[data] = book.shown

    def _check_currencies(self) -> None:
        for account in self._accounts.values():
            for book in account.books.values():
                unit = book.cash_asset
                if not account.can_price(unit, self.currency):
                    raise ConfigError(
                        f"{book.instrument.symbol} is paid in {unit}, and cash is counted in {self.currency}: "
                        f"add a data of {unit}/{self.currency}, or load the store with currency={unit!r}"
                    )

    def stop(self) -> None:
        """End of a run: save what the strategies want to find again."""
        super().stop()
        if sys.exc_info()[0] is None:  # of a strategy that raised, what was saved last is whole
            self._states.save_all()

    def withdraw(self, store: "LiveStore") -> None:
        """End of a run: cancel the open orders that ``on_stop`` names, and wait a moment for the answers."""
        account = self._accounts[id(store)]
        self._news.take(account, is_ending=True)
        for ticket in (each for bundle in self._bundles for each in bundle if each.book.account is account):
            _log.warning("%s: never sent, transmit=True did not come: %s", account.session.name, ticket)
        live = [ticket for ticket in account.tickets.values() if ticket.order.alive()]
        ending = [ticket for ticket in live if self._ends(ticket)]
        for ticket in live:
            verb = "cancelled" if ticket in ending else "kept at the venue" if ticket.legs else "waits for its parent"
            _log.warning("%s: open at the end, %s: %s", account.session.name, verb, ticket)
        if ending:
            account.session.withdraw([ticket.owner_id for ticket in ending], timeout_s=_WITHDRAW_S)
            self._ending.extend(ending)

    def _ends(self, ticket: Ticket) -> bool:
        if self._on_stop != "keep_protection":
            return self._on_stop == "cancel"
        if ticket.order.parent is not None:  # an exit, which has legs for what its parent has filled
            return False
        if any(leg.leg.parent_id is not None for leg in ticket.legs.values()):  # likewise, of the venue's making
            return False
        return not ticket.book.would_close(ticket.request.side, ticket.remaining)

    def settle(self, store: "LiveStore") -> None:
        """Take over the last words of a session that has hung up, and say which cancels were not answered."""
        account = self._accounts[id(store)]
        self._news.take(account, is_ending=True)
        for ticket in self._ending:
            if ticket.book.account is account and not ticket.is_settled:
                _log.warning("%s: the cancel got no answer, look at the venue: %s", account.session.name, ticket)

    # --- the account --------------------------------------------------------------------------------------------

    def getcash(self, data: Any = None) -> float:
        """Return what can be spent, in ``currency``; with ``data`` of that data's account alone.

        Of owned assets it is the total of ``currency``, reserved or not. Of an
        account on margin it is what new positions can be opened with: the wallet
        and what open positions would bring, less their initial margin.
        """
        accounts = self._accounts.values() if data is None else (self._book(data).account,)
        return float(sum((account.cash(self.currency) for account in accounts), _ZERO))

    get_cash = getcash

    def getvalue(self, datas: Iterable[Any] | None = None) -> float:
        """Return cash and holdings at their last close; of ``datas`` alone, without cash, when given.

        An account on margin is worth its wallet and what closing at the mark price
        would bring. A position alone is worth the margin it takes at the last
        close, a short one less than nothing, so that ``order_target_value`` and
        ``order_target_percent`` count in margin, as with backtrader's own futures.
        """
        if datas is None:
            return float(sum((account.worth(self.currency) for account in self._accounts.values()), _ZERO))
        books = {id(book): book for data in datas if (book := self._by_data.get(data)) is not None}
        return float(sum((book.worth(self.currency) for book in books.values()), _ZERO))

    get_value = getvalue

    def getposition(self, data: Any, clone: bool = False) -> BtPosition:
        """Return what is held of a data's instrument, or of its leg; all datas of one leg share it."""
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

    def liquidation_price(self, data: Any) -> Decimal | None:
        """Return the mark price at which a data's position would be liquidated if no other price moved.

        Eight decimals, as mark prices have. None when there is no such price, no position, or no margin is known.

        Raises:
            ConfigError: the data is of no account of this broker.
        """
        book = self._book(data)
        price = book.account.liquidation_price(book)
        return round(price, 8) if price is not None else None

    def ledger(self, store: "LiveStore | None" = None) -> Mapping[str, Decimal]:
        """Return the exact totals by asset of one account, the first when not said."""
        account = self._accounts[id(store if store is not None else self._stores[0])]
        return account.totals()

    def booked(self) -> Mapping[tuple[BookingKind, str], Decimal]:
        """Return what the venues booked in this run by kind and asset, of all accounts; see ``analyzers.Costs``."""
        sums: dict[tuple[BookingKind, str], Decimal] = {}
        for account in self._accounts.values():
            for key, amount in account.booked().items():
                sums[key] = sums.get(key, _ZERO) + amount
        return sums

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
        """Ask for an order's end; of an order that is over nothing happens. With a parent its children end."""
        ticket = self._tickets.get(order.ref)
        if ticket is None or not ticket.order.alive():
            return
        if self._bundles.holding(ticket) is not None:
            for each in self._bundles.remove(ticket):
                each.order.addinfo(reason="cancelled before it was sent")
                each.order.cancel()
                self._news.tell(each.order)
        elif ticket.owner_id and ticket.book.account.session.is_running:
            ticket.is_cancelled = True
            ticket.book.account.session.cancel(ticket.owner_id)

    def cancel_all(self, data: Any = None) -> int:
        """Cancel every living order of this broker, or those in a data's instrument; return how many.

        It is one request for each instrument where the venue can do that, and
        nobody else has an order there.
        """
        book = self._book(data) if data is not None else None
        living = [each for each in self._tickets.values() if each.order.alive() and book in {None, each.book}]
        sent: dict[Account, list[str]] = {}
        for ticket in living:
            if ticket.owner_id and self._bundles.holding(ticket) is None and ticket.book.account.session.is_running:
                ticket.is_cancelled = True
                sent.setdefault(ticket.book.account, []).append(ticket.owner_id)
            else:
                self.cancel(ticket.order)
        for account, owner_ids in sent.items():
            account.session.cancel_all(owner_ids)
        return len(living)

    def amend(
        self,
        order: Any,
        price: float | None = None,
        size: float | None = None,
        plimit: float | None = None,
        trailamount: float | None = None,
    ) -> bool:
        """Change a living order; what is None stays. Say whether the change was sent.

        Once it is taken, ``order.created`` shows it and ``notify_order`` tells the
        order as Accepted (Partial where some has filled), with ``order.info.amended``. What is refused, here or by
        the venue, leaves the order as it is, with ``order.info.amend_refused``.

        Args:
            order: what ``buy`` returned, or ``notify_order`` was given.
            price: of a limit order its limit, of the others their trigger.
            size: the whole size, what was filled included.
            plimit: the limit behind a trigger.
            trailamount: the distance of a trailing stop, in quote units.
        """
        ticket = self._tickets.get(order.ref)
        if ticket is None or not ticket.order.alive():
            return False
        changes = {"price": price, "size": size, "plimit": plimit, "trailamount": trailamount}
        try:
            request = amended(ticket.book, ticket.request, filled=ticket.filled, **changes)
            self._send_amendment(ticket, request)
        except (BtxError, ValueError) as error:
            self._news.refuse_amendment(ticket, str(error))
            return False
        return True

    def _send_amendment(self, ticket: Ticket, request: OrderRequest) -> None:
        """Send it; of an order that waits for ``transmit=True`` it shows at once.

        Raises:
            BtxError: it is not sent.
        """
        if ticket.amending is not None:
            raise BtxError("the last amendment has not been answered yet")
        if (refusal := refusal_of(ticket.book, request, is_one_more=False)) is not None:
            raise BtxError(refusal)
        if ticket.owner_id:
            ticket.book.account.session.amend(ticket.owner_id, request)
            ticket.amending, ticket.replaced = request, {name: leg.terms for name, leg in ticket.legs.items()}
        else:
            ticket.request = request
            show_request(ticket.order, request)

    def request_of(self, order: Any) -> OrderRequest | None:
        """Return what an order is on the venue's grid; None of one that was never made."""
        ticket = self._tickets.get(order.ref)
        return ticket.request if ticket is not None else None

    def orderstatus(self, order: Any) -> Any:
        """Return backtrader's status of an order now."""
        ticket = self._tickets.get(order.ref)
        return ticket.order.status if ticket is not None else order.status

    def open_orders(self, data: Any = None, store: "LiveStore | None" = None) -> list[Any]:
        """Return the living orders, those that earlier runs left first; of one data or one account if given.

        They compare equal with what ``notify_order`` is given. What earlier runs
        left has ``order.info.recovered``, and ``order.parent`` and ``order.oco``
        as it was sent.

        Raises:
            ConfigError: the data is of no account of this broker.
        """
        living = (each for each in self._tickets.values() if each.order.alive())
        book = self._book(data) if data is not None else None
        account = self._accounts[id(store)] if store is not None else None
        return [each.order for each in living if book in {None, each.book} and account in {None, each.book.account}]

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

        It is Created until its intent is on disk, which tells it as Submitted.

        ``exectype`` is Market, Limit, Stop, StopLimit, StopTrail or StopTrailLimit.
        A stop whose trigger the market has passed acts at once, as in a backtest.
        A take-profit, which waits on the other side, is asked for by name:
        ``order_type="TAKE_PROFIT_MARKET"`` or ``"TAKE_PROFIT_LIMIT"``, with the
        trigger in ``price`` and the limit in ``plimit``.

        ``valid`` is as in backtrader: a datetime, a date, a timedelta, and 0 or
        ``bt.Order.DAY`` for the end of the trading day (midnight UTC where there is
        none); a market order needs none and ignores it.

        ``parent``, ``oco`` and ``transmit`` are as in backtrader: what waits for
        ``transmit=True`` leaves together with it. An order of a group is over when
        none of its legs can fill any more; an exit whose parent filled less than
        was asked for ends Completed with less in ``executed.size`` than in
        ``created.size``: all there was to protect.

        Extra arguments: ``time_in_force="IOC"``, ``post_only=True``,
        ``display_size`` (an iceberg), ``order_type``, ``native_bracket=True``
        (entry and exits as one list at the venue: the exits rest only after a
        complete fill) and ``params`` (a dict of venue parameters); everything else
        lands in ``order.info``, but what looks like one of ours misspelt is not
        sent.

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
            exectype=exectype_of(exectype, info.get("order_type")),
            tradeid=tradeid,
            oco=oco,
            trailamount=trailamount,
            trailpercent=trailpercent,
            parent=parent,
            transmit=transmit,
        )
        order.addinfo(**{key: value for key, value in info.items() if key not in OWN_ARGUMENTS})
        order.addcomminfo(book.comminfo)
        asked = Asked(
            side=side,
            size=size,
            price=price,
            plimit=plimit,
            valid=valid,
            trailamount=trailamount,
            trailpercent=trailpercent,
            info=info,
            is_child=parent is not None,
        )
        reduces = parent is None and book.would_close(side, Decimal(repr(abs(size))))
        too_early = self._not_now(data, reduces=reduces)
        refusal = too_early or misspelt(info, OWN_ARGUMENTS) or self._send(order, book, asked)
        if refusal is not None:
            name, symbol = book.account.session.name, book.instrument.symbol
            if too_early is None:  # a strategy may try at every bar of history: that is not worth a line each
                _log.warning("%s: an order in %s is not sent: %s", name, symbol, refusal)
            if order.alive():
                self._news.refuse(order, refusal)
            self._break_up(parent or oco, refusal)
        return order

    def _send(self, order: Any, book: Book, asked: Asked) -> str | None:
        """Check, and submit with what is tied to it; return the reason when it is not sent."""
        session, bundle = book.account.session, None
        if (refused := session.orders_refused()) is not None:
            return refused
        try:
            ticket = Ticket(order=order, book=book, request=make_request(order, asked, book))
            tie = tie_of(ticket, parent=self._known(order.parent), oco=self._known(order.oco))
            if (refused := refusal_of(book, ticket.request, is_one_more=not asked.is_child)) is not None:
                return refused
            native_entry = bool(asked.info.get("native_bracket"))
            bundle = self._bundles.take(ticket, tie, transmit=order.transmit, native_entry=native_entry)
            self._tickets[order.ref] = ticket
            if bundle is not None:
                self._submit(bundle)
        except (BtxError, ValueError) as error:
            lacking = bundle.head.order if bundle is not None and getattr(error, "lacks_funds", False) else None
            for each in bundle or ():
                if not each.owner_id and each.order is not order:
                    text = f"it leaves with order {order.ref}: {error}"
                    self._news.refuse(each.order, text, lacks_funds=each.order is lacking)
            if order is lacking:
                self._news.refuse(order, str(error), lacks_funds=True)
            return str(error)
        return None

    def _known(self, order: Any) -> Ticket | None:
        """Return the ticket of an order that another is tied to.

        Raises:
            ConfigError: it was never sent.
        """
        if order is None:
            return None
        ticket = self._tickets.get(order.ref)
        if ticket is None:
            reason = order.info.get("reason")
            because = f": {reason}" if reason else ""
            raise ConfigError(f"order {order.ref}, which it is tied to, is {order.getstatusname()}{because}")
        return ticket

    def _submit(self, bundle: Bundle) -> None:
        account, sent = bundle.head.book.account, list(bundle)
        try:
            group = bundle.send(max_age_ns=feed_of(bundle.head.order.data).max_signal_age_ns)
        finally:  # of several that leave one by one, the first may have left when another is refused
            for ticket in sent:
                if ticket.owner_id:
                    ticket.order.addinfo(client_order_id=ticket.owner_id)
                    account.tickets[ticket.owner_id] = ticket
        if group is not None:
            account.unwritten[group.group_id] = group

    def _break_up(self, order: Any, reason: str) -> None:
        """Refuse everything that would have left with an order that is refused: no entry leaves without its exits."""
        bundle = self._bundles.holding(self._tickets.get(order.ref)) if order is not None else None
        if bundle is not None:
            for ticket in self._bundles.drop(bundle):
                self._news.refuse(ticket.order, f"an order it is tied to was refused: {reason}")

    def _not_now(self, data: Any, *, reduces: bool) -> str | None:
        """Return why an order on this data must not leave now: history is never traded.

        While a cut is mended the data is not live; what only reduces a position needs no more than a fresh bar then.
        """
        feed = feed_of(data)
        assert feed is not None, "only datas of ours have a book"
        if not feed.is_live and (feed.is_starting or feed.is_over or not reduces):
            return self._once(feed, "history: this bar is not live, and history is not traded")
        age_ns = feed.store.session.signal_age_ns(feed.instrument, feed.last_close_ns)
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

    # --- events in ----------------------------------------------------------------------------------------------

    def next(self) -> None:
        """Take over what the sessions learned. Called by cerebro once per loop."""
        self._states.begin(self.cerebro.runningstrats)
        for account in self._accounts.values():
            account.session.look()
            for book in account.beginning():
                self._news.begin(account, book)
            self._news.take(account)

    def get_notification(self) -> Any:
        """Return the next order for ``notify_order``, None when there is none."""
        return self._news.next_order()

    def turn_ends(self) -> None:
        """Save the strategies' states when it is time: nothing is half done now."""
        if self._states.are_kept:
            live = [each for each in self.cerebro.datas if isinstance(each, LiveFeed) and each.is_live and len(each)]
            if live:
                self._states.pass_time(max(data.last_close_ns for data in live))


def broker(*stores: "LiveStore", currency: str | None = None) -> LiveBroker:
    """Return one broker for several stores; it counts cash in ``currency``.

    Raises:
        ConfigError: no store was given, one twice, or one that counts in another currency.
    """
    if not stores:
        raise ConfigError("btx.broker needs at least one store: btx.broker(btx.load('binance'), ...)")
    if strange := [store for store in stores if not hasattr(store, "getbroker")]:
        raise ConfigError(f"{strange[0]!r} is no store: btx.broker(btx.load('binance'), ...)")
    if len({id(store) for store in stores}) != len(stores):
        raise ConfigError("a store was given twice: the same account loaded twice is the same store")
    if not all(hasattr(store, "session") for store in stores):
        raise ConfigError(
            'a backtest on bars has one account: load the stores of btx.broker with fills="venue", or with env="sim"'
        )
    currencies = {store.session.settings.currency for store in stores}
    wanted = currency or stores[0].session.settings.currency
    if currencies != {wanted}:
        raise ConfigError(
            f"stores count cash in {', '.join(sorted(currencies))}: load them all with currency={wanted!r}"
        )
    return LiveBroker(*stores, currency=wanted)

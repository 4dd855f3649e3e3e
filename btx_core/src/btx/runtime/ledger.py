"""What the account must hold by our own count, and what it went through while somebody looked. Lives on btx-io."""

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal

import attrs

from btx.model.account import AccountSnapshot, AccountUpdate, Booking, PositionReport
from btx.model.instrument import Instrument
from btx.model.order import Order
from btx.rules.holdings import Holding, after_order, counts, moved, stated, with_instrument
from btx.rules.orders import new_fills
from btx.rules.reconcile import ROUNDING, nearest
from btx.rules.recovery import History, balance_steps, expected_totals
from btx.rules.wallet import Key, MarginAccount, Terms, apply_booking, apply_mark, apply_update, with_terms

__all__ = ("Ledger",)

_ZERO = Decimal(0)


class Ledger:
    """Totals by asset; of a margin account positions too, and the exact account that both are read from.

    ``show`` gets the margin account after each change.
    """

    def __init__(
        self,
        *,
        margined: bool,
        instruments: Callable[[], Mapping[str, Instrument]],
        show: Callable[[MarginAccount], None] = lambda _account: None,
    ) -> None:
        self.now: dict[Holding, Decimal] = {}
        self.is_known = False  # the venue, or a journal, has said what there is
        self.fills = 0  # that were counted, each rounded by the venue perhaps, since the venue's word was taken
        self.margin = MarginAccount() if margined else None
        self._instruments = instruments
        self._show = show
        self._fills_before = 0
        self._passed: dict[Holding, list[Decimal]] | None = None

    def recover(self, history: History) -> None:
        """Begin with what a journal says."""
        totals = expected_totals(history, margined=self.margin is not None)
        if self.margin is not None:
            self._set_margin(history.margin)
        if totals is None or history.snapshot is None:
            return
        self.now, self.fills, self.is_known = totals, history.fills_since, True
        if self.margin is not None:
            strange = [each for each in history.snapshot.positions if each.symbol not in self.margin.terms]
            self._adopt(strange, {Key(each.symbol, each.position_side) for each in strange})

    @property
    def tolerance(self) -> Decimal:
        """What the venue may have rounded away."""
        return self.fills * ROUNDING

    @property
    def totals(self) -> dict[str, Decimal]:
        """What there is of each asset."""
        return {holding: total for holding, total in self.now.items() if isinstance(holding, str)}

    def positions(self, *, time_ns: int) -> tuple[PositionReport, ...]:
        """Return the positions that are open."""
        held_now = self.margin.positions.values() if self.margin is not None else ()
        return tuple(each.report(time_ns=time_ns) for each in held_now)

    def on_order(self, before: Order, after: Order) -> None:
        """Count what a step of an order did."""
        if not self.is_known:
            return
        self.fills += len(new_fills(before, after))
        if self.margin is not None:
            self._move(after_order(self.margin, before, after))
        else:
            self._add(balance_steps(before, after))

    def on_booking(self, booking: Booking) -> None:
        """Count money that moved otherwise."""
        if self.margin is None or not counts(booking):
            return
        after = apply_booking(self.margin, booking)
        if self.is_known:
            self._move(after)
        else:
            self._set_margin(after)  # the venue's first word will have it in the wallet

    def on_mark(self, symbol: str, mark_price: Decimal) -> None:
        """Value the positions of an instrument anew; nothing moves."""
        if self.margin is not None:
            self._set_margin(apply_mark(self.margin, symbol, mark_price))

    def trade_on(self, terms: Terms) -> None:
        """Know how an instrument is traded from now on."""
        if self.margin is not None:
            symbol = terms.instrument.symbol
            open_in = next(self.margin.of_symbol(symbol), None)
            if open_in is not None:  # the venue's word on how it is margined came with the position
                terms = attrs.evolve(terms, margin_mode=open_in.margin_mode)
            self._set_margin(with_terms(self.margin, terms))

    # --- the venue's word -----------------------------------------------------------------------------------

    def watch(self) -> None:
        """Remember from here on what each holding goes through, until ``take``."""
        self._passed, self._fills_before = {}, self.fills

    @property
    def passed(self) -> Mapping[Holding, Sequence[Decimal]]:
        """What each holding went through since ``watch``, what it is now last."""
        return {holding: [total] for holding, total in self.now.items()} | (self._passed or {})

    def take(self, snapshot: AccountSnapshot, *, compared: Collection[Holding], kept: Collection[Holding] = ()) -> None:
        """Take the venue's word, and keep what was counted after it was given; of the rest its word alone counts.

        What is ``kept`` is not taken: it is waited for what explains it.
        """
        passed, self._passed, self.fills = self.passed, None, self.fills - self._fills_before
        there, before = stated(snapshot), dict(self.now)
        for holding in (before.keys() | there.keys()) - set(kept):
            total = there.get(holding, _ZERO)
            was = nearest(passed.get(holding, ()), total) if holding in compared else before.get(holding, _ZERO)
            self.now[holding] = before.get(holding, _ZERO) + total - was
        self.is_known = True
        if self.margin is not None:
            self._adopt(snapshot.positions, {each for each in self.now if self.now[each] != before.get(each)})

    def _adopt(self, reports: Sequence[PositionReport], changed: Collection[Holding]) -> None:
        """Bring the exact account to what is held now: of positions that changed the venue's entry price counts."""
        account, instruments = self.margin, self._instruments()
        assert account is not None  # only of margin accounts
        told = {Key(each.symbol, each.position_side): each for each in reports}
        for symbol in {each.symbol for each in reports if each.symbol in instruments}:
            account = with_instrument(account, instruments[symbol])
        positions = []
        for key in told.keys() | {each for each in changed if isinstance(each, Key)}:
            quantity = self.now.get(key, _ZERO)
            report = told.get(key) or PositionReport(
                symbol=key.symbol, position_side=key.position_side, quantity=quantity, time_ns=0
            )
            entry = report.entry_price if key in changed else None
            positions.append(attrs.evolve(report, quantity=quantity, entry_price=entry))
        update = AccountUpdate(balances={}, positions=tuple(positions), time_ns=0)
        self._set_margin(attrs.evolve(apply_update(account, update), wallets=self.totals or account.wallets))

    # --- inside -----------------------------------------------------------------------------------------------

    def _move(self, account: MarginAccount) -> None:
        steps = moved(self.margin, account) if self.margin is not None else {}
        self._set_margin(account)
        self._add(steps)

    def _set_margin(self, account: MarginAccount) -> None:
        self.margin = account
        self._show(account)

    def _add(self, steps: Mapping[Holding, Decimal] | Mapping[str, Decimal]) -> None:
        for holding, change in steps.items():
            before = self.now.get(holding, _ZERO)
            self.now[holding] = before + change
            if self._passed is not None:
                self._passed.setdefault(holding, [before]).append(self.now[holding])

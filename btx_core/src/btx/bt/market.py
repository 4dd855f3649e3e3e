"""``data.market``: quotes, order book and public trades of a data's instrument, beside its bars.

The strategy reads it when it likes, mostly in ``next()``.  Nothing of it wakes
the strategy: what was not read is overwritten by what came later, and counted.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import attrs

from btx.errors import ConfigError
from btx.model.derivatives import MarkPrice
from btx.model.market import BookSnapshot, Quote, Trade
from btx.model.venue import Channel
from btx.runtime.books import MOST_LEVELS
from btx.runtime.latest import Latest, Prints, Unknown
from btx.runtime.session import Session

if TYPE_CHECKING:
    from btx.bt.feed import LiveFeed

__all__ = ("Asked", "Conflated", "Market", "PastMarket", "asked", "check_flags")

_BOOK_DEPTH = 20
_PRINTS = 10_000
_CHANNELS: Final = {"quotes": Channel.QUOTE, "book": Channel.BOOK, "trades": Channel.TRADE}
_WHOSE: Final = {"quotes": "quotes of {} were", "book": "the book of {} was", "trades": "trades of {} were"}
_HOW: Final = {"quotes": "quotes=True", "book": f"book={_BOOK_DEPTH}", "trades": "trades=True"}


@attrs.frozen(kw_only=True)
class Asked:
    """What ``getdata`` was asked to have beside the bars; ``book`` is a number of levels, 0 for none."""

    quotes: bool = False
    book: int = 0
    trades: bool = False


@attrs.frozen(kw_only=True)
class Conflated:
    """How many updates were overwritten, and trades dropped, before the strategy read them."""

    quotes: int = 0
    book: int = 0
    trades: int = 0


class PastMarket:
    """The market of a backtest: history has bars, and neither quotes nor books, so there are none to read.

    What a strategy may ask of it is what it asks of :class:`Market`.
    """

    def __init__(self, symbol: str, what: Asked, mark: Callable[[], MarkPrice | None] | None = None) -> None:
        self._symbol = symbol
        self._mark = mark
        self._depths = {name: int(getattr(what, name)) for name in _CHANNELS if getattr(what, name)}

    def __repr__(self) -> str:
        return f"<btx market of {self._symbol}: {', '.join(self._depths) or 'nothing asked for'}>"

    @property
    def quote(self) -> Quote | None:
        """The best bid and ask, None while they are not known.

        Raises:
            ConfigError: quotes were not asked for.
        """
        return cast("Quote | None", self._read("quotes"))

    @property
    def book(self) -> BookSnapshot | None:
        """The best levels of both sides, best first; None while the book is not in step with the venue's.

        Raises:
            ConfigError: the book was not asked for.
        """
        return cast("BookSnapshot | None", self._read("book"))

    def mark(self) -> MarkPrice | None:
        """Return mark price, index price and the next funding; None while they are not known, and of what is owned.

        It need not be asked for: it is what a position on margin is valued at.
        """
        return self._mark() if self._mark is not None else None

    def trades(self) -> tuple[Trade, ...]:
        """Return the public trades since the last call, oldest first; of very many the newest 10,000.

        Raises:
            ConfigError: trades were not asked for.
        """
        self._check_asked("trades")
        return ()

    def trouble(self, name: str) -> str | None:
        """Return why ``"quotes"`` or the ``"book"`` are None, None when they are known.

        Raises:
            ConfigError: it was not asked for, or is none of the two.
        """
        if name not in ("quotes", "book"):
            raise ConfigError(f'trouble({name!r}): write "quotes" or "book"')
        self._check_asked(name)
        return self._why(name)

    @property
    def conflated(self) -> Conflated:
        """What came and was never read, since it was asked for."""
        return Conflated()

    @property
    def missed(self) -> int:
        """How many public trades were neither pushed nor to be had by request, as far as their numbers tell."""
        return 0

    def subscribe(self, name: str, *, depth: int = _BOOK_DEPTH) -> None:
        """Ask for ``"quotes"``, the ``"book"`` or ``"trades"``, now or at the start; again with another depth.

        Raises:
            ConfigError: it is none of these, or the venue has none.
        """
        _check_name("subscribe", name)
        self._depths[name] = depth if name == "book" else 1

    def unsubscribe(self, name: str) -> None:
        """Ask for it no more; reading it is an error from here on. What was never asked for is no matter.

        Raises:
            ConfigError: there is nothing of this name.
        """
        _check_name("unsubscribe", name)
        self._depths.pop(name, None)

    def _check_asked(self, name: str) -> None:
        if name not in self._depths:
            raise ConfigError(
                f"{_WHOSE[name].format(self._symbol)} not asked for: write store.getdata({self._symbol!r}, "
                f"{_HOW[name]}), or data.market.subscribe({name!r}) in the strategy"
            )

    def _read(self, name: str) -> Any:
        self._check_asked(name)

    def _why(self, name: str) -> str | None:  # noqa: ARG002 -- the same of all
        return "history has bars, and neither quotes nor books"


class Market(PastMarket):
    """What the venue says of one instrument, as it is now.

    It belongs to live bars: while history comes in, or what a cut made the data
    miss, ``quote`` and ``book`` are None and ``trades()`` is empty, for they would
    tell a bar of the past its future.
    """

    def __init__(self, feed: "LiveFeed", what: Asked) -> None:
        super().__init__(feed.symbol, what)
        self._feed = feed
        self._slots: dict[str, Any] = {}

    def mark(self) -> MarkPrice | None:
        return self._feed.store.session.mark(self._feed.symbol) if self._feed.is_live else None

    def trades(self) -> tuple[Trade, ...]:
        super().trades()
        slot: Prints | None = self._slots.get("trades")
        return slot.take() if slot is not None and self._feed.is_live else ()

    @property
    def conflated(self) -> Conflated:
        quotes, book, trades = (self._slots.get(name) for name in _CHANNELS)
        return Conflated(
            quotes=quotes.conflated if quotes is not None else 0,
            book=book.conflated if book is not None else 0,
            trades=trades.dropped if trades is not None else 0,
        )

    @property
    def missed(self) -> int:
        slot: Prints | None = self._slots.get("trades")
        return slot.missed if slot is not None else 0

    def subscribe(self, name: str, *, depth: int = _BOOK_DEPTH) -> None:
        _check_name("subscribe", name)
        _check(self._feed.store.session, name, depth=depth, historical=self._feed.spec.historical)
        super().subscribe(name, depth=depth)
        if self._feed.is_started:
            self._open(name)

    def unsubscribe(self, name: str) -> None:
        super().unsubscribe(name)
        slot = self._slots.pop(name, None)
        if slot is not None:
            self._feed.store.session.close_market(slot)

    def start(self) -> None:
        """Open what was asked for; the data's start calls it."""
        self._slots.clear()
        for name in self._depths:
            self._open(name)

    def stop(self) -> None:
        """Close everything; the data's end calls it. The counters, and what was last read, stay."""
        for slot in self._slots.values():
            self._feed.store.session.close_market(slot)

    def _open(self, name: str) -> None:
        slot = self._slots.get(name)
        if slot is None:
            slot = self._slots[name] = Prints(bound=_PRINTS) if name == "trades" else Latest()
        self._feed.store.session.open_market(self._feed.instrument, _CHANNELS[name], slot, depth=self._depths[name])

    def _read(self, name: str) -> Any:
        self._check_asked(name)
        slot: Latest[Any] | None = self._slots.get(name)
        if slot is None or not self._feed.is_live:
            return None
        value = slot.get()
        return None if isinstance(value, Unknown) else value

    def _why(self, name: str) -> str | None:
        slot: Latest[Any] | None = self._slots.get(name)
        if slot is None:
            return "the data is not started"
        if not self._feed.is_live:
            return "the data delivers bars of the past"
        value = slot.get()
        return value.reason if isinstance(value, Unknown) else None


def check_flags(**flags: Any) -> None:
    """Refuse what a word of yes or no cannot be: any text would be a yes.

    Raises:
        ConfigError: one is neither True nor False.
    """
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ConfigError(f"{name}={value!r}: write True or False")


def asked(session: Session | None, *, quotes: Any, book: Any, trades: Any, historical: bool = False) -> Asked:
    """Return what the words of ``getdata`` mean; without a session for a backtest.

    Raises:
        ConfigError: they mean nothing, or the venue has no such thing.
    """
    check_flags(quotes=quotes, trades=trades)
    if isinstance(book, bool):
        book = _BOOK_DEPTH if book else 0
    elif isinstance(book, int):
        _check_depth(book)
    else:
        raise ConfigError(f"book={book!r}: write a number of levels, like book={_BOOK_DEPTH}")
    if session is not None:
        for name, value in (("quotes", quotes), ("book", book), ("trades", trades)):
            if value:
                _check(session, name, depth=book, historical=historical)
    return Asked(quotes=quotes, book=book, trades=trades)


def _check_name(verb: str, name: str) -> None:
    if name not in _CHANNELS:
        raise ConfigError(f"{verb}({name!r}): write one of {', '.join(map(repr, _CHANNELS))}")


def _check(session: Session, name: str, *, depth: int, historical: bool) -> None:
    if historical:
        raise ConfigError(f"{name} are of now, and this data is historical: take one of the two away")
    if _CHANNELS[name] not in session.info.capabilities[session.market].channels:
        raise ConfigError(f"{session.info.title} {session.market} pushes no {name}: leave {_HOW[name]} out")
    if name == "book":
        _check_depth(depth)


def _check_depth(depth: int) -> None:
    if not 1 <= depth <= MOST_LEVELS:
        raise ConfigError(f"a book of {depth} levels: ask for 1 to {MOST_LEVELS}")

"""Cards: what the kit asks of an adapter, one numbered sentence each, and what came of asking."""

import enum
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

from btx.model.instrument import Instrument
from btx.model.venue import Capabilities, VenueInfo

__all__ = (
    "DEADLINE_S",
    "GROUPS",
    "Card",
    "CardFailedError",
    "CardSkippedError",
    "Kind",
    "Need",
    "Outcome",
    "Place",
    "Result",
    "World",
    "expect",
    "expect_error",
    "ports_card",
    "registered",
    "run_card",
    "skip",
    "static_card",
)

Need = Callable[[VenueInfo, Capabilities], str]
"""Says why a card is not for a venue's market; an empty text: it is."""


@attrs.frozen(kw_only=True)
class Place:
    """Where a card's world is to be."""

    can: Capabilities
    usual: Callable[[], tuple[Instrument, Decimal]]  # what is traded, and its last price in the usual world
    folder: Path  # for files of the world; it goes with the runner


World = Callable[[Place], Mapping[str, Any]]
"""Says what a card's world has other than the usual one, by the fields of ``Scenario``."""

DEADLINE_S = 10.0
"""How long something that must happen at once may take on a busy machine, unless somebody says otherwise."""

GROUPS: Mapping[str, str] = {
    "LOAD": "load and packaging",
    "INS": "instruments",
    "HIS": "history",
    "STR": "streams",
    "ORD": "orders",
    "CPX": "complex orders",
    "ACC": "account",
    "FUT": "futures",
    "FLT": "faults and recovery",
    "RST": "restarts",
    "LIM": "rate limits",
    "CLK": "clock",
    "ERR": "errors",
    "END": "shutdown",
}
"""The groups by the letters that their cards' numbers begin with, in the order they are played."""


class Outcome(enum.Enum):
    """What came of a card; the value is what the report says."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Kind(enum.Enum):
    """What a card's check is given."""

    STATIC = "static"  # the adapter as it was loaded: nothing is started
    PORTS = "ports"  # its ports on its simulator
    RUN = "run"  # a hall for runs of btx.load and cerebro on worlds of its simulator


class CardFailedError(AssertionError):
    """The adapter does not do what the card says; the message says what was expected and what happened."""


class CardSkippedError(Exception):
    """What the card is about is not to be had here; the message says why."""


@attrs.frozen(kw_only=True)
class Card:
    """One thing an adapter must do."""

    number: str  # ORD-07
    title: str  # a sentence, true of a good adapter
    kind: Kind
    check: Callable[[Any], Any]
    hint: str  # where an author should look when it fails
    needs: tuple[Need, ...] = ()
    alone: bool = False  # it leaves its world in a state that no other card should find
    world: World | None = None  # what its scenario has other than the usual one

    @property
    def group(self) -> str:
        """The letters of the group."""
        return self.number.partition("-")[0]

    def why_not(self, info: VenueInfo, market: str) -> str:
        """Say why the card is not for this market, nothing when it is."""
        can = info.capabilities[market]
        return next((reason for need in self.needs if (reason := need(info, can))), "")


@attrs.frozen(kw_only=True)
class Result:
    """What came of one card; ``reason`` is a sentence unless it passed."""

    number: str
    title: str
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0


_cards: dict[str, Card] = {}


def registered() -> Mapping[str, Card]:
    """Return every card by its number, group by group."""
    from btx.testing import cards

    cards.load()
    order = list(GROUPS)
    return dict(sorted(_cards.items(), key=lambda item: (order.index(item[1].group), item[0])))


def _register(kind: Kind, number: str, title: str, hint: str, **words: Any) -> Callable[[Any], Any]:
    def keep(check: Any) -> Any:
        if number in _cards:
            raise ValueError(f"two cards have the number {number}")
        _cards[number] = Card(number=number, title=title, kind=kind, check=check, hint=hint, **words)
        return check

    return keep


def static_card(number: str, title: str, *, hint: str, needs: tuple[Need, ...] = ()) -> Callable[[Any], Any]:
    """Make a card of a function that is given a :class:`btx.testing.subject.Subject`."""
    return _register(Kind.STATIC, number, title, hint, needs=needs)


def ports_card(
    number: str,
    title: str,
    *,
    hint: str,
    needs: tuple[Need, ...] = (),
    alone: bool = False,
    world: World | None = None,
) -> Callable[[Any], Any]:
    """Make a card of a coroutine function that is given a :class:`btx.testing.bench.Bench`.

    Cards of a group share one, unless they are ``alone`` or change the ``world``.
    """
    alone = alone or world is not None
    return _register(Kind.PORTS, number, title, hint, needs=needs, alone=alone, world=world)


def run_card(number: str, title: str, *, hint: str, needs: tuple[Need, ...] = ()) -> Callable[[Any], Any]:
    """Make a card of a function that is given a :class:`btx.testing.hall.Hall`, and plays whole runs in it."""
    return _register(Kind.RUN, number, title, hint, needs=needs)


def expect(condition: object, sentence: str) -> None:
    """Fail the card with a sentence unless something is so.

    Raises:
        CardFailedError: it is not.
    """
    if not condition:
        raise CardFailedError(sentence)


async def expect_error(error: type[Exception], awaitable: Awaitable[object], what: str) -> Any:
    """Fail the card unless awaiting something raises an error of a class; return the error.

    Raises:
        CardFailedError: nothing was raised, or something else.
    """
    try:
        found = await awaitable
    except error as raised:
        return raised
    except Exception as raised:
        raise CardFailedError(
            f"expected {error.__name__} {what}, and {type(raised).__name__} came: {raised}"
        ) from raised
    raise CardFailedError(f"expected {error.__name__} {what}, and nothing was raised; it returned {found!r}")


def skip(reason: str) -> None:
    """Leave the card out, as what it needs turns out not to be there.

    Raises:
        CardSkippedError: always.
    """
    raise CardSkippedError(reason)

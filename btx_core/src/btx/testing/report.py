"""The conformance card of a venue's market: what came of every card, as JSON for machines and a table for people."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from btx.errors import ConfigError
from btx.testing.card import GROUPS, Outcome, Result

__all__ = ("CARD_FILE", "ConformanceCard", "card_from_json", "cards_to_json", "gathered", "read_cards")

CARD_FILE = "conformance.json"
"""What the cards are called beside an adapter's plugin module."""


@attrs.frozen(kw_only=True)
class ConformanceCard:
    """What came of the kit at one market of one venue."""

    venue: str
    market: str
    version: str  # of the adapter's distribution; empty where it is not installed
    api: int  # the hook API number both sides spoke
    core: str  # the version of btx-core
    results: tuple[Result, ...]
    date: str = ""  # as the caller says it: 2026-05-01

    @property
    def totals(self) -> Mapping[str, int]:
        """How many cards came to each outcome."""
        counted = Counter(each.outcome for each in self.results)
        return {outcome.value: counted[outcome] for outcome in Outcome}

    @property
    def failures(self) -> tuple[Result, ...]:
        """The cards that failed."""
        return tuple(each for each in self.results if each.outcome is Outcome.FAILED)

    @property
    def skips(self) -> tuple[Result, ...]:
        """The cards that were left out, each with its reason."""
        return tuple(each for each in self.results if each.outcome is Outcome.SKIPPED)

    def of(self, group: str) -> tuple[Result, ...]:
        """Return the results of one group, by its letters."""
        return tuple(each for each in self.results if each.number.partition("-")[0] == group)

    @property
    def groups(self) -> tuple[str, ...]:
        """The letters of the groups that were played, in their order."""
        return tuple(group for group in GROUPS if self.of(group))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        words = {"venue": self.venue, "market": self.market, "version": self.version, "api": self.api}
        dated = {"date": self.date} if self.date else {}
        cards = [
            {
                "number": each.number,
                "title": each.title,
                "outcome": each.outcome.value,
                **({"reason": each.reason} if each.reason else {}),
                "seconds": round(each.seconds, 3),
            }
            for each in self.results
        ]
        return {**words, "core": self.core, **dated, "totals": dict(self.totals), "cards": cards}


def card_from_json(read: Mapping[str, Any]) -> ConformanceCard:
    """Return the card that JSON says.

    Raises:
        ConfigError: it is none.
    """
    try:
        return ConformanceCard(
            venue=read["venue"],
            market=read["market"],
            version=read["version"],
            api=read["api"],
            core=read["core"],
            date=read.get("date", ""),
            results=tuple(
                Result(
                    number=each["number"],
                    title=each["title"],
                    outcome=Outcome(each["outcome"]),
                    reason=each.get("reason", ""),
                    seconds=each["seconds"],
                )
                for each in read["cards"]
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"this is no conformance card: {type(error).__name__}: {error}") from error


def gathered(played: Iterable[Mapping[str, Any]], *, date: str = "") -> tuple[ConformanceCard, ...]:
    """Return one card per market of cards that were played one by one, in any order."""
    found: dict[tuple[str, str], ConformanceCard] = {}
    for read in played:
        card = card_from_json(read)
        known = found.get((card.venue, card.market))
        results = (*(known.results if known is not None else ()), *card.results)
        found[card.venue, card.market] = attrs.evolve(card, results=results, date=date)
    order = list(GROUPS)

    def place(result: Result) -> tuple[int, str]:
        return order.index(result.number.partition("-")[0]), result.number

    return tuple(
        attrs.evolve(card, results=tuple(sorted(card.results, key=place))) for _, card in sorted(found.items())
    )


def cards_to_json(cards: Iterable[ConformanceCard]) -> str:
    """Return the cards of an adapter's markets as a file has them: a line for each result."""
    return "[\n" + ",\n".join(_lines(each.to_json()) for each in cards) + "\n]\n"


def _lines(card: dict[str, Any]) -> str:
    rows = ",\n".join(f" {json.dumps(row, ensure_ascii=False)}" for row in card.pop("cards"))
    return f'{json.dumps(card)[:-1]}, "cards": [\n{rows}\n]}}'


def read_cards(path: Path) -> tuple[ConformanceCard, ...]:
    """Read what :func:`cards_to_json` wrote.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as conformance cards: {error}") from error
    if not isinstance(read, list):
        raise ConfigError(f"{path} is no list of conformance cards")
    return tuple(card_from_json(each) for each in read)

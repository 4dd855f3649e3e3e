"""``btx conformance``: the kit from the command line, and the cards that installed adapters bring with them."""

import contextlib
import importlib.metadata
import logging
from collections.abc import Collection, Iterator
from pathlib import Path

import attrs
from rich.console import Console

from btx.defaults import open_venue
from btx.errors import ConfigError
from btx.plugins import installed_venues
from btx.testing.card import GROUPS, Outcome, Result, registered
from btx.testing.conformance import cards_of, passport
from btx.testing.report import CARD_FILE, ConformanceCard, cards_to_json, read_cards
from btx.tools.files import check_writable

__all__ = ("cards_page", "list_cards", "list_venues", "run_conformance", "shipped_cards", "totals")

_REMARKS = 5  # of a card that failed, at most
_SIGNS = {Outcome.PASSED: "[green]✓[/]", Outcome.FAILED: "[bold red]✗[/]", Outcome.SKIPPED: "[yellow]–[/]"}


def run_conformance(
    name: str, *, market: str | None, groups: Collection[str], numbers: Collection[str], report: Path | None, date: str
) -> int:
    """Play the kit at a venue's markets, print each card, and return the exit code: 0 when none failed.

    Raises:
        ConfigError: there is no such venue, market, group or card.
        PluginError: the adapter cannot be loaded at all.
    """
    from btx.testing.runner import Runner  # with it come backtrader and all else that plays

    console = Console(highlight=False)
    info = open_venue(name).info
    if market is not None and market not in info.markets:
        raise ConfigError(f"{name} has no market {market!r} here: choose one of {', '.join(info.markets)}")
    if report is not None:
        check_writable(report)
    wanted = cards_of(groups, numbers)
    cards = []
    for each in (market,) if market is not None else info.markets:
        console.print(f"{info.title} {each}", style="bold")
        with Runner(name, each) as runner, _logged() as remarks:
            results = []
            for card in wanted:
                remarks.clear()
                results.append(runner.run(card))
                _show(console, results[-1], remarks)
        cards.append(attrs.evolve(passport(name, info, each, date=date), results=tuple(results)))
        console.print(totals(cards[-1]))
    if report is not None:
        report.write_text(cards_to_json(cards), encoding="utf-8")
    return 1 if any(card.failures for card in cards) else 0


@contextlib.contextmanager
def _logged() -> Iterator[list[str]]:
    """Keep what btx warns of while cards are played: it is of interest where a card fails."""
    remarks: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            remarks.append(record.getMessage())

    log, handler = logging.getLogger("btx"), Kept(logging.WARNING)
    log.addHandler(handler)
    before, log.propagate = log.propagate, False
    try:
        yield remarks
    finally:
        log.propagate = before
        log.removeHandler(handler)


def _show(console: Console, result: Result, remarks: Collection[str]) -> None:
    console.print(f"{_SIGNS[result.outcome]} {result.number}  {result.title}", soft_wrap=True)
    if result.reason:
        console.print(f"          {result.reason}", soft_wrap=True, markup=False)
    if result.outcome is Outcome.FAILED:
        for remark in list(dict.fromkeys(remarks))[-_REMARKS:]:
            console.print(f"          warned: {remark}", style="dim", soft_wrap=True, markup=False)


def totals(card: ConformanceCard) -> str:
    """Say in one line what came of a market's cards."""
    return "conformance " + ", ".join(f"{count} {outcome}" for outcome, count in card.totals.items())


def list_cards(*, markdown: bool) -> int:
    """Print every card with its number and sentence, and return the exit code."""
    console = Console(highlight=False)
    if markdown:
        console.out(cards_page(), end="", highlight=False)
        return 0
    for card in registered().values():
        console.print(f"{card.number}  {card.title}", soft_wrap=True, markup=False)
    return 0


def cards_page() -> str:
    """Return the cards as a page of the documentation."""
    cards = registered().values()
    parts = [_HEAD.format(count=len(cards))]
    for letters, title in GROUPS.items():
        rows = [f"| {card.number} | {card.title} |" for card in cards if card.group == letters]
        parts.append("\n".join([f"## {letters}: {title}\n", "| card | what it proves |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


_HEAD = """# Conformance cards

Made by `btx conformance --markdown` from the kit itself.

{count} cards say what an adapter must do, one sentence each. An author writes

```python
from btx.testing import VenueConformance


class TestKraken(VenueConformance):
    venue = "kraken"
```

and pytest plays every card at every market of the adapter, on the adapter's own simulator, through the hooks and
through `btx.load` and cerebro, as users do. `pip install btx-core[testing]` has what is needed; `btx conformance NAME`
does the same without pytest.

- **A card is chosen by what the adapter declares** in its `VenueInfo` and `Capabilities`. What is claimed and fails is
  a failure; what is not claimed is left out, and every card that is left out is printed with its reason.
- **A failure says** what was expected, what happened, and where an author should look.
- `--conformance-json FILE` (pytest) and `--json FILE` (`btx conformance`) write the conformance cards: venue, market,
  version, hook API number, and number, title, outcome, reason and seconds of each card. As `conformance.json` beside
  the plugin module they go into the wheel, and `btx venues` shows them without importing the adapter.
- `markets`, `groups` and `scenario` of the class choose less: `groups = ("LOAD", "ORD")` plays two groups.

The simulator needs no more than the control channel of `btx.sim`: lockstep, the ledger, the truth about bars, and the
script of faults. A fault it does not play leaves its card out. Where positions are on margin it plays a file of bars
as well (`Scenario.data`): the market in which a liquidation is bound to come.
"""


def shipped_cards(name: str) -> tuple[ConformanceCard, ...]:
    """Return the cards that an installed adapter brings beside its plugin module; the adapter is not imported.

    Raises:
        ConfigError: they cannot be read.
    """
    point = installed_venues()[name]
    path = _beside(point)
    return read_cards(path) if path is not None else ()


def _beside(point: importlib.metadata.EntryPoint) -> Path | None:
    """Return where an adapter's cards are: among the distribution's files, or in the folder it is developed in."""
    package = point.module.partition(".")[0]
    if point.dist is None:
        return None
    for file in point.dist.files or ():
        if file.parts == (package, CARD_FILE):
            return Path(str(file.locate()))
    folder = _folder_of(package)
    path = folder / CARD_FILE if folder is not None else None
    return path if path is not None and path.is_file() else None


def _folder_of(package: str) -> Path | None:
    """Return a package's folder without running its code."""
    import importlib.util

    spec = importlib.util.find_spec(package)  # of a package without a dot: found, not imported
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(places[0]) if places else None


def list_venues() -> int:
    """Print the installed adapters, each with what came of the kit at its markets, and return the exit code."""
    console = Console(highlight=False)
    for name, point in sorted(installed_venues().items()):
        distribution = f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value
        console.print(f"{name}  {distribution}", soft_wrap=True, markup=False)
        try:
            cards = shipped_cards(name)
        except ConfigError as error:
            console.print(f"  {error}", style="red", soft_wrap=True, markup=False)
            continue
        for card in cards:
            about = f"version {card.version}" + (f", {card.date}" if card.date else "")
            console.print(f"  {card.market}: {totals(card)} ({about})", soft_wrap=True, markup=False)
    if not installed_venues():
        console.print("no adapter is installed: pip install btx-binance")
    return 0

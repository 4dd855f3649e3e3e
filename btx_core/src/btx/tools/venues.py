"""``btx venues``: the adapters that are installed, and what each venue does for a strategy."""

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table

from btx.defaults import open_venue
from btx.model.venue import VenueInfo
from btx.rules.capabilities import Support, capability_rows
from btx.tools.conformance import shipped_cards, totals

__all__ = ("matrix_of", "page_of", "run_matrix", "run_venue")

_MEANING = (
    ("native", "the venue does it, whether your process lives or not"),
    ("emulated", "btx does it while your process runs, with orders the venue has"),
    ("no", "an order that asks for it is Rejected, with a reason"),
)
_STYLES = {Support.NATIVE: "green", Support.EMULATED: "yellow", Support.NO: "red"}


def run_venue(name: str, *, markdown: bool) -> int:
    """Print what a venue does for a strategy, market by market; return the exit code.

    Raises:
        UnknownVenueError: no adapter of this name is installed.
        PluginError: it is broken, or written for another core.
    """
    info = open_venue(name).info
    console = Console()
    if markdown:
        console.out(page_of(info), end="", highlight=False)
        return 0
    for market in info.markets:
        console.print(f"{info.title} {market}", style="bold", highlight=False)
        console.print(_table(info, market))
    for word, meaning in _MEANING:
        console.print(f"{word}: {meaning}", highlight=False)
    for card in shipped_cards(name):
        console.print(f"{card.market}: {totals(card)}", highlight=False)
    return 0


def run_matrix(names: Iterable[str]) -> int:
    """Print what all these venues do as a page of the documentation; return the exit code.

    Raises:
        UnknownVenueError: no adapter of a name is installed.
        PluginError: one is broken, or written for another core.
    """
    Console().out(matrix_of([open_venue(name).info for name in sorted(names)]), end="", highlight=False)
    return 0


def _table(info: VenueInfo, market: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("feature", "support", "remark"):
        table.add_column(column, overflow="fold")
    for row in capability_rows(info.capabilities[market]):
        table.add_row(row.feature, f"[{_STYLES[row.support]}]{row.support.value}[/]", row.remark)
    return table


def page_of(info: VenueInfo) -> str:
    """Return the table as a page of the documentation."""
    parts = [
        f"# {info.title}: what it does for a strategy\n",
        f"Made by `btx venues {info.name} --markdown` from what the adapter says of its venue.\n",
        "\n".join(f"- **{word}**: {meaning}." for word, meaning in _MEANING) + "\n",
    ]
    for market in info.markets:
        lines = ["| feature | support | remark |", "|---|---|---|"]
        rows = capability_rows(info.capabilities[market])
        lines += [f"| {row.feature} | {row.support.value} | {row.remark} |".replace("|  |", "| |") for row in rows]
        parts.append(f"## {market}\n")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def matrix_of(infos: Iterable[VenueInfo]) -> str:
    """Return what each market of each venue does for a strategy, side by side, as a page of the documentation."""
    columns = {
        f"[{info.title}](venues/{info.name}.md) {market}": {
            row.feature: row.support.value for row in capability_rows(info.capabilities[market])
        }
        for info in infos
        for market in info.markets
    }
    features = dict.fromkeys(feature for support in columns.values() for feature in support)
    lines = [f"| feature | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {feature} | {' | '.join(support.get(feature, '-') for support in columns.values())} |"
        for feature in features
    ]
    parts = [
        "# What venues do\n",
        "Made by `btx venues --markdown` from what the adapters say; remarks are on the venues' pages.\n",
        "\n".join(f"- **{word}**: {meaning}." for word, meaning in (*_MEANING, ("-", "it means nothing there"))) + "\n",
        "\n".join(lines) + "\n",
    ]
    return "\n".join(parts)

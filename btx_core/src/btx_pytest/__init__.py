"""pytest's door to the conformance kit: an option for its cards, and nothing that costs before one is played.

It imports nothing of btx until a card was played: pytest loads it in every run
of everybody who has btx-core installed.
"""

from pathlib import Path
from typing import Any

__all__ = (
    "pytest_addoption",
    "pytest_configure",
    "pytest_runtest_logreport",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
)

_played: list[dict[str, Any]] = []


def pytest_addoption(parser: Any) -> None:
    """Add the options of the kit."""
    group = parser.getgroup("btx", "conformance of btx adapters")
    group.addoption("--conformance-json", metavar="FILE", help="write the conformance cards that were played to FILE")
    group.addoption("--conformance-date", metavar="DATE", default="", help="what the cards say they were made on")


def pytest_configure(config: Any) -> None:  # noqa: ARG001
    """Begin with no card."""
    _played.clear()


def pytest_runtest_logreport(report: Any) -> None:
    """Keep what a card came to; with xdist this is told to the process that gathers."""
    if report.when == "call":
        _played.extend(value for name, value in report.user_properties if name == "btx_conformance")


def pytest_sessionfinish(session: Any) -> None:
    """Write the cards, once: not in xdist's workers."""
    path = session.config.getoption("conformance_json")
    if path and _played and not hasattr(session.config, "workerinput"):
        from btx.testing.report import cards_to_json, gathered

        cards = gathered(_played, date=session.config.getoption("conformance_date"))
        Path(path).write_text(cards_to_json(cards), encoding="utf-8")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what came of the cards of each market, and why some were left out."""
    if not _played:
        return
    from btx.testing.report import gathered

    terminalreporter.section("conformance")
    for card in gathered(_played):
        counted = ", ".join(f"{count} {outcome}" for outcome, count in card.totals.items())
        terminalreporter.write_line(f"{card.venue} {card.market}: {counted}")
        for each in card.skips:
            terminalreporter.write_line(f"  {each.number} left out: {each.reason}")

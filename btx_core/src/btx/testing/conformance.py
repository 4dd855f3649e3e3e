"""What an author writes: a class of five lines; and the same from a program."""

import importlib.metadata
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from btx.defaults import open_venue
from btx.errors import ConfigError
from btx.model.venue import VenueInfo
from btx.plugins import offer
from btx.testing.card import DEADLINE_S, GROUPS, Card, Outcome, Result, registered
from btx.testing.report import ConformanceCard
from btx.testing.subject import distribution_of

if TYPE_CHECKING:
    from btx.testing.runner import Runner  # with it come backtrader and all else that plays: only then

__all__ = ("VenueConformance", "cards_of", "conformance", "passport")


def cards_of(groups: Collection[str] = (), numbers: Collection[str] = ()) -> tuple[Card, ...]:
    """Return the cards of these groups (``"ORD"``) or numbers (``"ORD-07"``); all of them when neither is said.

    Raises:
        ConfigError: there is no such group or card.
    """
    every = registered()
    if strange := [each for each in groups if each not in GROUPS]:
        raise ConfigError(f"there is no group {', '.join(strange)}: choose of {', '.join(GROUPS)}")
    if strange := [each for each in numbers if each not in every]:
        raise ConfigError(f"there is no card {', '.join(strange)}: they are numbered {', '.join(every)}")
    if not groups and not numbers:
        return tuple(every.values())
    return tuple(card for card in every.values() if card.group in groups or card.number in numbers)


def passport(venue: str, info: VenueInfo, market: str, *, date: str = "", installed: bool = True) -> ConformanceCard:
    """Return the card of a market before anything was played."""
    distribution = distribution_of(venue) if installed else None
    return ConformanceCard(
        venue=venue,
        market=market,
        version=distribution.version if distribution is not None else "",
        api=info.api,
        core=importlib.metadata.version("btx-core"),
        date=date,
        results=(),
    )


def conformance(
    venue: str,
    *,
    market: str | None = None,
    plugin: object | None = None,
    groups: Collection[str] = (),
    numbers: Collection[str] = (),
    scenario: Mapping[str, Any] | None = None,
    deadline_s: float = DEADLINE_S,
    date: str = "",
) -> ConformanceCard:
    """Play the kit at one market of a venue and return its card.

    Args:
        venue: the adapter's name.
        market: the adapter's first when not given.
        plugin: the adapter's module (or any object with its hooks), where it is not installed.
        groups: letters of groups (``"ORD"``), all when neither these nor ``numbers`` are given.
        numbers: of single cards (``"ORD-07"``).
        scenario: what every world has other than the usual one, by the fields of ``Scenario``.
        deadline_s: how long something that must happen at once may take.
        date: what the card says it was made on.

    Raises:
        ConfigError: there is no such venue, market, group or card.
        PluginError: the adapter cannot be loaded at all.
    """
    wanted = cards_of(groups, numbers)
    market = market or _info(venue, plugin).markets[0]
    from btx.testing.runner import Runner

    with Runner(venue, market, plugin=plugin, scenario=scenario, deadline_s=deadline_s) as runner:
        card = passport(venue, runner.subject.info, market, date=date, installed=plugin is None)
        return _with(card, (runner.run(each) for each in wanted))


def _with(card: ConformanceCard, results: Iterable[Result]) -> ConformanceCard:
    return attrs.evolve(card, results=tuple(results))


def _info(venue: str, plugin: object | None) -> VenueInfo:
    if plugin is None:
        return open_venue(venue).info
    with offer(venue, plugin):
        return open_venue(venue).info


class VenueConformance:
    """The kit as a test class: subclass it, say the venue, and pytest plays every card at every market.

    ::

        class TestKraken(VenueConformance):
            venue = "kraken"
    """

    venue: ClassVar[str] = ""
    plugin: ClassVar[object | None] = None  # the adapter's module, where it is not installed
    markets: ClassVar[tuple[str, ...]] = ()  # all of the adapter's when empty
    groups: ClassVar[tuple[str, ...]] = ()  # all when empty
    scenario: ClassVar[Mapping[str, Mapping[str, Any]]] = {}  # by market: what its worlds have other than the usual
    deadline_s: ClassVar[float] = DEADLINE_S

    _runners: ClassVar[dict[tuple[str, str], "Runner"]]

    @classmethod
    def pytest_generate_tests(cls, metafunc: Any) -> None:
        """Make one test of every card at every market; ids are the same in every process."""
        if "conformance_card" not in metafunc.fixturenames:
            return
        of = metafunc.cls
        markets = of.markets or _info(of.venue, of.plugin).markets
        metafunc.parametrize(
            ("conformance_market", "conformance_card"),
            [(market, card) for market in markets for card in cards_of(of.groups)],
            ids=[f"{market}-{card.number}" for market in markets for card in cards_of(of.groups)],
        )

    @classmethod
    def setup_class(cls) -> None:
        """Begin without a runner."""
        cls._runners = {}

    @classmethod
    def teardown_class(cls) -> None:
        """End what the class has started."""
        cls._leave()

    @classmethod
    def _leave(cls) -> None:
        while cls._runners:
            _, runner = cls._runners.popitem()
            runner.close()

    @classmethod
    def _runner(cls, market: str) -> "Runner":
        from btx.testing.runner import Runner

        if (cls.venue, market) not in cls._runners:
            cls._leave()
            cls._runners[cls.venue, market] = Runner(
                cls.venue,
                market,
                plugin=cls.plugin,
                scenario=cls.scenario.get(market),
                deadline_s=cls.deadline_s,
            )
        return cls._runners[cls.venue, market]

    def test_card(self, conformance_market: str, conformance_card: Card, record_property: Any) -> None:
        """Play one card."""
        import pytest

        runner = self._runner(conformance_market)
        result = runner.run(conformance_card)
        whose = passport(self.venue, runner.subject.info, conformance_market, installed=self.plugin is None)
        record_property("btx_conformance", _with(whose, (result,)).to_json())
        if result.outcome is Outcome.SKIPPED:
            pytest.skip(f"{result.number} at {self.venue} {conformance_market}: {result.reason}")
        if result.outcome is Outcome.FAILED:
            pytest.fail(
                f"{result.number} at {self.venue} {conformance_market}, {result.title!r}: {result.reason}",
                pytrace=False,
            )

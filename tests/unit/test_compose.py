"""btx.load: every bad input is one clear sentence, and one account is one store."""

import asyncio
import gc
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import btx
from btx import compose, worlds
from btx.errors import BtxError, ConfigError, MissingSecretError, TransportError, UnknownVenueError
from btx.model.time import NS_PER_HOUR
from btx.model.venue import Endpoints, Environment, Scenario
from btx.sim.faults import Fault, FaultScript, Kind, Where, script_from_json, script_to_json
from btx.sim.server import serve_control
from btx.sim.world import World
from tests.distributions import VENUE, Install, install
from tests.unit.sim.toys import LISTINGS

__all__ = ("install",)  # a fixture is asked for by its name

WITH_OPTIONS = (
    VENUE.format(name="tiered").replace("client_id=", "settings=Options, client_id=")
    + "\nimport attrs\n\n@attrs.frozen(kw_only=True)\nclass Options:\n    tier: str = 'regular'\n"
)
KEYS = {"api_key": "my-key", "api_secret": "my-secret"}


@pytest.fixture(autouse=True)
def acme(install: Install, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    install("acme")
    for name in ("BTX_LIVE", "BTX_ACME_API_KEY", "BTX_ACME_API_SECRET", "BTX_EXTENSIONS"):
        monkeypatch.delenv(name, raising=False)
    yield
    gc.collect()  # stores are kept only while somebody has them


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"name": "kraken"}, UnknownVenueError, r"pip install btx-kraken$"),
        ({"name": "Acne"}, UnknownVenueError, r"did you mean 'acme'\?$"),
        (
            {"name": "My Venue"},
            UnknownVenueError,
            r"'My Venue' is installed \(installed: acme.*\): write one of these$",
        ),
        (
            {"env": "production"},
            ConfigError,
            r"^env='production' is unknown: choose one of 'backtest', 'sim', 'paper', .*'live'$",
        ),
        ({"market": "options"}, ConfigError, r"^Acme has no market 'options' here: choose one of spot, usdm, coinm$"),
        ({"env": "testnet"}, MissingSecretError, r"^env='testnet' needs keys and BTX_ACME_API_KEY is not set: export"),
        (
            {"env": "testnet", "api_key": "k"},
            MissingSecretError,
            r"^env='testnet' needs keys and BTX_ACME_API_SECRET is not set: export BTX_ACME_API_SECRET=\.\.\., or ",
        ),
        ({"env": "testnet", "api_key": ""}, MissingSecretError, r"needs keys and api_key= is empty: export"),
        (
            {"env": "testnet", "api_key": "my-key\n"},
            ConfigError,
            r"^api_key= begins or ends with a blank, or has a line ",
        ),
        (
            {"env": "testnet", **KEYS, "api_secret": "a\nb"},
            ConfigError,
            r"^api_secret= begins or ends .* copy it once more$",
        ),
        ({"env": "testnet", "api_key": 12345}, ConfigError, r"^a secret is text: write 'env:NAME' or 'file:PATH'$"),
        ({"env": "testnet", "api_key": "env:NOPE"}, MissingSecretError, r"^environment variable NOPE is not set"),
        ({"env": "live", "confirm": True}, MissingSecretError, r"^env='live' needs keys"),
        ({"env": "live", **KEYS}, ConfigError, r"^env='live' is real money: .* confirm=True\) or BTX_LIVE=1$"),
        ({"env": "live", "scenario": Scenario()}, ConfigError, r"^scenario= is a world for env='sim'"),
        ({"scenario": 5}, ConfigError, r"^scenario=5 is none: write btx\.scenario\(seed=1, "),
        ({"receive_window_ms": 0}, ConfigError, r"^receive_window_ms=0 lets no request arrive: give 5000"),
        ({"options": {"tier": "vip"}}, ConfigError, r"^the adapter 'acme' has no option tier: leave options= out$"),
        ({"api_key": "my-key"}, ConfigError, r"^env='sim' has accounts of its own: leave api_key and api_secret out"),
        ({"api_secret": "my-secret"}, ConfigError, r"^env='sim' has accounts of its own"),
    ],
)
def test_bad_input_is_one_sentence_that_says_what_to_write(
    arguments: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence) as raised:
        btx.load(**({"name": "acme"} | arguments))

    assert "\n" not in str(raised.value)
    assert "my-secret" not in str(raised.value)


def test_an_environment_the_adapter_does_not_offer_is_told(install: Install) -> None:
    source = VENUE.format(name="poor").replace("frozenset(Environment)", "frozenset({Environment.SIM})")
    install("poor", source)

    with pytest.raises(ConfigError, match=r"^the adapter 'poor' does not offer env='testnet': choose one of sim$"):
        btx.load("poor", env="testnet")


def test_the_simulator_is_the_default_and_needs_nothing() -> None:
    store = btx.load("acme")

    assert store.session.name == "acme/sim/spot"
    assert store.session.environment is Environment.SIM
    assert store.session.orders_refused() is None
    assert not store.session.is_running


def test_keys_come_from_the_environment_a_file_or_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.write_text("filed\n")
    monkeypatch.setenv("BTX_ACME_API_KEY", "exported")

    store = btx.load("acme", env="testnet", api_secret=f"file:{path}")

    assert store.session.settings.api_key.reveal() == "exported"
    assert store.session.settings.api_secret.reveal() == "filed"
    assert "exported" not in repr(store.session.settings)


def test_a_private_key_of_several_lines_is_a_secret() -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----\n"

    store = btx.load("acme", env="testnet", api_key="k", api_secret=pem)

    assert store.session.settings.api_secret.reveal() == pem


def test_an_extension_may_give_the_keys(install: Install) -> None:
    install(
        "keyring",
        "from btx.hookspecs import hookimpl\n\n@hookimpl\ndef btx_secret(reference, settings):\n"
        "    return reference[8:] if reference.startswith('keyring:') else None",
        group="btx.extensions",
    )

    store = btx.load("acme", env="testnet", api_key="keyring:one", api_secret="keyring:two")

    assert store.session.settings.api_key.reveal() == "one"
    assert store.session.settings.api_secret.reveal() == "two"


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_live_is_entered_on_purpose(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "variable":
        monkeypatch.setenv("BTX_LIVE", "1")

    store = btx.load("acme", env="live", confirm=how == "argument", **KEYS)

    assert store.session.environment is Environment.LIVE
    assert store.session.orders_refused() is None


def test_the_same_account_is_the_same_store_and_another_is_another() -> None:
    sim = btx.load("acme")
    testnet = btx.load("acme", env="testnet", **KEYS)

    assert btx.load("acme", env="sim", market="spot", scenario=compose.DEFAULT_SCENARIO) is sim
    assert btx.load("acme", env="testnet", **KEYS) is testnet
    others = [
        btx.load("acme", scenario=Scenario(seed=2)),
        btx.load("acme", market="usdm"),
        btx.load("acme", currency="BTC"),
        btx.load("acme", env="live", confirm=True, **KEYS),
        btx.load("acme", env="testnet", api_key="other", api_secret="my-secret"),
    ]
    assert len({id(each) for each in (sim, testnet, *others)}) == 7


@pytest.mark.parametrize("change", [{"receive_window_ms": 1}, {"options": {"tier": "vip"}}, {"api_secret": "other"}])
def test_the_same_account_with_other_settings_is_not_silently_the_first(
    install: Install, change: dict[str, Any]
) -> None:
    install("tiered", WITH_OPTIONS)
    first = btx.load("tiered", env="testnet", **KEYS)

    with pytest.raises(ConfigError, match="this account at Tiered is loaded already"):
        btx.load("tiered", env="testnet", **(KEYS | change))
    assert btx.load("tiered", env="testnet", **KEYS) is first


def test_a_simulated_account_that_rests_may_be_loaded_otherwise_as_a_notebook_does() -> None:
    first = btx.load("acme")

    assert btx.load("acme", receive_window_ms=1) is not first


def test_an_option_is_one_the_adapter_declares(install: Install) -> None:
    install("tiered", WITH_OPTIONS)

    assert btx.load("tiered", options={"tier": "vip"}).session.settings.options == {"tier": "vip"}
    with pytest.raises(ConfigError, match=r"^the adapter 'tiered' has no option tear: choose of tier$"):
        btx.load("tiered", options={"tear": "vip"})


def test_what_a_run_trades_on_is_known_in_words(tmp_path: Path) -> None:
    file = tmp_path / "btc.csv"
    file.touch()
    played = btx.scenario(data={"BTC/USDT": file}, seed=7, pace=60)

    stores = [
        btx.load("acme"),
        btx.load("acme", scenario=played),
        btx.load("acme", env="testnet", **KEYS),
        btx.load("acme", env="live", confirm=True, **KEYS),
    ]

    assert [store._world for store in stores] == [
        "synthetic market, seed 1, lockstep",
        "btc.csv, seed 7, speed 60",
        "the venue's test system",
        "the real venue",
    ]


def test_a_store_nobody_has_any_more_is_made_anew() -> None:
    store = btx.load("acme", env="testnet", **KEYS)
    del store
    gc.collect()

    assert btx.load("acme", env="testnet", receive_window_ms=1, **KEYS).session.settings.receive_window_ms == 1


def test_the_real_venue_is_reached_at_its_own_addresses() -> None:
    assert asyncio.run(worlds.the_venues_own(AsyncExitStack())) is None


def test_the_simulator_is_spawned_when_the_session_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child is a program of the test's own: what it prints is what the session connects to."""
    server = pytest.importorskip("btx.sim.server")
    program = "import sys; sys.stderr.write('the child was asked: ' + ' '.join(sys.argv[1:3])); sys.exit(3)"
    spawn = server.spawn
    monkeypatch.setattr(
        server, "spawn", lambda name, scenario: spawn(name, scenario, command=(sys.executable, "-c", program))
    )
    session = btx.load("acme").session

    with pytest.raises(BtxError, match="the child was asked: sim acme"):
        session.start()
    assert not session.is_running


def test_a_world_can_be_said_in_words(tmp_path: Path) -> None:
    file = tmp_path / "btc.csv"
    file.write_text("", encoding="utf-8")

    synthetic = btx.scenario(seed=7, pace=60, until="2h", balances={"USDT": "1000", "BTC": "0.5"})
    replayed = btx.scenario(data={"BTC/USDT": file}, warmup="1d")

    assert (synthetic.seed, synthetic.speed, synthetic.until_ns) == (7, 60.0, 2 * NS_PER_HOUR)
    assert synthetic.accounts[0].balances == {"USDT": Decimal(1000), "BTC": Decimal("0.5")}
    assert replayed.symbols == ("BTC/USDT",)
    assert (replayed.speed, replayed.until_ns, replayed.warmup_ns) == (None, None, 24 * NS_PER_HOUR)


def test_what_goes_wrong_is_said_as_a_script_as_text_or_as_a_list() -> None:
    script = FaultScript(faults=(Fault(kind=Kind.LOSE, where=Where.PLACE, at=2),))

    worlds = [
        btx.scenario(faults=script),
        btx.scenario(faults=script_to_json(script)),
        btx.scenario(faults=[{"kind": "lose", "where": "place", "at": 2}]),
    ]

    assert {script_from_json(world.faults) for world in worlds} == {script}
    assert btx.load("acme", scenario=worlds[0])._world == "synthetic market, seed 1, lockstep, with faults"


def test_a_session_goes_on_in_a_world_that_runs_already() -> None:
    """The simulator is not this process's child: it is asked where it listens, and left alone at the end."""

    async def scenario() -> tuple[Endpoints | None, str]:
        world = World(Scenario(), LISTINGS)

        def describe(control: str) -> Endpoints:
            return Endpoints(
                rest="a", stream="b", trading_stream="c", control=control, accounts=world.accounts, clock=world.clock
            )

        async with world, serve_control(world, describe) as address, AsyncExitStack() as resources:
            world.advance()
            played = btx.scenario(attach=address)
            assert btx.load("acme", scenario=played)._world == f"the simulator at {address}"
            endpoints = await worlds.simulated("acme", Environment.SIM, played)(resources)
            assert endpoints is not None
            assert endpoints.clock.market_origin_ns == world.market_ns() > world.clock.market_origin_ns
            with pytest.raises(ConfigError, match="give its simulated one a pace"):
                await worlds.simulated("acme", Environment.PAPER, played)(resources)
            return endpoints, address

    endpoints, address = asyncio.run(scenario())

    assert endpoints is not None
    assert endpoints.control == address


def test_a_world_that_does_not_run_is_told_without_what_failed_below() -> None:
    with pytest.raises(TransportError, match="no simulator answers there") as caught:
        asyncio.run(worlds.attached("ws://127.0.0.1:1/"))

    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"account": 2}, "give attach=, too"),
        ({"attach": "ws://127.0.0.1:1/", "account": 0}, "counted from 1"),
        ({"pace": "fast"}, "write 'lockstep', or market seconds per second like 60"),
        ({"pace": 0}, "write 'lockstep'"),
        ({"until": "soon"}, "until='soon'"),
        ({"data": {"BTC/USDT": "nowhere.csv"}}, "there is no file nowhere.csv"),
        ({"balances": {"USDT": "much"}}, "write numbers"),
        ({"balances": {"USDT": "-1"}}, "nobody owns less than nothing"),
        ({"faults": "drop"}, "^no script of faults: "),
        ({"faults": [{"kind": "drop", "where": "market_stream"}]}, "drop cannot happen in market_stream"),
        ({"attach": "ws://127.0.0.1:1/", "seed": 2}, "leave everything else out"),
        ({"attach": "4711"}, "^attach='4711': write the control address of a simulator"),
    ],
)
def test_a_world_that_cannot_be_is_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        btx.scenario(**settings)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"recrd": "x"}, "load has no option recrd=: did you mean record="),
        ({"zzz": 1}, "load has no option zzz=: leave it out"),
        ({"record": 5}, "record=5: write the path of a folder"),
        ({"proxy": 7}, "proxy= is no text: write http://host:port"),
        ({"keep": 3}, "keep=3: give the world a name"),
        ({"env": "testnet", "keep": "trial"}, "keeps its own anyway: leave it out"),
        ({"env": "paper", "balances": 5}, "balances=5: write totals by asset"),
        ({"env": "backtest", "balances": 5}, "balances=5: write totals by asset"),
        ({"resubmit": -1}, "resubmit=-1: write how often"),
        ({"timing": 3}, r"timing=3 is none: leave it out, or give a btx.runtime.link.Timing"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_one_sentence(
    asked: dict[str, object], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BTX_ACME_API_KEY", "key")
    monkeypatch.setenv("BTX_ACME_API_SECRET", "secret")

    with pytest.raises(ConfigError) as told:
        btx.load("acme", **asked)

    assert sentence in str(told.value)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"sed": 1}, "scenario has no option sed=: did you mean seed="),
        ({"seed": "one"}, "seed='one': write a whole number"),
        ({"pace": None}, "pace=None: write 'lockstep'"),
        ({"until": 5}, "until=5: write a duration"),
        ({"data": "btc.csv"}, "say which symbol the file is of"),
        ({"symbols": "BTC/USDT"}, "symbols='BTC/USDT': write a list"),
        ({"balances": [1]}, "balances=[1]: write totals by asset"),
    ],
)
def test_a_word_of_a_world_of_the_wrong_kind_is_one_sentence(asked: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as told:
        btx.scenario(**asked)

    assert sentence in str(told.value)


def test_a_folder_named_by_the_variable_is_told_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    monkeypatch.setenv("BTX_RECORD", str(file))

    with pytest.raises(ConfigError, match=r"BTX_RECORD=.* the folder cannot be made .*: name another"):
        btx.load("acme")

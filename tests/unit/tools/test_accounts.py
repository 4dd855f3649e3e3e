"""An account from another process: found as btx.load finds it, or one sentence that says why not."""

from pathlib import Path

import pytest

from btx.config import Secret
from btx.errors import ConfigError
from btx.model.time import NS_PER_S
from btx.model.venue import Endpoints, SimAccount, SimClock
from btx.sim.server import endpoints_to_json
from btx.storage.places import JOURNAL, account_mark
from btx.storage.presence import write_presence
from btx.tools.accounts import target
from tests.distributions import Install, install

__all__ = ("install",)  # a fixture is asked for by its name

ENDPOINTS = Endpoints(
    rest="http://127.0.0.1:1",
    stream="ws://127.0.0.1:1",
    trading_stream="ws://127.0.0.1:1",
    control="ws://127.0.0.1:2",
    accounts=(
        SimAccount(api_key="one", api_secret="s1", balances={}),
        SimAccount(api_key="two", api_secret="s2", balances={}),
    ),
    clock=SimClock(wire_origin_ns=0, market_origin_ns=NS_PER_S, speed=None),
)


@pytest.fixture(autouse=True)
def home(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install("acme")
    monkeypatch.setenv("BTX_HOME", str(tmp_path))
    return tmp_path


def kept(home: Path, world: str, api_key: str = "two") -> Path:
    folder = home / "acme" / "sim" / "spot" / account_mark(api_key) / world
    folder.mkdir(parents=True)
    return folder


def test_a_kept_world_that_runs_is_found_with_the_keys_of_its_account(home: Path) -> None:
    folder = kept(home, "mine")
    write_presence(folder, pid=1, endpoints_json=endpoints_to_json(ENDPOINTS))

    aim = target("acme", env="sim")

    assert (aim.folder, aim.endpoints) == (folder, ENDPOINTS)
    assert (aim.account.settings.api_key, aim.account.settings.api_secret) == (Secret("two"), Secret("s2"))
    assert aim.session == "acme/sim/spot"
    assert aim.journal == folder / JOURNAL
    assert aim.trader is None


def test_a_kept_world_that_sleeps_has_no_endpoints(home: Path) -> None:
    kept(home, "mine")

    assert target("acme", env="sim", world="mine").endpoints is None


def test_a_real_account_is_found_by_its_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BTX_ACME_API_KEY", "k")
    monkeypatch.setenv("BTX_ACME_API_SECRET", "s")

    aim = target("acme", env="live", market="usdm")

    assert aim.folder == home / "acme" / "live" / "usdm" / account_mark("k") / "real"
    assert aim.endpoints is None
    with pytest.raises(ConfigError, match="--world=mine is of env='sim'"):
        target("acme", env="live", world="mine")


def test_which_world_is_meant_must_be_clear(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"no world is kept under .*keep='NAME'"):
        target("acme", env="sim")
    kept(home, "mine")
    kept(home, "yours")
    with pytest.raises(ConfigError, match=r"several worlds .*mine \(account .*yours .*name one with --world"):
        target("acme", env="sim")
    with pytest.raises(ConfigError, match="no world named 'theirs'"):
        target("acme", env="sim", world="theirs")


def test_a_simulator_of_other_accounts_is_not_touched(home: Path) -> None:
    write_presence(kept(home, "mine", "three"), pid=1, endpoints_json=endpoints_to_json(ENDPOINTS))

    with pytest.raises(ConfigError, match="another account than those of the simulator that runs"):
        target("acme", env="sim")

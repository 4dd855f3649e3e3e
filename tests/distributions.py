"""Distributions made up for a test: real entry points, found the way installed ones are."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

Install = Callable[..., None]

VENUE = """
from btx.hookspecs import API, hookimpl
from btx.model.derivatives import MarginMode, PositionMode
from btx.model.venue import Capabilities, ClientIdSpec, Environment, VenueInfo


def card(name):
    bare = dict(order_types=frozenset(), times_in_force=frozenset(), intervals=(), channels=frozenset())
    margined = dict(margined=True, position_modes=frozenset(PositionMode), margin_modes=frozenset(MarginMode), **bare)
    return VenueInfo(
        name=name, title=name.title(), api=API, markets=("spot", "usdm", "coinm"), environments=frozenset(Environment),
        capabilities={{
            "spot": Capabilities(**bare),
            "usdm": Capabilities(**margined),
            "coinm": Capabilities(currency="BTC", **margined),
        }},
        client_id=ClientIdSpec(
            max_len=36, alphabet="0123456789abcdefghijklmnopqrstuvwxyz", scope="account", queryable=True
        ),
    )


@hookimpl
def btx_venue():
    return card("{name}")


@hookimpl
def btx_store(context):
    return "store of {name}"


@hookimpl
def btx_broker(context):
    return "broker of {name}"


@hookimpl
def btx_feed(context):
    return "feed of {name}"


@hookimpl
def btx_websocket(context):
    return "stream of {name}"


@hookimpl
def btx_simulator(scenario):
    return "simulator of {name}"
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs ``source`` as the plugin ``name`` of a distribution."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    modules: list[str] = []

    def one(name: str, source: str = VENUE, *, group: str = "btx.venues", dist: str | None = None) -> None:
        owner = dist or f"btx-{name}"
        module = owner.replace("-", "_") + "_plugin"
        modules.append(module)
        (folder / f"{module}.py").write_text(dedent(source.format(name=name) if source is VENUE else source))
        info = folder / f"{owner.replace('-', '_')}-1.2.3.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {owner}\nVersion: 1.2.3\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}\n")
        importlib.invalidate_caches()

    yield one
    for module in modules:
        sys.modules.pop(module, None)

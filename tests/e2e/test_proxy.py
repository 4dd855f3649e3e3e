"""With ``proxy=`` everything of the venue goes through the proxy, and nothing goes past it."""

import asyncio
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import backtrader as bt
import pytest

import btx
from btx.bt.store import LiveStore
from btx.errors import TransportError
from btx.model.venue import Endpoints
from btx.runtime.control import Control
from btx.storage.recorded import lines, parts
from tests.e2e.forward_proxy import PASSWORD, ForwardProxy, forward_proxy
from tests.e2e.test_attach import simulator  # noqa: F401 -- a fixture
from tests.e2e.trading import books_agree, run_on, world


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    with forward_proxy() as running:
        yield running


def test_rest_and_both_sockets_go_through_the_proxy_and_none_goes_past_it(
    proxy: ForwardProxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = btx.load("binance", env="sim", scenario=world(minutes=12), proxy=proxy.url, record=tmp_path)
    venues: list[str] = []

    def at_end(strategy: Any) -> None:
        books_agree(strategy)
        venues.append(urlsplit(strategy.data.store.session._facts.endpoints.rest).netloc)

    strategy = run_on(store, {2: lambda s: s.buy(size=0.02), 6: lambda s: s.close()}, at_end=at_end)

    sent = [line for line in lines(parts(tmp_path)) if line["k"] in {"request", "opened"}]
    assert {line.split(" ")[1] for line in proxy.log} == set(venues)
    assert len(proxy.log) == len(sent)  # the proxy closes after each, so every one is a line of its log
    assert {line["k"] for line in sent} == {"request", "opened"}
    assert not proxy.refused
    assert len([order for order in strategy.orders if order.status == bt.Order.Completed]) >= 2
    shown = capsys.readouterr().err + repr(store.session.settings)
    assert PASSWORD not in shown
    assert "p%40ss" not in shown


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port where nothing listens, and nobody else may."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


def _requests(endpoints: Endpoints) -> Any:
    async def ask() -> Any:
        control = await Control.connect(endpoints.control)
        try:
            return (await control.ask("requests"))["requests"]
        finally:
            await control.close()

    return asyncio.run(ask())


def _attached_through(simulator: Endpoints, address: str) -> LiveStore:  # noqa: F811
    scenario = btx.scenario(attach=simulator.control)
    store = btx.load("binance", env="sim", scenario=scenario, proxy=f"http://{address}")
    store.session._start_timeout_s = 30.0
    return store


def test_without_its_proxy_nothing_goes_direct_and_the_error_says_so(
    simulator: Endpoints,  # noqa: F811
    nobody: int,
) -> None:
    store = _attached_through(simulator, f"ada:s3cr3t-w0rd@127.0.0.1:{nobody}")

    with pytest.raises(TransportError, match=f"its proxy 127.0.0.1:{nobody} does not answer") as caught:
        store.start()

    assert not _requests(simulator)
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "s3cr3t-w0rd" not in "".join(report.format())


def test_a_proxy_that_refuses_the_login_is_named_as_what_refuses(simulator: Endpoints, proxy: ForwardProxy) -> None:  # noqa: F811
    store = _attached_through(simulator, f"ada:wrong-w0rd@127.0.0.1:{proxy.port}")

    with pytest.raises((TransportError, btx.errors.AuthenticationError), match="407") as caught:
        store.start()

    assert proxy.refused
    assert not proxy.log
    assert not _requests(simulator)
    assert "wrong-w0rd" not in str(caught.value)

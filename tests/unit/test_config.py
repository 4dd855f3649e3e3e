import pickle
import re
import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from btx.config import (
    Secret,
    Settings,
    is_loopback,
    limits,
    proxy_address,
    proxy_for,
    proxy_secrets,
    resolve_secret,
    webhook_address,
)
from btx.errors import ConfigError, MissingSecretError
from btx.rules.risk import NO_LIMITS, Limits

TEXT = "s3cr3t"


def test_a_secret_never_shows_itself() -> None:
    secret = Secret(TEXT)

    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>20}",
        repr(Settings(api_secret=secret)),
        repr([secret]),
    ]

    assert not any(TEXT in one for one in shown)
    assert secret.reveal() == TEXT


def test_a_secret_does_not_show_in_a_traceback_with_its_locals() -> None:
    def sign(secret: Secret) -> None:
        raise ConfigError(f"{secret} is not accepted")

    with pytest.raises(ConfigError) as caught:
        sign(Secret(TEXT))

    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "secret = Secret('***')" in "".join(report.format())
    assert TEXT not in "".join(report.format())


def test_a_secret_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="pass a reference like 'env:NAME'"):
        pickle.dumps(Secret(TEXT))


def test_secrets_compare_by_their_text() -> None:
    assert Secret(TEXT) == Secret(TEXT)
    assert len({Secret(TEXT), Secret(TEXT)}) == 1
    assert Secret(TEXT) != Secret("other")
    assert Secret(TEXT) != TEXT


def test_an_empty_secret_is_false() -> None:
    assert not Settings().api_key
    assert Secret(TEXT)


def test_a_secret_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BTX_TEST_SECRET", TEXT)

    assert resolve_secret("env:BTX_TEST_SECRET").reveal() == TEXT


def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BTX_TEST_SECRET", raising=False)

    with pytest.raises(MissingSecretError, match="BTX_TEST_SECRET is not set"):
        resolve_secret("env:BTX_TEST_SECRET")


def test_a_secret_is_read_from_a_file_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{TEXT}\n", encoding="utf-8")

    assert resolve_secret(f"file:{tmp_path / 'key'}").reveal() == TEXT


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingSecretError, match="key is not there"):
        resolve_secret(f"file:{tmp_path / 'key'}")


def test_a_file_that_cannot_be_read_is_an_error_that_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").touch()

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)

    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        resolve_secret(f"file:{tmp_path / 'key'}")


def test_any_other_text_is_the_secret_itself() -> None:
    assert resolve_secret("plain:text").reveal() == "plain:text"


def test_limits_in_words() -> None:
    assert limits() == Limits()
    assert limits(
        order=("25%", 5000), position="2500.5", collar="50bps", daily_loss=None, orders_per_minute=5
    ) == Limits(
        order_share=Decimal("0.25"),
        order_notional=Decimal(5000),
        position_share=None,
        position_notional=Decimal("2500.5"),
        collar_bps=50,
        daily_loss_share=None,
        orders_per_minute=5,
    )
    nothing = limits(order=None, position=None, collar=None, daily_loss=None, orders_per_minute=None)
    assert nothing == NO_LIMITS
    assert limits(collar="0.5%").collar_bps == 50


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"order": "much"}, "order='much': write '25%' of the equity, 5000 in cash, or both in a tuple, or None"),
        ({"order": "-5%"}, "order='-5%': write a share of the equity like '5%'"),
        ({"order": "nan"}, "order='nan': write"),
        ({"position": 0}, "position=0: write"),
        ({"position": True}, "position=True: write"),
        ({"daily_loss": 5}, "daily_loss=5: write a share of the equity like '5%', or None for no limit"),
        ({"collar": 5}, "collar=5: write '2%' or '50bps', or None for no limit"),
        ({"collar": "5"}, "collar='5': write '2%' or '50bps'"),
        ({"collar": "0.001%"}, "collar='0.001%': whole basis points are counted"),
        ({"orders_per_minute": 0}, "orders_per_minute=0: write a whole number"),
        ({"orders_per_minute": True}, "orders_per_minute=True: write a whole number"),
        ({"orders_per_minute": "5"}, "orders_per_minute='5': write a whole number"),
        ({"daily": "5%"}, "there is no limit daily=: did you mean daily_loss=?"),
        ({"xyz": "5%"}, "there is no limit xyz=: choose of order, position, collar, daily_loss, orders_per_minute"),
    ],
)
def test_a_limit_that_says_nothing_is_one_sentence(words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}"):
        limits(**words)


@pytest.mark.parametrize("address", ["hooks.example.com/T0KEN", "ftp://example.com/T0KEN", "https:///T0KEN"])
def test_a_webhook_that_is_no_address_is_not_shown(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    with pytest.raises(ConfigError, match=r"^webhook= is no address: write https://\.\.\.$") as raised:
        webhook_address(address)
    assert "T0KEN" not in str(raised.value)

    monkeypatch.setenv("BTX_WEBHOOK", address)
    with pytest.raises(ConfigError, match=r"^BTX_WEBHOOK is no address"):
        webhook_address(None)


def test_a_webhook_is_named_or_in_the_environment_or_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BTX_WEBHOOK", raising=False)
    assert not webhook_address(None)

    monkeypatch.setenv("BTX_WEBHOOK", "https://example.com/a")
    assert webhook_address(None).reveal() == "https://example.com/a"
    assert webhook_address("http://127.0.0.1:1/b").reveal() == "http://127.0.0.1:1/b"
    assert webhook_address("env:BTX_WEBHOOK").reveal() == "https://example.com/a"


# --- proxies -------------------------------------------------------------------------------------------------

_NO_PROXY = Secret("")


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that names no proxy, to be filled."""
    for name in ("http", "https", "all", "no", "ws", "wss"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
    return monkeypatch


def test_without_any_word_there_is_no_proxy(system: pytest.MonkeyPatch) -> None:
    assert not proxy_address(None)
    assert proxy_for("https://api.example.com/x", _NO_PROXY) is None


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("HTTPS_PROXY", "https://api.example.com/x"),
        ("HTTPS_PROXY", "wss://stream.example.com:9443/x"),
        ("https_proxy", "wss://stream.example.com/x"),
        ("HTTP_PROXY", "ws://stream.example.com/x"),
        ("ALL_PROXY", "wss://stream.example.com/x"),
    ],
)
def test_the_systems_proxy_is_found_for_requests_and_sockets(
    system: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    system.setenv(variable, "http://proxy.example.com:3128")

    assert proxy_for(url, _NO_PROXY) == "http://proxy.example.com:3128"
    assert not proxy_address(None)


def test_hosts_of_no_proxy_are_reached_directly(system: pytest.MonkeyPatch) -> None:
    system.setenv("HTTPS_PROXY", "proxy.example.com:3128")
    system.setenv("NO_PROXY", "example.org,inner.example.com")

    assert proxy_for("wss://inner.example.com:9443/ws", _NO_PROXY) is None
    assert proxy_for("https://a.example.org/", _NO_PROXY) is None
    assert proxy_for("https://outer.example.com/", _NO_PROXY) == "http://proxy.example.com:3128"


@pytest.mark.parametrize("url", ["http://127.0.0.1:80/", "ws://[::1]:9/", "ws://localhost:1/"])
def test_this_machine_itself_is_reached_through_a_proxy_that_was_asked_for_only(
    system: pytest.MonkeyPatch, url: str
) -> None:
    system.setenv("ALL_PROXY", "http://proxy.example.com:3128")

    assert is_loopback(url)
    assert proxy_for(url, _NO_PROXY) is None
    assert proxy_for(url, Secret("http://other.example.com:1")) == "http://other.example.com:1"


def test_a_proxy_that_was_asked_for_goes_before_the_systems(system: pytest.MonkeyPatch) -> None:
    system.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    system.setenv("NO_PROXY", "*")

    assert proxy_for("https://a.example.org/", proxy_address("http://mine:1")) == "http://mine:1"


def test_a_proxy_may_be_named_by_reference(system: pytest.MonkeyPatch) -> None:
    system.setenv("MY_PROXY", "http://u:p4ssw0rd@proxy:1")

    assert proxy_address("env:MY_PROXY").reveal() == "http://u:p4ssw0rd@proxy:1"


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("proxy.example.com:3128", "no address of an http proxy"),
        ("", "no address of an http proxy"),
        ("http://:s3cr3t@:1", "no address of an http proxy"),
        ("http://u:s3cr3t@proxy", "names no port"),
        ("http://u:s3cr3t@proxy:many", "port that is no number"),
        ("socks5://u:s3cr3t@proxy:1080", "a socks5 proxy"),
    ],
)
def test_a_wrong_proxy_is_told_in_one_sentence_that_shows_no_password(text: str, trouble: str) -> None:
    with pytest.raises(ConfigError, match=f"proxy= .*{trouble}.*: write http://") as caught:
        proxy_address(text)

    assert "s3cr3t" not in str(caught.value)


def test_a_system_proxy_that_cannot_be_used_is_not_passed_over(system: pytest.MonkeyPatch) -> None:
    system.setenv("ALL_PROXY", "socks5h://u:s3cr3t@proxy:1080")

    with pytest.raises(ConfigError, match="ALL_PROXY, is a socks5h proxy") as caught:
        proxy_address(None)

    assert "s3cr3t" not in str(caught.value)
    assert not proxy_address(None, is_simulated=True)  # it reaches this machine only


def test_a_proxys_password_is_known_in_all_its_spellings() -> None:
    spellings = proxy_secrets(Secret("http://ada:p%40ss@proxy:1"))

    assert {"p%40ss", "p@ss", "YWRhOnBAc3M="} <= set(spellings)
    assert proxy_secrets(Secret("http://proxy:1")) == ()

import pickle
import traceback
from pathlib import Path

import pytest

from btx.config import Secret, Settings, resolve_secret
from btx.errors import ConfigError, MissingSecretError

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

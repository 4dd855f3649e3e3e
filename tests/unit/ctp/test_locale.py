"""The locale is made where there is none, and nobody finds it afterwards."""

import os
import shutil
from pathlib import Path

import pytest

from btx.errors import ConfigError
from btx_ctp import locale

NEEDED = pytest.mark.skipif(
    locale.is_there() or shutil.which("localedef") is None, reason="the system has the locale, or no localedef"
)


@NEEDED
def test_the_locale_is_there_while_it_is_wanted_and_kept_for_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCPATH", "/somewhere")
    with locale.gb18030(tmp_path):
        assert locale.is_there()
    made = tmp_path / "zh_CN.gb18030" / "LC_CTYPE"
    stamp = made.stat().st_mtime_ns

    with locale.gb18030(tmp_path):
        assert locale.is_there()

    assert made.stat().st_mtime_ns == stamp
    assert os.environ["LOCPATH"] == "/somewhere"
    monkeypatch.delenv("LOCPATH")
    assert not locale.is_there()


@NEEDED
def test_what_is_no_locale_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCPATH", raising=False)
    (tmp_path / "zh_CN.gb18030").mkdir()

    with pytest.raises(ConfigError, match="is none: as root"), locale.gb18030(tmp_path):
        pass
    assert "LOCPATH" not in os.environ


@NEEDED
def test_without_the_tool_the_cure_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_args, **_words: None)

    with (
        pytest.raises(ConfigError, match="there is no localedef to make one: as root: apt-get"),
        locale.gb18030(tmp_path),
    ):
        pass

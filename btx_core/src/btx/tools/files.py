"""Files as users name them: klines as ``[SYMBOL=]FILE``, and results that can be written when they are there."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from btx.errors import ConfigError

__all__ = ("check_writable", "files_by_symbol", "kline_files", "symbol_of")

# Coins that markets are quoted in, the longer spelling first.
_QUOTES = ("FDUSD", "USDT", "USDC", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "JPY", "USD")
_WORD = re.compile(r"[A-Z0-9]{5,20}")


def files_by_symbol(arguments: Iterable[str], *, option: str, of_what: str) -> dict[str, Path]:
    """Return files by symbol (``BTC/USDT``), the symbol from the file's name where it is not given.

    Raises:
        ConfigError: a file is not there, two are for one symbol, or a name tells no symbol.
    """
    files: dict[str, Path] = {}
    for argument in arguments:
        name, separator, rest = argument.partition("=")
        if Path(argument).expanduser().is_file():  # its own path may hold a "="
            separator = ""
        path = Path(rest if separator else argument).expanduser()
        if not path.is_file():
            raise ConfigError(f"there is no file {path}: {option} takes [SYMBOL=]FILE with {of_what}")
        symbol = symbol_of(name.upper() if separator else path.name)
        if symbol is None and separator:
            raise ConfigError(f"{name!r} is no symbol: write {option} BTC/USDT={path}")
        if symbol is None:
            raise ConfigError(f"no symbol can be read from {path.name!r}: write {option} BTC/USDT={path}")
        if symbol in files:
            raise ConfigError(f"{symbol} has two files, {files[symbol].name} and {path.name}: give it one")
        files[symbol] = path
    return files


def kline_files(arguments: Iterable[str]) -> dict[str, Path]:
    """Return files of klines by symbol, see :func:`files_by_symbol`."""
    return files_by_symbol(arguments, option="--data", of_what="1m klines")


def symbol_of(text: str) -> str | None:
    """Return the symbol a text names (``BTC/USDT`` itself, or ``BTCUSDT`` somewhere in it), None when none."""
    if re.fullmatch(r"[A-Z0-9]{2,20}/[A-Z0-9]{2,10}(:[A-Z0-9]{2,10}(-[0-9]{6})?)?", text):
        return text
    for word in _WORD.findall(text):
        for quote in _QUOTES:
            if word.endswith(quote) and len(word) > len(quote):
                return f"{word.removesuffix(quote)}/{quote}"
    return None


def check_writable(path: Path) -> None:
    """Look, before any work is done, whether a result can be written to ``path``.

    Raises:
        ConfigError: its folder is not there, or it cannot be written.
    """
    if not path.parent.is_dir():
        raise ConfigError(f"{path} cannot be written, there is no folder {path.parent}: make it, or name another one")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{path} cannot be written: name another file")

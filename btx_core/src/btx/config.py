"""Settings and secrets: where keys come from, and that they are never printed."""

import os
from collections.abc import Mapping
from pathlib import Path

import attrs

from btx.errors import ConfigError, MissingSecretError

__all__ = ("Secret", "Settings", "home", "resolve_secret")


class Secret:
    """A text that never shows itself: not in repr, str, logs or tracebacks. ``reveal()`` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself; call it only where it leaves for the venue."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> tuple[type, tuple[str]]:
        raise TypeError("a Secret is not pickled: pass a reference like 'env:NAME' instead")


@attrs.frozen(kw_only=True)
class Settings:
    """What every venue needs to be told. Adapters may add their own in ``options``."""

    api_key: Secret = attrs.field(factory=lambda: Secret(""))
    api_secret: Secret = attrs.field(factory=lambda: Secret(""))
    currency: str = "USDT"  # what cash is counted in
    receive_window_ms: int = 5000
    options: Mapping[str, str] = attrs.field(factory=dict)


def home() -> Path:
    """Return the folder btx keeps its files in: ``BTX_HOME``, or ``~/.btx``."""
    return Path(os.environ.get("BTX_HOME") or "~/.btx").expanduser()


def resolve_secret(reference: str) -> Secret:
    """Return the secret a reference names: ``env:NAME``, ``file:PATH``, or the text itself.

    Raises:
        MissingSecretError: the variable or the file is not there.
        ConfigError: the file cannot be read.
    """
    kind, _, rest = reference.partition(":")
    if kind == "env":
        if rest not in os.environ:
            raise MissingSecretError(f"environment variable {rest} is not set: export {rest}=... first")
        return Secret(os.environ[rest])
    if kind == "file":
        path = Path(rest).expanduser()
        if not path.is_file():
            raise MissingSecretError(f"{path} is not there: write the secret into it, or name another file")
        try:
            return Secret(path.read_text(encoding="utf-8").strip())
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    return Secret(reference)

"""Settings and secrets: where keys come from, and that they are never printed; limits in words."""

import base64
import difflib
import ipaddress
import os
import urllib.request
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attrs

from btx.errors import ConfigError, MissingSecretError
from btx.rules.risk import NO_LIMITS, Limits

__all__ = (
    "Amount",
    "Secret",
    "Settings",
    "home",
    "is_loopback",
    "limits",
    "proxy_address",
    "proxy_for",
    "proxy_secrets",
    "resolve_secret",
    "webhook_address",
)

Amount = str | int | float | Decimal
"""A share of the equity like ``"25%"``, or a number of the currency cash is counted in."""


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
    limits: Limits = NO_LIMITS  # of btx.load: Limits()
    webhook: Secret = attrs.field(factory=lambda: Secret(""))  # its address is a secret; empty: none
    proxy: Secret = attrs.field(factory=lambda: Secret(""))  # for everything of the venue; empty: what the system says


def home() -> Path:
    """Return the folder btx keeps its files in: ``BTX_HOME``, or ``~/.btx``."""
    return Path(os.environ.get("BTX_HOME") or "~/.btx").expanduser()


def resolve_secret(reference: str) -> Secret:
    """Return the secret a reference names: ``env:NAME``, ``file:PATH``, or the text itself.

    Raises:
        MissingSecretError: the variable or the file is not there.
        ConfigError: the file cannot be read.
    """
    if not isinstance(reference, str):
        raise ConfigError("a secret is text: write 'env:NAME' or 'file:PATH'")  # and does not show what it is
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


def webhook_address(reference: str | None) -> Secret:
    """Return where alerts go: a reference as for :func:`resolve_secret`, or else ``BTX_WEBHOOK``; empty for nowhere.

    Raises:
        MissingSecretError: the variable or the file is not there.
        ConfigError: what it says is no http address; the message does not show it.
    """
    address = resolve_secret(reference) if reference is not None else Secret(os.environ.get("BTX_WEBHOOK", ""))
    if address:
        parts = urlsplit(address.reveal())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            where = "webhook=" if reference is not None else "BTX_WEBHOOK"
            raise ConfigError(f"{where} is no address: write https://...")
    return address


_PROXY_HINT = "write http://host:port or http://user:password@host:port"


def proxy_address(reference: str | None, *, is_simulated: bool = False) -> Secret:
    """Return the proxy that was asked for: a reference as for :func:`resolve_secret`; empty for what the system says.

    Raises:
        MissingSecretError: the variable or the file is not there.
        ConfigError: it is no address of an http proxy, or the system's proxy is of a kind that cannot be
            used; the message shows no password.
    """
    if reference is None:
        if not is_simulated:
            _check_system_proxies()
        return Secret("")
    if not isinstance(reference, str):
        raise ConfigError(f"proxy= is no text: {_PROXY_HINT}")
    address = resolve_secret(reference)
    trouble = _proxy_trouble(address.reveal())
    if trouble:
        raise ConfigError(f"proxy= {trouble}: {_PROXY_HINT}")
    return address


def proxy_for(url: str, proxy: Secret | None) -> str | None:
    """Return the address, password included, of the proxy to reach ``url`` through; None for no proxy.

    One that was asked for counts for every address.  Otherwise the system's does
    (``HTTPS_PROXY``, ``NO_PROXY``, ...), which never counts for this machine itself.
    """
    if proxy:
        return proxy.reveal()
    if is_loopback(url):
        return None
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    found = urllib.request.getproxies()
    address = found.get(scheme) or found.get("all")
    if not address or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return address if "://" in address else f"http://{address}"


def proxy_secrets(proxy: Secret) -> tuple[str, ...]:
    """Return what of a proxy's address nobody may read: the password in all its spellings, and the whole."""
    parts = urlsplit(proxy.reveal())
    if not parts.password:
        return ()
    login = f"{unquote(parts.username or '')}:{unquote(parts.password)}"
    return (proxy.reveal(), parts.password, unquote(parts.password), base64.b64encode(login.encode()).decode())


def is_loopback(url: str) -> bool:
    """Say whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_system_proxies() -> None:
    """A proxy that is passed over would be a leak."""
    found = urllib.request.getproxies()
    for name in ("http", "https", "all"):
        address = found.get(name, "")
        if address and (trouble := _proxy_trouble(address if "://" in address else f"http://{address}")):
            raise ConfigError(f"the system's proxy, {name.upper()}_PROXY, {trouble}: {_PROXY_HINT}, there or as proxy=")


def _proxy_trouble(address: str) -> str:
    """Return what is wrong with a proxy's address, without showing it; empty when nothing is."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return "has a port that is no number, or cannot be read"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        kind = parts.scheme if parts.scheme.startswith("socks") else ""
        return f"is a {kind} proxy, and only http proxies can be used" if kind else "is no address of an http proxy"
    return "" if port else "names no port"


def limits(
    *,
    order: Amount | Sequence[Amount] | None = "100%",
    position: Amount | Sequence[Amount] | None = "100%",
    collar: str | None = "5%",
    daily_loss: str | None = "5%",
    orders_per_minute: int | None = 60,
    **unknown: object,
) -> Limits:
    """Return what an order must keep before it leaves, in words; None switches one off.

    Args:
        order: the largest order: ``"25%"`` of the equity, ``5000`` units of the currency
            cash is counted in, or both: ``("25%", 5000)``.
        position: the largest position of one instrument, likewise; open orders count.
        collar: how much worse than the last price an order may pay: ``"2%"`` or ``"50bps"``.
        daily_loss: the share of the day's starting equity whose loss halts trading: ``"5%"``.
        orders_per_minute: how many orders may leave within a minute of market time.
        unknown: nothing.

    Raises:
        ConfigError: a word is unknown, or says nothing.
    """
    for name in unknown:
        near = difflib.get_close_matches(name, _WORDS, n=1, cutoff=0.4)
        raise ConfigError(f"there is no limit {name}=: {f'did you mean {near[0]}=?' if near else _CHOICE}")
    order_share, order_notional = _caps("order", order)
    position_share, position_notional = _caps("position", position)
    return Limits(
        order_share=order_share,
        order_notional=order_notional,
        position_share=position_share,
        position_notional=position_notional,
        collar_bps=_bps("collar", collar),
        daily_loss_share=_share("daily_loss", daily_loss),
        orders_per_minute=_count("orders_per_minute", orders_per_minute),
    )


_WORDS = ("order", "position", "collar", "daily_loss", "orders_per_minute")
_CHOICE = f"choose of {', '.join(_WORDS)}"


def _caps(name: str, value: Amount | Sequence[Amount] | None) -> tuple[Decimal | None, Decimal | None]:
    share = notional = None
    given = () if value is None else (value,) if isinstance(value, str | int | float | Decimal) else tuple(value)
    for each in given:
        if isinstance(each, str) and each.strip().endswith("%"):
            share = _share(name, each)
        else:
            notional = _positive(name, each, str(each), hint="'25%' of the equity, 5000 in cash, or both in a tuple")
    return share, notional


def _share(name: str, text: object) -> Decimal | None:
    if text is None:
        return None
    hint = "a share of the equity like '5%'"
    if not isinstance(text, str) or not text.strip().endswith("%"):
        raise ConfigError(f"{name}={text!r}: write {hint}, or None for no limit")
    return _positive(name, text, text.strip().removesuffix("%"), hint=hint) / 100


def _bps(name: str, text: object) -> int | None:
    if text is None:
        return None
    hint = "'2%' or '50bps'"
    bare = text.strip() if isinstance(text, str) else ""
    unit = next((unit for unit in ("bps", "%") if bare.endswith(unit)), None)
    if unit is None:
        raise ConfigError(f"{name}={text!r}: write {hint}, or None for no limit")
    number = _positive(name, text, bare.removesuffix(unit), hint=hint) * (1 if unit == "bps" else 100)
    if number != int(number):
        raise ConfigError(f"{name}={text!r}: whole basis points are counted, write {hint}")
    return int(number)


def _count(name: str, value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ConfigError(f"{name}={value!r}: write a whole number, or None for no limit")


def _positive(name: str, value: object, digits: str, *, hint: str) -> Decimal:
    try:
        number = Decimal(digits.strip())
    except ArithmeticError:
        number = Decimal(0)
    if isinstance(value, bool) or not number.is_finite() or number <= 0:
        raise ConfigError(f"{name}={value!r}: write {hint}, or None for no limit")
    return number

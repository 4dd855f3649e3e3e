"""Where CTP's fronts are, who logs in there, and the adapter's own options."""

import attrs

from btx.errors import ConfigError, MissingSecretError
from btx.model.venue import Environment
from btx.ports import Context

__all__ = ("FUTURES", "Login", "Options", "login", "options")

FUTURES = "futures"
"""The one market: what the exchanges behind CTP list, all in yuan."""

_USER_ID, _PASSWORD = 12, 40  # characters: TThostFtdcInvestorIDType and TThostFtdcPasswordType of 6.7
# SimNow's first group, as its page had it in 2025; the broker of everybody is 9999.
_SIMNOW = {
    "broker_id": "9999",
    "trading_front": "tcp://182.254.243.31:30001",
    "market_front": "tcp://182.254.243.31:30011",
    "app_id": "simnow_client_test",
    "auth_code": "0000000000000000",
}
_SWITCH = {"yes": True, "true": True, "no": False, "false": False}


@attrs.frozen(kw_only=True)
class Options:
    """What ``btx.load("ctp", options={...})`` may say: where a broker's fronts are, and what it gave its client."""

    broker_id: str = ""
    trading_front: str = ""  # tcp://address:port
    market_front: str = ""
    app_id: str = ""
    auth_code: str = ""
    production: str = "yes"  # "no" at a broker's system for the tests before one may trade
    answer_s: str = "10"  # seconds an answer may take


@attrs.frozen(kw_only=True)
class Login:
    """Everything that logging in needs."""

    user: str
    password: str = attrs.field(repr=False)
    broker_id: str
    trading_front: str
    market_front: str
    app_id: str
    auth_code: str = attrs.field(repr=False)
    is_production: bool
    answer_s: float


def options(context: Context) -> Options:
    """Return the adapter's options; those that are not said are the simulator's, or SimNow's on the test system."""
    said = {name: str(text) for name, text in context.settings.options.items()}
    if context.endpoints is not None:
        known = {name: context.endpoints.extra[name] for name in ("broker_id", "app_id", "auth_code")}
        known |= {"trading_front": context.endpoints.rest, "market_front": context.endpoints.stream}
    else:
        known = _SIMNOW if context.environment is Environment.TESTNET else {}
    return Options(**{**known, **said})


def login(context: Context) -> Login:
    """Return who logs in where.

    Raises:
        MissingSecretError: there is no user or password.
        ConfigError: a front is not said, or something is too long or no number.
    """
    found = options(context)
    user, password = context.settings.api_key.reveal(), context.settings.api_secret.reveal()
    if not user or not password:
        raise MissingSecretError(
            f"CTP's {context.environment.value} account needs a user and a password: pass api_key=... (the investor's "
            "number) and api_secret=..., for example 'env:BTX_CTP_API_KEY'"
        )
    if context.environment is Environment.SIM:  # whose keys are longer than a user's name may be
        user, password = user[:_USER_ID], password[:_PASSWORD]
    if len(user) > _USER_ID or len(password) > _PASSWORD:
        raise ConfigError(f"a user of CTP's has at most {_USER_ID} characters, a password {_PASSWORD}: see api_key=")
    missing = [name for name in ("broker_id", "trading_front", "market_front") if not getattr(found, name)]
    if missing:
        raise ConfigError(
            f"env={context.environment.value!r} needs options {', '.join(missing)}: your broker tells them, "
            "btx.load('ctp', options={'broker_id': '...', 'trading_front': 'tcp://...', 'market_front': 'tcp://...'})"
        )
    if found.production.lower() not in _SWITCH:
        raise ConfigError(f"options production={found.production!r}: write 'yes' or 'no'")
    try:
        answer_s = float(found.answer_s)
    except ValueError:
        answer_s = 0.0
    if not 0 < answer_s < float("inf"):
        raise ConfigError(f"options answer_s={found.answer_s!r}: give a positive number of seconds, like '10'")
    return Login(
        user=user,
        password=password,
        broker_id=found.broker_id,
        trading_front=found.trading_front,
        market_front=found.market_front,
        app_id=found.app_id,
        auth_code=found.auth_code,
        is_production=_SWITCH[found.production.lower()],
        answer_s=answer_s,
    )

"""Who may come in: authentication, login, and the lock after too many failures."""

from typing import Any

from btx.model.venue import SimAccount
from btx.sim.faults import Where
from btx_ctp.sim.counter import Counter
from btx_ctp.sim.rows import BROKER
from btx_ctp.sim.session import Session
from btx_ctp.sim.texts import info

__all__ = ("AUTH_CODE", "Door")

AUTH_CODE = "0000000000000000"
"""What a client authenticates with, as at SimNow."""

_FAILURES = 6  # logins in a row, then the account is locked
_USER_ID = 12  # characters, as an investor has
_PASSWORD = 40
_LOGIN_FAILED, _NOT_AUTHENTICATED, _WRONG_CODE, _LOCKED = 3, 64, 63, 75


class Door:
    """Lets clients in."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._keys: dict[str, SimAccount] = {each.api_key[:_USER_ID]: each for each in counter.world.accounts}
        self._failures: dict[str, int] = {}

    def authenticate(self, session: Session, fields: dict[str, Any], request_id: int) -> None:
        session.is_authenticated = fields.get("AuthCode") == AUTH_CODE
        said = info(0 if session.is_authenticated else _WRONG_CODE)
        told = {name: fields[name] for name in ("BrokerID", "UserID", "AppID") if name in fields}
        session.send("OnRspAuthenticate", ("CThostFtdcRspAuthenticateField", told), said, request_id, True)

    def log_in(self, session: Session, fields: dict[str, Any], request_id: int) -> None:
        user = str(fields.get("UserID", ""))
        if (refusal := self._refusal(session, user, str(fields.get("Password", "")))) is not None:
            nothing = ("CThostFtdcRspUserLoginField", {"UserID": user})
            session.send("OnRspUserLogin", nothing, info(refusal), request_id, True)
            return
        account = self._keys.get(user)
        session.user = user
        session.account = account.api_key if account is not None else None
        told = {
            "TradingDay": self._counter.day,
            "BrokerID": BROKER,
            "UserID": user,
            "SystemName": "btx",
            "FrontID": 1,
            "SessionID": session.session_id,
            "MaxOrderRef": "1",
        }
        session.send("OnRspUserLogin", ("CThostFtdcRspUserLoginField", told), info(0), request_id, True)

    def _refusal(self, session: Session, user: str, password: str) -> int | None:
        if session.where is Where.MARKET_STREAM:
            return None  # prices are for everybody
        if not session.is_authenticated:
            return _NOT_AUTHENTICATED
        if self._failures.get(user, 0) >= _FAILURES:
            return _LOCKED
        account = self._keys.get(user)
        if account is None or account.api_secret[:_PASSWORD] != password:
            self._failures[user] = self._failures.get(user, 0) + 1
            return _LOGIN_FAILED
        self._failures[user] = 0
        return None

"""What OpenD's texts say about the request they answer.

OpenD has no codes to go by: ``errCode`` is "for the log only" (its Common.proto), and the text is Chinese or English
by the language OpenD runs in.  Texts of both are told apart by words that stand in them; one that nobody knows is a
refusal.
"""

from btx.errors import (
    AuthenticationError,
    BtxError,
    FilterError,
    InsufficientFundsError,
    OrderNotFoundError,
    OrderRejectedError,
    OutcomeUnknownError,
    RateLimitedError,
    TransportError,
    UnknownSymbolError,
)

__all__ = ("error_of",)

_NEXT_S = 2.0  # a limit is of 15 in any 30 s, and OpenD does not say when the oldest of them falls out

# Of futu-api itself: the request did not leave.
_NEVER_LEFT = ("Connection closed", "Not connected", "Connection lost", "Connect timeout", "Context status bad")
# Of futu-api itself: it left, and no answer came.
_NO_ANSWER = ("Disconnect", "Timeout", "timeout")
# Of OpenD or the servers behind it: nobody says how far an order had come by then.
_TROUBLE = ("server is busy", "服务器繁忙", "系统繁忙", "网络中断")
_TEXTS: tuple[tuple[type[BtxError], tuple[str, ...]], ...] = (
    (RateLimitedError, ("high frequency", "too frequent", "频率", "频繁")),
    (AuthenticationError, ("unlock", "解锁", "password", "密码", "Nonexisting acc_id", "No available")),
    (InsufficientFundsError, ("buying power", "insufficient", "Insufficient", "购买力", "资金不足", "持仓不足")),
    (UnknownSymbolError, ("unknown stock", "Unknown stock", "未知股票")),
    (OrderNotFoundError, ("no such order", "order does not exist", "cannot be modified", "订单不存在", "不可修改")),
    (FilterError, ("lot size", "price spread", "每手", "价位", "最小变动")),
)


def error_of(text: str, *, acts: bool) -> BtxError:
    """Return the error a text is; ``acts``: the request asked for something to be done.

    What left and was not answered may have been done; of a question it does not matter.
    """
    if any(part in text for part in _NEVER_LEFT):
        return TransportError(f"OpenD: {text}")
    if any(part in text for part in (*_NO_ANSWER, *_TROUBLE)):
        return OutcomeUnknownError(f"OpenD: {text}") if acts else TransportError(f"OpenD: {text}")
    kind = next((kind for kind, parts in _TEXTS if any(part in text for part in parts)), None)
    if kind is RateLimitedError:
        return RateLimitedError(f"OpenD: {text}", retry_after_s=_NEXT_S, scope="account")
    return (kind or OrderRejectedError)(f"OpenD: {text}")

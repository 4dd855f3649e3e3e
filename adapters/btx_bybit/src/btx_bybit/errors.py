"""Bybit's error codes, and what each says about the request it answers.

Sources: https://bybit-exchange.github.io/docs/v5/error and .../websocket/trade/guideline, 2026.
One table serves all markets: a code means one thing.  Those that leave an order's outcome
open are the ones whose text says that nothing is known (a timeout, an internal error, a
request that is still being worked on); a duplicate id may be that of our own first try.
"""

from btx.bridges.verdicts import Verdict, Verdicts

__all__ = ("NO_NEED", "TRIGGERS_AT_ONCE", "VERDICTS")

NO_NEED = frozenset({"110025", "110026", "110027", "110043"})
"""It is so already: position mode, margin mode, margin, leverage."""

TRIGGERS_AT_ONCE = frozenset({"110092", "110093"})
"""A conditional order whose trigger price the market has passed: "expect Rising, but trigger_price <= current"."""

_UNKNOWN = (
    *("10000", "10016", "10019"),  # server timeout, server error, the trade service restarts
    *("170001", "170007", "170032", "170035", "170146", "170147", "170234", "170310"),
    *("110079", "170212"),  # it is being processed
    # High load, a timeout, a repeated request, one that crossed an amendment, an error: asking settles all of them.
    *("429", "5004", "10014", "40004", "3400214"),
)
_UNAUTHORISED = (
    *("10003", "10004", "10005", "10007", "10008", "10009", "10010", "10020", "10024", "10027", "10028"),
    *("-2015", "100028", "110018", "110066", "110068", "110069", "33004", "170201", "170224"),
)
_FUNDS = (
    *("110004", "110006", "110007", "110012", "110014", "110044", "110045", "110051", "110052", "110053"),
    *("170033", "170131", "170228", "170229"),
)
_FILTERS = (
    *("110003", "110009", "110016", "110020", "110021", "110022", "110094"),
    *("170124", "170132", "170133", "170134", "170135", "170136", "170137", "170140", "170148"),
    *("170192", "170193", "170194", "170197", "170198", "170204", "170206", "170371", "170372"),
)
_NOT_FOUND = ("110001", "110008", "110010", "110019", "170139", "170142", "170143", "170190", "170213")
_UNSUPPORTED = ("10017", "10404", "110029", "110070", "170115", "170116", "170145", "170202", "170227", "170312")
_REJECTED = (
    *("110017", "110023", "110024", "110028", "110034", "110036", "110064", "110092", "110093"),
    *("170149", "170150", "170210", "170218", "170311", "170313", "3400045"),
)

VERDICTS = Verdicts(
    codes={
        **dict.fromkeys(_UNKNOWN, Verdict.UNKNOWN),
        **dict.fromkeys(_UNAUTHORISED, Verdict.UNAUTHORISED),
        **dict.fromkeys(_FUNDS, Verdict.INSUFFICIENT_FUNDS),
        **dict.fromkeys(_FILTERS, Verdict.FILTER),
        **dict.fromkeys(_NOT_FOUND, Verdict.NOT_FOUND),
        **dict.fromkeys(_UNSUPPORTED, Verdict.UNSUPPORTED),
        **dict.fromkeys(_REJECTED, Verdict.REJECTED),
        "10001": Verdict.REJECTED,  # a parameter; see the texts
        "-1": Verdict.CLOCK,  # "request expired"
        "10002": Verdict.CLOCK,
        "10006": Verdict.LIMITED_ACCOUNT,
        "10018": Verdict.LIMITED,
        "10029": Verdict.UNKNOWN_SYMBOL,
        "10403": Verdict.LIMITED,
        # The system protects itself, whoever asks: no limit of ours, and it says to try again, not to wait.
        "10429": Verdict.NOT_DONE,
        "20003": Verdict.LIMITED_ACCOUNT,  # of one connection
        "20006": Verdict.UNKNOWN,  # a request of this id is there already
        "110030": Verdict.DUPLICATE,
        "110072": Verdict.DUPLICATE,
        "170005": Verdict.LIMITED_ACCOUNT,
        "170121": Verdict.UNKNOWN_SYMBOL,
        "170141": Verdict.DUPLICATE,
        "170222": Verdict.LIMITED_ACCOUNT,
    },
    texts=(
        ("10001", "symbol", Verdict.UNKNOWN_SYMBOL),  # "params error: symbol invalid", "Not supported symbols"
        ("10001", "Symbol", Verdict.UNKNOWN_SYMBOL),
    ),
    # "wait for at least 10 minutes" after a 403; limits of the account are of a second. A bare status 429 is the
    # system protecting itself.
    pauses_s={
        "403": 600.0,
        "429": 1.0,
        "10018": 5.0,
        **dict.fromkeys(("10403", "10006", "20003", "170005", "170222"), 1.0),
    },
    reset_header="x-bapi-limit-reset-timestamp",
)
"""What :func:`btx.bridges.ccxt.translate` is given."""

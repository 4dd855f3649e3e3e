"""Bybit's error codes, and what each says about the request it answers.

Sources, facts only: "Error Codes" of the v5 manual (https://bybit-exchange.github.io/docs/v5/error), as of
2026-01-16 and in its older editions of 2022 and 2023; .../websocket/trade/guideline, 2025, for what the order socket
says of itself (10019, 10403, 10404, 10429, 20003, 20006); .../rate-limit, as of 2026-07-29, for pauses.  5004, 10020,
110092 and 3400045 are in ccxt's table (4.5.90, 2026), and the manual lists them elsewhere or no more.

One table serves all markets: a code means one thing.  Where the editions give a code two meanings (170135, 170201 to
170206, 110066 to 110070 were numbered anew) its verdict is true of both.

Those that leave an order's outcome open are the ones whose text says that nothing is known (a timeout, an internal
error, a request that is still being worked on); a duplicate id may be that of our own first try.  What is in no table
and comes with HTTP 200 is a refusal: all the manual's other codes of orders say why one was not taken.

That a request is taken (``retCode`` 0) is no verdict on the order: the matching engine may refuse it a moment later,
which the order's ``rejectReason`` tells on the account's stream and in ``order/realtime``.
"""

from btx.bridges.verdicts import Verdict, Verdicts

__all__ = ("NO_NEED", "TRIGGERS_AT_ONCE", "VERDICTS")

NO_NEED = frozenset({"110025", "110026", "110027", "110043"})
"""It is so already: position mode, margin mode, margin, leverage."""

TRIGGERS_AT_ONCE = frozenset({"110092", "110093"})
"""A conditional order whose trigger price the market has passed: "expect Rising, but trigger_price <= current"."""

_UNKNOWN = (
    # The server took too long or broke, the order service restarts ("the request in the process is not affected").
    *("10000", "10016", "10019", "5004", "3400214"),
    # The same of spot: internal error, timeouts (of creating, cancelling, amending), network, system.
    *("170001", "170007", "170032", "170146", "170147", "170234", "170310"),
    # It is being worked on: handed to the system; the order is busy; its cancel is under way.
    *("170035", "110079", "170212"),
    "429",  # high load, "please retry": asking settles what became of the first try
    "10014",  # a request that is the same as one before
    "40004",  # the order changed while it was being amended: "check the order status again"
)
_UNAUTHORISED = (
    # Key, signature, permission, login, banned account or address, a key bound to another address. Of the order
    # socket 10003 also says that an account has too many sessions: a human must close some.
    *("10003", "10004", "10005", "10007", "10008", "10009", "10010"),
    *("10020", "10024", "10027"),  # not for this account: kind of account, compliance, banned from trading
    *("10028", "100028", "110067", "110088"),  # a unified account is needed; none may be
    *("-2015", "33004"),  # the key has expired
    *("110018", "110069"),  # no such user; a borrower from the institutional desk
)
_FUNDS = (
    *("110004", "110006", "110007", "110012", "110014", "110044", "110045", "110051", "110052", "110053"),
    *("170033", "170034", "170131", "170228", "170229"),
)
_FILTERS = (
    *("110003", "110120", "110121", "30208"),  # the price is out of its range
    *("110016", "110021", "110022", "110090", "3400139"),  # beyond a risk limit, open interest, largest position
    *("110009", "110020", "170810"),  # too many orders rest
    *("110094", "170140"),  # the order is worth too little
    *("110108", "110109"),  # slippageTolerance
    *("170124", "170135", "170136", "170137", "170148", "170341", "170381", "170382"),  # the quantity, or its decimals
    *("170132", "170133", "170134", "170192", "170193", "170194", "170195", "170196", "170371", "170372"),  # the price
    *("170197", "170198", "170199", "170200"),  # so much would move the market
    *("170203", "170204"),  # the trigger price
)
# 170143: "cannot be found on order book"; 170190: the cancel is done; 34040: a position's setting is so already.
_NOT_FOUND = ("34040", "110001", "110008", "110010", "170139", "170142", "170143", "170190", "170213")
_UNSUPPORTED = ("10017", "10404", "110029", "110070", "170115", "170116", "170145", "170227", "170312")
_REJECTED = (
    "110019",  # an id that cannot be one: this says nothing of the order that was meant
    *("110017", "110023", "110034", "110092", "110093"),  # nothing to reduce, or reducing alone; the trigger has passed
    *("110024", "110028", "110036", "3400045"),  # the mode of positions or of margin cannot be switched now
    *("110064", "170311", "170313"),  # the amendment; and of spot's it says no more than that it failed
    *("110066", "110068", "110103", "170159", "170206", "170217"),  # not now, not on leverage, not of this kind
    *("170144", "170150", "170191"),  # the cancel: the order is locked; it failed; try again later
    *("170149", "170210", "170218"),  # the order: it failed; it is refused; post-only, and would take
    *("170201", "170202", "170224", "170241"),  # orderFilter or the account; not before something is agreed to
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
        "10002": Verdict.CLOCK,  # outside server time - recv_window <= time stamp < server time + 1 s
        "10006": Verdict.LIMITED_ACCOUNT,
        "10018": Verdict.LIMITED,  # struck out in the manual: a ban comes as a bare 403 now
        "10029": Verdict.UNKNOWN_SYMBOL,
        "10403": Verdict.LIMITED,  # 3000 in a second from an address, over order sockets
        # The system protects itself, whoever asks: no limit of ours, and it says to try again, not to wait.
        "10429": Verdict.NOT_DONE,
        "20003": Verdict.LIMITED_ACCOUNT,  # of one connection
        "20006": Verdict.UNKNOWN,  # a request of this id is there already
        "110030": Verdict.DUPLICATE,  # struck out in the manual
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

"""When contracts trade, by product: sessions, nights and holidays of the Chinese futures exchanges.

Sources: the exchanges' announcements of their trading hours as they were in 2025 (exchanges change them: what a
contract's own day is, a front tells); the State Council's arrangements of holidays for 2025 and 2026. A product that
is not named here is taken to trade always: its ticks say when it does.
"""

import datetime
import functools
from collections.abc import Mapping

from btx.model.calendar import ALWAYS, Calendar, TradingHours

__all__ = ("calendar_of",)

_MINUTE = 60
_COMMODITIES = ((9 * 60, 10 * 60 + 15), (10 * 60 + 30, 11 * 60 + 30), (13 * 60 + 30, 15 * 60))
_INDICES = ((9 * 60 + 30, 11 * 60 + 30), (13 * 60, 15 * 60))
_BONDS = ((9 * 60 + 30, 11 * 60 + 30), (13 * 60, 15 * 60 + 15))
_NIGHT = -3 * 60  # 21:00 of the evening before
_NIGHTS: Mapping[int, str] = {  # minutes of the night session: products
    0: "AP CJ UR SM SF PK jd lh fb bb ec lg wr si lc ps",
    120: "rb hc bu ru fu sp br nr lu a b m y p c cs i j jm l v pp eg eb pg rr SR CF RM OI TA MA FG SA PF CY PX SH PR",
    240: "cu al zn pb ni sn ss ao bc",
    330: "au ag sc",
}
_OF_CFFEX = {**dict.fromkeys(("IF", "IH", "IC", "IM"), _INDICES), **dict.fromkeys(("T", "TF", "TS", "TL"), _BONDS)}
_HOLIDAYS = (  # weekdays on which nothing trades
    *("2025-01-01", "2025-01-28", "2025-01-29", "2025-01-30", "2025-01-31", "2025-02-03", "2025-02-04", "2025-04-04"),
    *("2025-05-01", "2025-05-02", "2025-05-05", "2025-06-02", "2025-10-01", "2025-10-02", "2025-10-03", "2025-10-06"),
    *("2025-10-07", "2025-10-08", "2026-01-01", "2026-01-02", "2026-02-16", "2026-02-17", "2026-02-18", "2026-02-19"),
    *("2026-02-20", "2026-02-23", "2026-04-06", "2026-05-01", "2026-05-04", "2026-05-05", "2026-06-19", "2026-09-25"),
    *("2026-10-01", "2026-10-02", "2026-10-05", "2026-10-06", "2026-10-07"),
)


@functools.cache
def calendar_of(product: str) -> Calendar:
    """Return when the contracts of a product trade."""
    night = next((minutes for minutes, names in _NIGHTS.items() if product in names.split()), None)
    sessions = _OF_CFFEX.get(product)
    if night is None and sessions is None:
        return ALWAYS
    spans = [(_NIGHT, _NIGHT + night)] if night else []
    spans += sessions or _COMMODITIES
    return Calendar(
        name=f"CTP {product}",
        zone="Asia/Shanghai",
        hours=tuple(TradingHours(open_s=begin * _MINUTE, close_s=end * _MINUTE) for begin, end in spans),
        holidays=frozenset(datetime.date.fromisoformat(day) for day in _HOLIDAYS),
        skips_night_before_holiday=True,
        source="the exchanges' trading hours of 2025; the State Council's holidays of 2025 and 2026",
    )

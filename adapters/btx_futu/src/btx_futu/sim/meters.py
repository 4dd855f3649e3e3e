"""How often OpenD may be asked: so many requests in 30 seconds, of each kind. Pure: time is an argument."""

from collections import defaultdict, deque

from btx.model.time import NS_PER_S
from btx.sim.rolling import forget
from btx_futu.sim.answers import WireError

__all__ = ("Meters",)

# Per account where there is one (the documentation of each interface, 2026).
_LIMITS = {
    "Trd_PlaceOrder": 15,
    "Trd_ModifyOrder": 20,
    "Trd_GetHistoryOrderList": 10,
    "Qot_RequestHistoryKL": 60,
    "Qot_GetSecuritySnapshot": 60,
    "Qot_GetStaticInfo": 10,
}
_WINDOW_NS = 30 * NS_PER_S


class Meters:
    """Counts what each account asked, and refuses what goes beyond."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, int], deque[int]] = defaultdict(deque)

    def take(self, name: str, account: int, now_ns: int) -> None:
        """Count one request; ``account`` is 0 where it is of none.

        Raises:
            WireError: there were too many within the window; this one is not counted.
        """
        limit = _LIMITS.get(name)
        if limit is None:
            return
        times_ns = self._asked[name, account]
        forget(times_ns, window_ns=_WINDOW_NS, now_ns=now_ns)
        if len(times_ns) >= limit:
            raise WireError(f"high frequency: at most {limit} requests of {name} in 30 seconds")
        times_ns.append(now_ns)

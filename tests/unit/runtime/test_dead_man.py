"""The dead man's switch: renewed while all is well, let go at an orderly end, and told when it is not."""

import asyncio
from typing import Any

import attrs
import pytest

from btx.errors import TransportError
from btx.model.venue import DeadMan as Kind
from btx.runtime.dead_man import DeadMan
from tests.toy_venue import Fault, ToyVenue
from tests.unit.runtime.rig import Log, quick_guard, run
from tests.values import BTC

SET = "it is set now: after a crash the venue cancels what rests"
LOST = "not renewed, so the venue may cancel what rests: "


class Rig:
    def __init__(self, **changes: Any) -> None:
        self.toy = ToyVenue()
        self.notes: list[tuple[str, str]] = []
        self.is_healthy = True
        self.log = Log()
        settings: dict[str, Any] = {
            "after_s": 60.0,
            "speed": 1.0,
            "broker": self.toy,
            "guard": quick_guard(),
            "instruments": lambda: [BTC],
            "is_healthy": lambda: self.is_healthy,
            "note": self._note,
        }
        self.dead_man = DeadMan(**(settings | changes))

    def _note(self, kind: str, text: str) -> None:
        self.notes.append((kind, text))
        self.log.touch()

    @property
    def asked(self) -> list[Any]:
        return [what for name, what in self.toy.calls if name == "dead_man"]

    async def renew_until(self, condition: Any) -> None:
        renewing = asyncio.create_task(self.dead_man.run())
        await self.toy.until(condition)
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)


def test_the_countdown_begins_anew_until_an_orderly_end_stops_it() -> None:
    async def scene() -> None:
        rig = Rig(speed=60_000.0)
        await rig.renew_until(lambda: len(rig.asked) >= 3)
        asked = set(rig.asked)
        await rig.dead_man.release()
        await rig.dead_man.release()

        assert asked == {("BTC/USDT", 60.0)}
        assert rig.asked[-1] == ("BTC/USDT", None)
        assert [after for _, after in rig.asked].count(None) == 1
        assert rig.notes == []

    run(scene())


def test_where_none_is_wanted_nothing_is_asked_for() -> None:
    async def scene() -> None:
        rig = Rig(after_s=None)
        await rig.dead_man.run()
        await rig.dead_man.release()

        assert rig.asked == []

    run(scene())


def test_a_renewal_that_fails_is_told_once_and_again_after_one_that_did_not() -> None:
    async def scene() -> None:
        rig = Rig()
        rig.toy.faults["dead_man"].extend([Fault.NOT_SENT, Fault.NOT_SENT, None, TransportError("gone")])
        for _ in range(4):
            await rig.dead_man.renew()

        assert rig.notes == [("DEADMAN", f"{LOST}not reached"), ("DEADMAN", SET), ("DEADMAN", f"{LOST}gone")]

    run(scene())


def test_a_renewal_without_an_answer_is_given_up_for_the_next() -> None:
    async def scene() -> None:
        rig = Rig(after_s=0.03)
        rig.toy.faults["dead_man"].append(Fault.SILENT)
        await rig.dead_man.renew()
        await rig.dead_man.renew()

        assert rig.notes == [("DEADMAN", f"{LOST}no answer"), ("DEADMAN", SET)]
        assert len(rig.asked) == 2

    run(scene())


def test_a_session_that_hears_nothing_of_its_account_renews_nothing() -> None:
    async def scene() -> None:
        rig = Rig(speed=60_000.0)
        rig.is_healthy = False
        renewing = asyncio.create_task(rig.dead_man.run())
        await rig.log.until(lambda: bool(rig.notes))
        assert rig.asked == []
        rig.is_healthy = True
        await rig.log.until(lambda: len(rig.notes) > 1)
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)

        assert rig.notes == [("DEADMAN", f"{LOST}the account stream is down"), ("DEADMAN", SET)]
        assert rig.asked

    run(scene())


@pytest.mark.parametrize("fault", [Fault.NOT_SENT, Fault.LOST_ANSWER])
def test_a_countdown_that_could_not_be_stopped_is_told(fault: Fault) -> None:
    async def scene() -> None:
        rig = Rig()
        await rig.dead_man.renew()
        rig.toy.faults["dead_man"].append(fault)
        await rig.dead_man.release()

        ((kind, text),) = rig.notes
        assert kind == "DEADMAN"
        assert text.startswith("BTC/USDT: the countdown goes on, and cancels what rests: ")

    run(scene())


def test_a_venue_that_watches_the_stream_is_told_once_and_nothing_is_let_go_of_here() -> None:
    async def scene() -> None:
        rig = Rig(speed=60_000.0, kind=Kind.STREAM, instruments=lambda: [BTC, attrs.evolve(BTC, symbol="ETH/USDT")])
        rig.toy.faults["dead_man"].append(TransportError("gone"))
        await rig.dead_man.run()  # it ends by itself: there is nothing to renew
        await rig.dead_man.release()

        assert rig.asked == [("BTC/USDT", 60.0)] * 2  # the first did not arrive
        assert rig.notes == [
            ("DEADMAN", "not set, so after a crash nobody cancels what rests: gone"),
            ("DEADMAN", SET),
        ]

    run(scene())

"""What a recording says was made of it, and what a replay makes of it, side by side."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from btx.storage.recording import VERSION
from btx.tools.replay import Seen, _differences, _moments, read_seen


def seen(what: str | None) -> Seen:
    return Seen(events={"our order a": what} if what is not None else {}, balances={})


def test_bars_pushed_after_the_recorded_strategy_had_begun_to_go_are_no_difference_and_others_are() -> None:
    then = Seen(bars={"ETH/USDT 1m": ["1 a", "2 b"], "BTC/USDT 1m": ["1 a"]}, balances={})

    def came(eth: list[str], **left: int) -> list[str]:
        now = Seen(bars={"ETH/USDT 1m": eth, "BTC/USDT 1m": ["1 a"]}, balances={})
        now.left = {f"{name}/USDT 1m": count for name, count in left.items()} if left else None
        return list(_differences(then, now))

    assert came(["1 a", "2 b", "3 c"], ETH=2) == []
    assert came(["1 a", "2 b", "3 c"], ETH=1) == []  # the replay was a little behind
    assert len(came(["1 a", "2 b", "3 c"], ETH=3)) == 1  # it was there before, and the recorded strategy lacked it
    assert len(came(["1 a", "2 b", "3 c"])) == 1  # nothing says that the strategy went
    assert len(came(["1 a", "2 x", "3 c"], ETH=2)) == 1
    assert len(came(["1 a"], ETH=1)) == 1


@pytest.mark.parametrize(
    ("was", "came", "differences"),
    [
        ("UNKNOWN 0 of 2 in 0 fills", "REJECTED 0 of 2 in 0 fills", 0),  # the replay took longer
        ("UNKNOWN 0 of 2 in 0 fills", "REJECTED 0 of 3 in 0 fills", 1),
        ("UNKNOWN 0 of 2 in 0 fills", "FILLED 2 of 2 in 1 fills", 1),
        ("UNKNOWN 1 of 2 in 1 fills", "REJECTED 1 of 2 in 1 fills", 1),
        ("REJECTED 0 of 2 in 0 fills", "UNKNOWN 0 of 2 in 0 fills", 1),
        (None, "PENDING_NEW 0 of 2 in 0 fills", 0),  # it was written down when the recording ended
        ("PENDING_NEW 0 of 2 in 0 fills", "REJECTED 0 of 2 in 0 fills", 0),
        (None, "NEW 0 of 2 in 0 fills", 1),
        (None, "FILLED 2 of 2 in 1 fills", 1),
        ("NEW 0 of 2 in 0 fills", None, 1),
    ],
)
def test_an_outcome_that_was_open_at_the_end_may_be_settled_by_who_goes_on(
    was: str | None, came: str | None, differences: int
) -> None:
    assert len(list(_differences(seen(was), seen(came)))) == differences


def recording(folder: Path, *told: dict[str, Any], pace: float | None) -> tuple[Path, ...]:
    """Write a recording of which each line came a second after the one before; without a pace its market stands."""
    header = {"k": "header", "version": VERSION, "venue": "toy", "environment": "sim"}
    lines = [
        {**line, "w": 10**18 + number * 10**9, "m": 10**17 + int(number * 10**9 * (pace or 0.0))}
        for number, line in enumerate((header, *told))
    ]
    file = folder / "one-0001.jsonl.gz"
    file.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    return (file,)


_MARK = {"k": "mark", "state": {"balances": {}}}
_TRAILER = {**_MARK, "k": "trailer"}


@pytest.mark.parametrize("pace", [None, 1.0, 300.0])
def test_a_recording_says_how_fast_its_market_was_and_whether_it_waited(pace: float | None, tmp_path: Path) -> None:
    read = read_seen(recording(tmp_path, _MARK, _MARK, _TRAILER, pace=pace))

    assert read.is_lockstep is (pace is None)
    assert read.speed == (pace or 1.0)


@pytest.mark.parametrize(
    ("told", "played"),
    [
        (("opened", "closed", "received", "closed"), ("opened", "closed", "received")),
        (("opened", "closed", "mark", "left", "closed"), ("opened", "mark", "left")),
        (("opened", "left", "closed", "received", "closed"), ("opened", "left", "received")),
        (("left", "closed", "opened", "closed"), ("left", "closed", "opened")),  # it had been cut, and was dialled anew
    ],
)
def test_that_we_hung_up_when_the_strategy_went_is_not_played_as_if_the_venue_had(
    told: tuple[str, ...], played: tuple[str, ...], tmp_path: Path
) -> None:
    files = recording(tmp_path, *({**_MARK, "k": each, "c": 1} for each in told), _TRAILER, pace=1.0)

    assert tuple(moment.note["k"] for moment in _moments(files, None)) == ("header", *played)

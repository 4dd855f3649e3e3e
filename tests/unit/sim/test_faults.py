"""Scripts of faults: what they say, how they count, and how they shrink."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btx.errors import ConfigError
from btx.sim.faults import (
    PUSH_KINDS,
    REQUEST_KINDS,
    SOCKET_KINDS,
    Fault,
    Faults,
    FaultScript,
    Kind,
    Where,
    random_script,
    script_from_json,
    script_to_json,
    shrink,
)

REQUESTS = (Where.PLACE, Where.CANCEL, Where.QUERY, Where.ACCOUNT, Where.MARKET)
STREAMS = (Where.MARKET_STREAM, Where.ACCOUNT_STREAM)


def playing(*faults: Fault) -> Faults:
    return Faults(FaultScript(faults=faults))


def kinds(faults: Faults, *places: Where) -> list[list[str]]:
    """What goes wrong with one occurrence after another, all at the same moment."""
    actions = [
        faults.on_push(where, now_s=0.0) if where in STREAMS else faults.on_request(where, now_s=0.0)
        for where in places
    ]
    return [[fault.kind.value for fault in action.faults] for action in actions]


# --- counting ----------------------------------------------------------------------------------------------


def test_a_fault_strikes_at_its_own_occurrences_and_no_others() -> None:
    faults = playing(Fault(kind=Kind.DROP, where=Where.PLACE, at=2, count=2))

    struck = kinds(faults, Where.PLACE, Where.CANCEL, Where.PLACE, Where.QUERY, Where.PLACE, Where.PLACE)

    assert struck == [[], [], ["drop"], [], ["drop"], []]
    assert [(entry.where, entry.number) for entry in faults.log] == [(Where.PLACE, 2), (Where.PLACE, 3)]


def test_an_acknowledged_amendment_lapses_by_a_count_of_its_own() -> None:
    faults = playing(Fault(kind=Kind.LAPSE, where=Where.AMENDMENT, at=2), Fault(kind=Kind.LOSE, at=2))

    lapses = [bool(faults.on_amendment(what="BTCUSDT")) for _ in range(3)]

    assert lapses == [False, True, False]
    assert kinds(faults, Where.PLACE, Where.PLACE) == [[], ["lose"]]
    assert not Faults().on_amendment()
    with pytest.raises(ValueError, match="drop cannot happen in amendment"):
        Fault(kind=Kind.DROP, where=Where.AMENDMENT)


def test_any_counts_all_requests_or_all_pushes_as_the_kind_has_it() -> None:
    faults = playing(Fault(kind=Kind.LOSE, at=2), Fault(kind=Kind.DUPLICATE, at=2))

    struck = kinds(faults, Where.PLACE, Where.MARKET_STREAM, Where.ACCOUNT_STREAM, Where.MARKET)

    assert struck == [[], [], ["duplicate"], ["lose"]]


def test_any_spares_what_the_kind_cannot_happen_to() -> None:
    faults = playing(Fault(kind=Kind.KEY_EXPIRY), Fault(kind=Kind.STREAM_END))

    assert kinds(faults, Where.MARKET, Where.MARKET_STREAM) == [[], []]
    assert faults.log == []


def test_what_a_venue_has_not_never_strikes_and_is_not_written_down() -> None:
    faults = playing(Fault(kind=Kind.BAN), Fault(kind=Kind.LOSE, where=Where.PLACE))
    faults.leave_out(Kind.BAN)

    assert kinds(faults, Where.PLACE) == [["lose"]]
    assert [entry.fault.kind for entry in faults.log] == [Kind.LOSE]


def test_several_faults_strike_at_once_in_the_order_of_the_script() -> None:
    faults = playing(Fault(kind=Kind.CLOCK_JUMP), Fault(kind=Kind.LOSE, where=Where.PLACE))

    action = faults.on_request(Where.PLACE, now_s=0.0, what="order.place")

    assert action
    assert action.get(Kind.DROP, Kind.LOSE) == Fault(kind=Kind.LOSE, where=Where.PLACE)
    assert action.get(Kind.DROP) is None
    assert [entry.to_json() for entry in faults.log] == [
        {
            "fault": {"kind": "clock_jump", "where": "any", "at": 1},
            "where": "place",
            "number": 1,
            "what": "order.place",
        },
        {"fault": {"kind": "lose", "where": "place", "at": 1}, "where": "place", "number": 1, "what": "order.place"},
    ]


def test_nothing_goes_wrong_without_a_script() -> None:
    faults = Faults()

    assert not faults.on_request(Where.PLACE, now_s=0.0)
    assert not faults.on_push(Where.ACCOUNT_STREAM, now_s=0.0)
    assert not faults.is_out(now_s=0.0)


def test_another_script_begins_at_its_beginning() -> None:
    faults = playing(Fault(kind=Kind.OUTAGE, where=Where.PLACE, for_s=10.0))
    faults.on_request(Where.PLACE, now_s=0.0)
    assert faults.is_out(now_s=9.9)

    faults.replace(FaultScript(faults=(Fault(kind=Kind.DROP, where=Where.PLACE),)))

    assert not faults.is_out(now_s=9.9)
    assert faults.log == []
    assert kinds(faults, Where.PLACE, Where.PLACE) == [["drop"], []]


# --- what lasts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.RATE_LIMIT, Kind.BAN, Kind.OUTAGE])
def test_a_limit_a_ban_and_an_outage_concern_everything_until_they_are_over(kind: Kind) -> None:
    faults = playing(Fault(kind=kind, where=Where.PLACE, for_s=2.0))
    faults.on_request(Where.PLACE, now_s=100.0)

    during = faults.on_request(Where.MARKET, now_s=101.5).get(kind)

    assert during is not None
    assert during.for_s == 0.5
    assert not faults.on_request(Where.MARKET, now_s=102.0)
    assert len(faults.log) == 1


def test_an_expired_key_concerns_only_what_is_signed() -> None:
    faults = playing(Fault(kind=Kind.KEY_EXPIRY, where=Where.QUERY, for_s=2.0))
    faults.on_request(Where.QUERY, now_s=0.0)

    assert faults.on_request(Where.PLACE, now_s=1.0)
    assert not faults.on_request(Where.MARKET, now_s=1.0)


def test_a_refusal_of_sockets_lasts_and_concerns_neither_requests_nor_subscriptions() -> None:
    faults = playing(Fault(kind=Kind.REFUSE, where=Where.DIAL, at=2, for_s=2.0))

    dials = [bool(faults.on_dial(now_s=now_s)) for now_s in (0.0, 0.0, 1.9, 2.0)]

    assert dials == [False, True, True, False]
    assert not faults.on_request(Where.MARKET, now_s=1.0)
    assert not faults.on_subscribe(now_s=1.0)
    assert [(entry.where, entry.number) for entry in faults.log] == [(Where.DIAL, 2)]


def test_sockets_are_counted_apart_from_all_else() -> None:
    faults = playing(Fault(kind=Kind.DROP, at=1), Fault(kind=Kind.REFUSE, where=Where.SUBSCRIBE, at=2))

    assert not faults.on_dial(now_s=0.0)
    assert not faults.on_subscribe(now_s=0.0)
    assert faults.on_subscribe(now_s=0.0).get(Kind.REFUSE)
    assert not faults.on_subscribe(now_s=0.0)
    assert faults.on_request(Where.PLACE, now_s=0.0).get(Kind.DROP)


def test_what_is_commanded_strikes_now_lasts_and_is_told_apart() -> None:
    faults = playing()
    ban = Fault(kind=Kind.BAN, where=Where.MARKET, for_s=2.0)

    assert faults.command(ban, now_s=1.0, what="by hand").get(Kind.BAN) is ban
    assert faults.on_request(Where.MARKET, now_s=2.0).get(Kind.BAN) is not None
    assert not faults.on_request(Where.MARKET, now_s=3.0)
    assert [(entry.number, entry.what) for entry in faults.log] == [(0, "by hand")]


# --- scripts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"kind": "drop", "where": "market_stream"}, "drop cannot happen in market_stream"),
        ({"kind": "duplicate", "where": "place"}, "duplicate cannot happen in place"),
        ({"kind": "stream_end", "where": "market_stream"}, "stream_end cannot happen in market_stream"),
        ({"kind": "ack_after_fill", "where": "market"}, "ack_after_fill cannot happen in market"),
        ({"kind": "key_expiry", "where": "market"}, "key_expiry cannot happen in market"),
        ({"kind": "refuse", "where": "market"}, "refuse cannot happen in market"),
        ({"kind": "refuse"}, "refuse cannot happen in any"),
        ({"kind": "lose", "where": "dial"}, "lose cannot happen in dial"),
        ({"kind": "silence", "where": "account_stream"}, "silence cannot happen in account_stream"),
        ({"kind": "drop", "at": 0}, "counted from 1"),
        ({"kind": "drop", "count": 0}, "counted from 1"),
        ({"kind": "drop", "form": -1}, "forms from 0"),
        ({"kind": "drop", "at": 1.5}, "whole numbers"),
        ({"kind": "delay", "for_s": -1}, "seconds from now on"),
        ({"kind": "delay", "for_s": float("nan")}, "seconds from now on"),
        ({"kind": "meteor"}, "'meteor' is not a valid Kind"),
        ({"kind": "drop", "where": "space"}, "'space' is not a valid Where"),
        ({"kind": "drop", "whom": "me"}, "whom"),
        ({}, "kind"),
    ],
)
def test_what_is_no_fault_is_refused_with_the_reason(fault: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=f"^no script of faults: .*{why}"):
        script_from_json(json.dumps([fault]))


@pytest.mark.parametrize("text", ["", "3", "null", '{"faults": 3}', "[3]"])
def test_what_is_no_script_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^no script of faults: "):
        script_from_json(text)


def test_a_script_with_unknown_words_is_refused() -> None:
    with pytest.raises(ConfigError, match="sede is unknown, write seed and faults"):
        script_from_json('{"sede": 1, "faults": []}')


def test_what_is_left_out_has_its_usual_value() -> None:
    script = script_from_json('[{"kind": "outage"}, {"kind": "clock_jump", "where": "market", "offset_s": -2}]')

    assert script.faults[0] == Fault(kind=Kind.OUTAGE, where=Where.ANY, at=1, count=1, for_s=0.5, form=0)
    assert script.faults[1].offset_s == -2
    assert json.loads(script_to_json(script)) == {
        "seed": None,
        "faults": [
            {"kind": "outage", "where": "any", "at": 1},
            {"kind": "clock_jump", "where": "market", "at": 1, "offset_s": -2},
        ],
    }


@given(st.integers(), st.floats(0, 40), st.integers(1, 1000))
def test_a_seed_makes_the_same_script_which_survives_its_text(seed: int, intensity: float, horizon: int) -> None:
    script = random_script(seed, intensity=intensity, horizon=horizon)

    assert script == random_script(seed, intensity=intensity, horizon=horizon)
    assert script_from_json(script_to_json(script)) == script
    assert round(intensity * 0.5) <= len(script.faults) <= round(intensity * 1.5)
    assert all(1 <= fault.at <= horizon for fault in script.faults)


def test_seeds_make_every_kind_and_only_the_kinds_that_are_wanted() -> None:
    made = {fault.kind for seed in range(100) for fault in random_script(seed).faults}
    wanted = {fault.kind for seed in range(100) for fault in random_script(seed, kinds={Kind.LOSE, Kind.CUT}).faults}

    assert made == set(Kind) - {Kind.LAPSE} == REQUEST_KINDS | PUSH_KINDS | SOCKET_KINDS
    assert wanted == {Kind.LOSE, Kind.CUT}
    assert random_script(1, kinds=()).faults == ()


@given(st.integers(), st.lists(st.sampled_from((*REQUESTS, *STREAMS)), max_size=60))
def test_the_same_occurrences_leave_the_same_log(seed: int, places: list[Where]) -> None:
    one, two = Faults(random_script(seed)), Faults(random_script(seed))

    assert kinds(one, *places) == kinds(two, *places)
    assert one.log == two.log


# --- shrinking ---------------------------------------------------------------------------------------------


def test_shrinking_finds_the_pair_that_fails_together() -> None:
    script = random_script(42, intensity=40.0, horizon=100)
    pair = {script.faults[3], script.faults[-2]}
    asked: list[int] = []

    def fails(candidate: FaultScript) -> bool:
        asked.append(len(candidate.faults))
        return pair <= set(candidate.faults)

    small = shrink(script, fails)

    assert set(small.faults) == pair
    assert small.seed == 42
    assert len(asked) < 100
    print(f"{len(script.faults)} faults shrunk to {len(small.faults)} in {len(asked)} runs")  # noqa: T201 - to be seen


@given(st.sets(st.integers(0, 11)))
def test_a_shrunk_script_fails_and_cannot_do_without_any_of_its_faults(guilty: set[int]) -> None:
    faults = tuple(Fault(kind=Kind.DROP, at=1 + number) for number in range(12))
    culprits = {faults[number] for number in guilty}

    small = shrink(FaultScript(faults=faults), lambda script: culprits <= set(script.faults))

    assert set(small.faults) == culprits


def test_a_script_that_does_not_fail_is_not_shrunk() -> None:
    with pytest.raises(ValueError, match="does not fail"):
        shrink(random_script(1), lambda _script: False)

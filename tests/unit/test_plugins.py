"""Plugins: found by name, isolated when broken, and told apart."""

from pathlib import Path
from typing import Any

import pytest

from btx.defaults import open_venue
from btx.errors import ConfigError, IncompatiblePluginError, PluginError, UnknownVenueError
from btx.hookspecs import API
from btx.model.order import Part
from btx.plugins import installed_venues
from tests.distributions import VENUE, Install, install
from tests.values import BTC, request

__all__ = ("install",)  # a fixture is asked for by its name

NOBODY: Any = None


def without(hook: str) -> str:
    """Return the adapter's source without one of its hooks."""
    before, _, after = VENUE.format(name="acme").partition(f"@hookimpl\ndef {hook}(")
    return before + after.partition("\n\n\n")[2]


def test_a_venue_nobody_installed_is_named_with_its_cure(install: Install) -> None:
    install("acme")

    with pytest.raises(
        UnknownVenueError, match=r"no adapter for 'kraken' is installed \(installed: acme, .*\): pip install btx-kraken"
    ):
        open_venue("kraken")


def test_installed_venues_are_listed_and_not_imported(install: Install) -> None:
    install("acme", "raise SystemError('imported')")

    assert installed_venues()["acme"].dist.name == "btx-acme"  # type: ignore[union-attr]


def test_every_hook_of_a_venue_is_asked(install: Install) -> None:
    install("acme")
    venue = open_venue("acme")

    assert venue.info.name == "acme"
    assert [venue.store(NOBODY), venue.broker(NOBODY), venue.feed(NOBODY), venue.websocket(NOBODY)] == [
        "store of acme",
        "broker of acme",
        "feed of acme",
        "stream of acme",
    ]
    assert venue.simulator(NOBODY) == "simulator of acme"
    assert venue.commission(BTC, None).source == "btx default: flat 0.1 %, no venue's"
    assert venue.plan(request(), None) == (Part(quantity=request().quantity),)
    assert venue.secret("keyring:x", NOBODY) is None


@pytest.mark.parametrize(
    "source",
    ["import nowhere_to_be_found", "syntax error", "def btx_venue(): raise TypeError('VenueInfo has no field x')"],
)
def test_a_broken_adapter_fails_alone_and_its_cure_is_named(install: Install, source: str) -> None:
    install("acme", source)
    install("sound")

    with pytest.raises(PluginError, match=r"^the adapter 'acme' of btx-acme cannot be imported \(.*\): pip install "):
        open_venue("acme")
    assert open_venue("sound").info.name == "sound"


@pytest.mark.parametrize(
    ("source", "where"),
    [
        ("x = 1\n\nimport nowhere_to_be_found", ", btx_acme_plugin.py line 3"),
        ("def btx_venue():\n    return unheard_of", ", btx_acme_plugin.py line 2"),
    ],
)
def test_the_line_that_broke_an_adapter_is_named(install: Install, source: str, where: str) -> None:
    install("acme", source)

    with pytest.raises(PluginError) as raised:
        open_venue("acme")
    assert f"{where}): pip install --force-reinstall btx-acme, or mend it there if it is yours" in str(raised.value)


def test_an_entry_point_that_names_nothing_is_shown(install: Install, tmp_path: Path) -> None:
    install("acme")
    (told,) = tmp_path.glob("site/btx_acme*.dist-info/entry_points.txt")
    told.write_text("[btx.venues]\nacme = btx_acme_plugn\n")

    with pytest.raises(PluginError, match=r"cannot be imported \(Mod.*; its entry point is 'btx_acme_plugn'\): pip"):
        open_venue("acme")
    told.write_text("[btx.venues]\nacme = pathlib:Path\n")
    with pytest.raises(
        PluginError, match=r"no VenueInfo to the hook .*: it is required; its entry point is 'pathlib:P"
    ):
        open_venue("acme")


def test_a_distribution_without_the_entry_point_is_told_what_to_write(install: Install) -> None:
    install("acme", group="btx.venue")

    with pytest.raises(
        UnknownVenueError,
        match=r"btx-acme is installed and offers no venue 'acme': in the group 'btx.venues' .* acme = 'btx_acme.pl",
    ):
        open_venue("acme")


@pytest.mark.parametrize("hook", ["btx_venue", "btx_store", "btx_broker", "btx_feed", "btx_websocket", "btx_simulator"])
def test_a_missing_required_hook_is_named_at_load(install: Install, hook: str) -> None:
    install("acme", without(hook))

    with pytest.raises(PluginError, match=f"hook {hook}: it is required"):
        open_venue("acme")


def test_a_venue_that_offers_no_simulator_needs_none(install: Install) -> None:
    install("acme", without("btx_simulator").replace("frozenset(Environment)", "frozenset({Environment.LIVE})"))

    assert open_venue("acme").info.name == "acme"


def test_a_hook_that_answers_nothing_is_an_error_when_it_is_asked(install: Install) -> None:
    install("acme", VENUE.format(name="acme").replace('return "feed of acme"', "return None"))

    with pytest.raises(PluginError, match="the adapter 'acme' answers nothing to the hook btx_feed"):
        open_venue("acme").feed(NOBODY)


@pytest.mark.parametrize(
    "extra",
    ["@hookimpl\ndef btx_brokre(context): ...", "@hookimpl\ndef btx_plan(request, name): ..."],
    ids=["unknown hook", "unknown argument"],
)
def test_a_hook_this_core_does_not_know_fails_the_load(install: Install, extra: str) -> None:
    install("acme", f"{VENUE.format(name='acme')}\n\n{extra}")

    with pytest.raises(PluginError, match="the adapter 'acme' of btx-acme does not fit this core: ") as raised:
        open_venue("acme")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("extra", "cure"),
    [
        ("@hookimpl\ndef btx_brokre(context): ...", "there is no hook btx_brokre: did you mean btx_broker?"),
        ("@hookimpl\ndef btx_qqqqqqqqqqqq(): ...", "there is no hook btx_qqqqqqqqqqqq: choose of btx_broker, btx_"),
        (
            "@hookimpl\ndef btx_plan(request, name): ...",
            "the hook btx_plan is given request, lots, and not name",
        ),
        (
            "@hookimpl\nasync def btx_calendar(instrument): ...",
            "the hook btx_calendar is called without await: write def in place of async def",
        ),
        ("def btx_commission(instrument): ...", "nobody calls its btx_commission: write @hookimpl above it"),
    ],
)
def test_what_is_wrong_with_a_hook_is_told_with_its_cure(install: Install, extra: str, cure: str) -> None:
    install("acme", f"{VENUE.format(name='acme')}\n\n{extra}")

    with pytest.raises(PluginError) as raised:
        open_venue("acme")
    assert f"does not fit this core: {cure}" in str(raised.value)


@pytest.mark.parametrize(("step", "upgrade"), [(-1, "btx-acme"), (1, "btx-core")])
def test_another_api_number_says_which_side_to_upgrade(install: Install, step: int, upgrade: str) -> None:
    source = VENUE.format(name="acme").replace("api=API", f"api=API + {step}")
    install("acme", f"{source}\n\n@hookimpl\ndef btx_of_another_age(): ...")

    with pytest.raises(
        IncompatiblePluginError,
        match=f"btx-acme speaks hook API {API + step}, btx-core speaks {API}: pip install -U {upgrade}",
    ):
        open_venue("acme")


def test_a_venue_two_distributions_offer_is_not_guessed(install: Install) -> None:
    install("acme")
    install("acme", dist="acme-fork")

    with pytest.raises(PluginError, match="the venue 'acme' is offered by acme-fork and btx-acme: uninstall all but"):
        open_venue("acme")


def test_two_venues_in_one_process_do_not_answer_for_one_another(install: Install) -> None:
    install("acme")
    install("other")
    acme, other = open_venue("acme"), open_venue("other")

    assert acme.broker(NOBODY) == "broker of acme"
    assert other.broker(NOBODY) == "broker of other"


WRAPPER = """
from btx.hookspecs import hookimpl

@hookimpl(wrapper=True)
def btx_broker(context):
    return f"recorded {(yield)}"
"""


def test_an_extension_wraps_the_broker_of_every_venue(install: Install) -> None:
    install("acme")
    install("other")
    install("recorder", WRAPPER, group="btx.extensions")

    assert open_venue("acme").broker(NOBODY) == "recorded broker of acme"
    assert open_venue("other").broker(NOBODY) == "recorded broker of other"


def test_a_wrapper_does_not_count_as_the_hook_it_wraps(install: Install) -> None:
    install("acme", without("btx_broker"))
    install("recorder", WRAPPER, group="btx.extensions")

    with pytest.raises(PluginError, match="hook btx_broker: it is required"):
        open_venue("acme")


def test_an_extension_may_have_the_name_of_a_venue(install: Install) -> None:
    install("acme")
    install("acme", WRAPPER, group="btx.extensions", dist="acme-recorder")

    assert open_venue("acme").broker(NOBODY) == "recorded broker of acme"


@pytest.mark.parametrize(
    ("setting", "answer"),
    [("", "broker of acme"), ("other", "broker of acme"), ("recorder", "recorded"), (" other , recorder ", "recorded")],
)
def test_btx_extensions_names_the_only_ones_wanted(
    install: Install, monkeypatch: pytest.MonkeyPatch, setting: str, answer: str
) -> None:
    install("acme")
    install("recorder", WRAPPER, group="btx.extensions")
    install("other", "", group="btx.extensions")
    monkeypatch.setenv("BTX_EXTENSIONS", setting)

    assert open_venue("acme").broker(NOBODY).startswith(answer)


def test_btx_extensions_that_names_a_stranger_is_told(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("acme")
    install("recorder", WRAPPER, group="btx.extensions")
    monkeypatch.setenv("BTX_EXTENSIONS", "recoder")

    with pytest.raises(ConfigError, match=r"BTX_EXTENSIONS names recoder, which is not installed \(.*recorder"):
        open_venue("acme")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import nowhere_to_be_found", "the extension 'bad' cannot be imported .* leave it out with BTX_EXTENSIONS"),
        ("from btx.hookspecs import hookimpl\n\n@hookimpl\ndef btx_brkr(): ...", "the extension 'bad' does not fit"),
        (
            "from btx.hookspecs import hookimpl\n\n@hookimpl(wrapper=True)\ndef btx_check_order(): return (yield)",
            "the extension 'bad' wraps btx_check_order",
        ),
    ],
)
def test_a_broken_extension_is_named_with_its_cure(
    install: Install, monkeypatch: pytest.MonkeyPatch, source: str, sentence: str
) -> None:
    install("acme")
    install("bad", source, group="btx.extensions")

    with pytest.raises(PluginError, match=sentence):
        open_venue("acme")
    monkeypatch.setenv("BTX_EXTENSIONS", "")
    assert open_venue("acme").info.name == "acme"


def checking(body: str) -> str:
    return (
        "from btx.hookspecs import hookimpl\nfrom btx.model.order import Veto\n\n"
        f"@hookimpl\ndef btx_check_order(request, account):\n    {body}"
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return None", None),
        ("return Veto(reason='too big')", "extension risk: too big"),
        ("return 1 / 0", "extension risk failed: ZeroDivisionError: division by zero"),
        ("return 'no'", "extension risk failed: it answered 'no', neither a Veto nor None"),
    ],
)
def test_an_extension_may_veto_an_order_and_a_broken_one_does(install: Install, body: str, reason: str | None) -> None:
    install("acme")
    install("risk", checking(body), group="btx.extensions")

    assert open_venue("acme").check_order(request(), NOBODY) == reason


def test_one_extension_cannot_silence_another(install: Install) -> None:
    install("acme")
    install("calm", checking("return None"), group="btx.extensions")
    install("wild", checking("return Veto(reason='no')"), group="btx.extensions")

    assert open_venue("acme").check_order(request(), NOBODY) == "extension wild: no"


def test_an_extension_may_know_secrets(install: Install) -> None:
    install("acme")
    install(
        "keyring",
        "from btx.hookspecs import hookimpl\n\n@hookimpl\ndef btx_secret(reference, settings):\n"
        "    return 'found' if reference == 'keyring:x' else None",
        group="btx.extensions",
    )

    assert open_venue("acme").secret("keyring:x", NOBODY) == "found"
    assert open_venue("acme").secret("env:x", NOBODY) is None


def test_btx_trace_hooks_prints_the_calls(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install("acme")
    monkeypatch.setenv("BTX_TRACE_HOOKS", "1")

    open_venue("acme").broker(NOBODY)

    printed = capsys.readouterr().err
    assert "btx_broker" in printed
    assert "broker of acme" in printed


def test_without_a_trace_nothing_is_printed(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("acme")

    open_venue("acme").broker(NOBODY)

    assert capsys.readouterr() == ("", "")

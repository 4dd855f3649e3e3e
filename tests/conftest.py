"""What every test may ask for."""

import decimal
import gc
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

# Speed is measured in benchmarks/: a slow machine must not fail a property.
settings.register_profile("btx", deadline=None, print_blob=True)
# The same examples each time: what a change broke is told apart from what was never tried before. Others are looked for
# by `BTX_EXPLORE=1 pytest tests/properties`.
settings.register_profile("same", settings.get_profile("btx"), derandomize=True)
settings.load_profile("btx" if os.environ.get("BTX_EXPLORE") else "same")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in its background so, and children would inherit it: none could be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What is there now stays: who looks for leftovers of a test need not look through thousands of tests."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup() -> None:
    """ccxt changes the rounding of the thread it is used on, for whoever comes after it."""
    decimal.setcontext(decimal.Context())


@pytest.fixture(scope="session")
def root() -> Path:
    """The working tree."""
    return ROOT


@pytest.fixture(scope="session")
def btx_data() -> Path:
    """The folder of recorded market data; without it the test skips."""
    folder = Path(os.environ.get("BTX_DATA") or ROOT.parent / "shared" / "data").resolve()
    if not (folder / "klines").is_dir():
        pytest.skip("no recorded market data: set BTX_DATA to its folder (default: ../shared/data)")
    return folder

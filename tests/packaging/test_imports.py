import subprocess
import sys
from importlib.metadata import entry_points

HEAVY = {"aiohttp", "backtrader", "ccxt", "cryptofeed", "matplotlib", "pyarrow", "sqlalchemy", "websockets"}


def test_import_btx_loads_no_adapter_no_exchange_library_and_not_backtrader() -> None:
    loaded = loaded_by("import btx")

    assert {name for name in loaded if name.startswith("btx_")} == set()
    assert loaded & HEAVY == set()


def test_the_adapter_loads_no_exchange_library_before_it_is_used() -> None:
    loaded = loaded_by("import btx_binance.plugin")

    assert "btx_binance" in loaded
    assert loaded & HEAVY == set()


def test_importing_btx_starts_no_thread_and_says_nothing() -> None:
    assert python("import btx, threading; assert threading.active_count() == 1") == ""


def test_binance_is_found_by_its_name() -> None:
    (venue,) = entry_points(group="btx.venues", name="binance")

    assert venue.value == "btx_binance.plugin"


def loaded_by(statement: str) -> set[str]:
    """The top-level modules in a fresh interpreter after ``statement``."""
    return set(python(f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})").split())


def python(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    ).stdout

"""A user's own strategy in a process that may be killed, and a written word of what it was told."""

import importlib.util
import inspect
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import backtrader as bt

from btx.bt.store import LiveStore
from btx.errors import ConfigError

__all__ = ("Witness", "load_strategy", "witnessed_cerebro")


class Witness(bt.Analyzer):
    """Appends every fill that is told to a file at once, and writes what the strategy ends with to another."""

    params = (("told", None), ("result", None))

    def start(self) -> None:
        self.seen: set[str] = set()
        self.statuses: dict[str, str] = {}

    def notify_order(self, order: Any) -> None:
        for fill in order.info.get("fills") or ():
            key = f"{fill.symbol}/{fill.fill_id}"
            if key not in self.seen:
                self.seen.add(key)
                recovered = fill.fill_id in {each.fill_id for each in order.info.get("recovered_fills") or ()}
                with Path(self.p.told).open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"fill": key, "recovered": recovered}) + "\n")
        if order.info.get("client_order_id"):
            self.statuses[order.info.client_order_id] = order.getstatusname()

    def stop(self) -> None:
        broker = self.strategy.broker
        Path(self.p.result).write_text(
            json.dumps(
                {
                    "cash": repr(broker.getcash()),
                    "positions": {
                        _name_of(data): repr(self.strategy.getposition(data).size) for data in self.datas if len(data)
                    },
                    "statuses": self.statuses,
                    "bars": {data._name: len(data) for data in self.datas},
                }
            ),
            encoding="utf-8",
        )


def _name_of(data: Any) -> str:
    """Return the symbol; of a position on margin with its side."""
    symbol: str = data.instrument.symbol
    return f"{symbol} {data.p.btx.position_side.value}" if data.instrument.kind.is_margined else symbol


def load_strategy(where: str) -> Any:
    """Return the strategy class that ``FILE.py`` or ``FILE.py:CLASS`` names.

    The modules beside the file can be imported by it, as if it were run; its own name stands for no other module,
    so that a strategy may be called ``signal.py``.

    Raises:
        ConfigError: there is no such file or class, the file is not Python's, or it has several strategies and
            none was named.
    """
    name, _, wanted = where.rpartition(":") if ":" in where and not where.endswith(".py") else (where, "", "")
    path = Path(name)
    if not path.is_file():
        raise ConfigError(f"there is no file {path}: name the strategy like strategy.py:MyStrategy")
    module_name = f"btx_strategy_{path.stem}"
    module_spec = importlib.util.spec_from_file_location(module_name, path)
    if module_spec is None or module_spec.loader is None:
        raise ConfigError(f"{path} is no Python file: name the strategy like strategy.py:MyStrategy")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_name] = module  # backtrader looks classes' modules up there
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # at the end: nothing that is installed is hidden
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    except SystemExit as error:
        raise ConfigError(f"{path} cannot be imported: it ends the process ({error})") from error
    found = {
        each.__name__: each
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, bt.Strategy) and each.__module__ == module.__name__
    }
    if wanted in found:
        return found[wanted]
    if not wanted and len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise ConfigError(f"{path} has no strategy: write a class in it that derives from bt.Strategy")
    raise ConfigError(
        f"{path} has these strategies: {', '.join(found)}; name one, like {path.name}:{next(iter(found))}"
    )


def witnessed_cerebro(
    store: LiveStore,
    strategy: Any,
    symbols: Iterable[str],
    *,
    told: Path,
    result: Path,
    params: dict[str, Any],
    legs: Iterable[str | None] = (None,),
) -> Any:
    """Return a cerebro with a user's strategy on 1m bars of ``symbols``, each for every leg, and the witness."""
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker(on_stop="keep"))
    for symbol in symbols:
        for leg in legs:
            cerebro.adddata(store.getdata(dataname=symbol, timeframe=bt.TimeFrame.Minutes, position_side=leg))
    cerebro.addstrategy(strategy, **params)
    cerebro.addanalyzer(Witness, told=str(told), result=str(result))
    return cerebro

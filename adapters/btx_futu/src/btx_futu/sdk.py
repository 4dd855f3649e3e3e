"""futu-api, imported so that nothing of it is felt outside this adapter.

As it comes, importing it takes over SIGINT (Ctrl-C ends the process at once, whatever is open), needs a ``HOME`` it can
write a log file into, and leaves a folder on ``sys.path``.  It is imported once, on a thread of ours: the signal is
left alone there; its log goes to btx's own folder, and says warnings alone; the folder is taken off the path again.
Its threads are daemons.
"""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from btx.config import home

__all__ = ("deal_row", "futu", "order_row")

_lock = threading.Lock()
_LOGGER = "futu.common.ft_logger"


def futu() -> Any:
    """Return the package; the first call imports it, which takes a second. Any thread."""
    if (known := sys.modules.get("futu")) is not None and hasattr(known, "OpenQuoteContext"):
        return known
    with _lock, _signals_kept(), _path_kept(), _log_elsewhere():
        package = importlib.import_module("futu")
        for name in ("Common_pb2", "Qot_Common_pb2", "Trd_Common_pb2", "Qot_OptionCommon_pb2"):
            importlib.import_module(name)  # what its messages import by these names, later
    package.SysConfig.set_all_thread_daemon(True)
    logger = sys.modules[_LOGGER].logger  # one line for each request and push otherwise
    logger.file_level = logging.WARNING
    logger.console_level = logging.CRITICAL
    return package


def order_row(message: Any) -> dict[str, Any]:
    """Return an order as the library's own queries return it, of a message that was pushed."""
    from futu.trade.trade_query import OrderListQuery

    row: dict[str, Any] = OrderListQuery.parse_order(None, message)
    return row


def deal_row(message: Any) -> dict[str, Any]:
    """Return an execution as the library's own queries return it, of a message that was pushed."""
    from futu.trade.trade_query import DealListQuery

    row: dict[str, Any] = DealListQuery.parse_deal(None, message)
    return row


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # it leaves the signal alone then
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _path_kept() -> Iterator[None]:
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before


@contextlib.contextmanager
def _log_elsewhere() -> Iterator[None]:
    finder = _LoggerFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _LoggerFinder(importlib.abc.MetaPathFinder):
    """Finds the module that opens the log file, and has it run with another home folder, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _LOGGER:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _LoggerLoader(spec.loader.name, spec.loader.path)
        return spec


class _LoggerLoader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        before = os.environ.get("HOME")
        folder = home() / "futu"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["HOME"] = str(folder)
        try:
            super().exec_module(module)
        finally:
            if before is None:
                del os.environ["HOME"]
            else:
                os.environ["HOME"] = before

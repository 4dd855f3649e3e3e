"""What stands in for the vendor's library in a client's process: API objects that forward to a simulated front.

The real binding is used unmodified, with its directors, its text decoding and its rules about memory.  Of the
vendor's library this has what a client sees: an API object connects by itself, and again after a loss; calls
return at once; callbacks come on a thread of the API's own; structs are gone when a callback returns; one query at
a time (-2) and so many a second (-3), as ``GetFrontInfo`` says; a request without a connection is -1.

:func:`install` is for the whole process: from then on no API object of it can reach a real front.
"""

import contextlib
import ctypes
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from btx.errors import ConfigError
from btx_ctp.sim.abi import Library, Method, fields_of
from btx_ctp.sim.wire import DISCONNECTED, UNREADABLE, call_line, parse

__all__ = ("install", "is_installed")

_RETRY_S = 0.2
_CONNECT_S = 5.0
_NO_CONNECTION, _TOO_MANY_WAIT, _TOO_MANY_A_SECOND = -1, -2, -3
_UNSET = sys.float_info.max  # "no value" among prices
_PRICES = "CThostFtdcDepthMarketDataField"
_OBJECT_WORDS = 4

_lock = threading.Lock()
_kept: list[Any] = []  # what C++ holds pointers to


def is_installed() -> bool:
    """Say whether API objects of this process lead to simulators."""
    return bool(_kept)


def install(binding: Any, *, clock_s: Callable[[], float] = time.monotonic) -> None:
    """Have every API object of this process lead to a simulated front; ``binding`` is the package openctp_ctp.

    Once per process; again it does nothing.  ``clock_s`` is what the queries of a second are counted by.

    Raises:
        ConfigError: this is no Linux on x86-64, or the binding is laid out in another way.
    """
    with _lock:
        if _kept:
            return
        if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8:
            raise ConfigError("CTP's simulator stands behind the binding on Linux x86-64 alone: trade it there")
        modules = {"Trader": (binding.tdapi, "_thosttraderapi"), "Md": (binding.mdapi, "_thostmduserapi")}
        libraries = [Library(module, getattr(module, raw), kind) for kind, (module, raw) in modules.items()]
        made = [_factory(library, clock_s) for library in libraries]
        _kept.extend(made)


def _factory(library: Library, clock_s: Callable[[], float]) -> Any:
    """Put a maker of API objects of this kind into the binding, and return what must be kept."""
    objects: dict[int, _Api] = {}
    functions = [_function(library, method, objects) for method in library.api]
    table = (ctypes.c_void_p * len(functions))(*(ctypes.cast(each, ctypes.c_void_p).value for each in functions))
    bodies: list[Any] = []

    def create(*_arguments: Any) -> int:
        body = (ctypes.c_void_p * _OBJECT_WORDS)(ctypes.addressof(table))
        bodies.append(body)
        address = ctypes.addressof(body)
        objects[address] = _Api(library, clock_s)
        return address

    kind = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_bool, ctypes.c_bool, ctypes.c_bool)
    callback = kind(create)
    library.replace_create(callback)
    return functions, table, bodies, callback


def _function(library: Library, method: Method, objects: "dict[int, _Api]") -> Any:
    """Return a C function for a slot of the vtable."""
    pointer, name, struct_name = ctypes.c_void_p, method.name, method.struct
    if name.startswith("Req") and struct_name is not None:

        def request(this: int, fields: int | None, request_id: int) -> int:
            read = _fields_at(library, struct_name, fields) if fields else {}
            return objects[this].request(name, read, request_id)

        return ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, ctypes.c_int)(request)
    if name in {"SubscribeMarketData", "UnSubscribeMarketData"}:

        def subscribe(this: int, names: Any, count: int) -> int:
            wanted = [names[at].decode() for at in range(count)]
            return objects[this].request(name, {"InstrumentIDs": wanted}, 0)

        return ctypes.CFUNCTYPE(ctypes.c_int, pointer, ctypes.POINTER(ctypes.c_char_p), ctypes.c_int)(subscribe)
    simple: dict[str, tuple[Any, Any]] = {
        "RegisterSpi": (ctypes.CFUNCTYPE(None, pointer, pointer), lambda this, spi: objects[this].register(spi)),
        "RegisterFront": (
            ctypes.CFUNCTYPE(None, pointer, ctypes.c_char_p),
            lambda this, address: objects[this].add_front(address.decode()),
        ),
        "Init": (ctypes.CFUNCTYPE(None, pointer), lambda this: objects[this].init()),
        "Release": (ctypes.CFUNCTYPE(None, pointer), lambda this: objects[this].release()),
        "GetTradingDay": (ctypes.CFUNCTYPE(pointer, pointer), lambda this: objects[this].trading_day),
        "GetFrontInfo": (
            ctypes.CFUNCTYPE(None, pointer, pointer),
            lambda this, fields: objects[this].show_front(fields),
        ),
        "SubscribePrivateTopic": (
            ctypes.CFUNCTYPE(None, pointer, ctypes.c_int),
            lambda this, resume: objects[this].take_topic(resume),
        ),
    }
    kind, answer = simple.get(name, (ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, pointer), lambda *_: 0))
    return kind(answer)


def _fields_at(library: Library, struct_name: str, address: int) -> dict[str, Any]:
    """Return the fields of a request that say something; their text is GB18030 to a front."""
    read = library.struct(struct_name).from_address(address)
    fields = {}
    for name, kind in fields_of(type(read)):
        value: Any = getattr(read, name)
        if isinstance(value, bytes):
            value = value.rstrip(b"\0").decode("gb18030", "replace")
        if value and not (kind is ctypes.c_double and value == _UNSET):
            fields[name] = value
    return fields


class _Api:
    """One API object: a connection to a front, and the thread that reads it."""

    def __init__(self, library: Library, clock_s: Callable[[], float]) -> None:
        self._library = library
        self._clock_s = clock_s
        self._spi: int | None = None
        self._front = ""
        self._resume = 0
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._is_released = threading.Event()
        self._calling = threading.RLock()  # held during a callback, so that nobody is called who was let go of
        self._sending = threading.Lock()
        self._day = ctypes.create_string_buffer(9)
        self._limits: dict[str, int] = {}
        self._asked: set[int] = set()  # queries without their last answer
        self._asked_at: deque[float] = deque()

    @property
    def trading_day(self) -> int:
        """The address of the text: a C string."""
        return ctypes.addressof(self._day)

    def register(self, spi: int | None) -> None:
        with self._calling:
            self._spi = spi

    def add_front(self, address: str) -> None:
        self._front = address

    def take_topic(self, resume: int) -> None:
        self._resume = resume

    def show_front(self, address: int) -> None:
        told = self._library.struct("CThostFtdcFrontInfoField").from_address(address)
        told.FrontAddr = self._front.encode()
        told.QryFreq, told.FTDPkgFreq = self._limits.get("QryFreq", 0), self._limits.get("FTDPkgFreq", 0)

    def init(self) -> None:
        self._thread = threading.Thread(target=self._run, name="ctp-api", daemon=True)
        self._thread.start()

    def release(self) -> None:
        self._is_released.set()
        self.register(None)
        with contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    # --- out ------------------------------------------------------------------------------------------------

    def request(self, name: str, fields: dict[str, Any], request_id: int) -> int:
        """Send a call; what it returns is what the vendor's does."""
        is_query = name.startswith("ReqQry")
        if self._socket is None:
            return _NO_CONNECTION
        if is_query and (refused := self._refusal()):
            return refused
        if name == "ReqUserLogin":
            fields = {**fields, "ResumeType": self._resume}
        if is_query:
            self._asked.add(request_id)
        try:
            with self._sending:
                self._socket.sendall(call_line(name, fields, request_id))
        except OSError:
            self._asked.discard(request_id)
            return _NO_CONNECTION
        return 0

    def _refusal(self) -> int:
        if self._asked:
            return _TOO_MANY_WAIT
        now = self._clock_s()
        while self._asked_at and now - self._asked_at[0] >= 1.0:
            self._asked_at.popleft()
        if len(self._asked_at) >= self._limits.get("QryFreq", 1):
            return _TOO_MANY_A_SECOND
        self._asked_at.append(now)
        return 0

    # --- in -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        host, _, port = self._front.removeprefix("tcp://").rpartition(":")
        while not self._is_released.is_set():
            try:
                connection = socket.create_connection((host, int(port)), timeout=_CONNECT_S)
            except OSError:
                self._is_released.wait(_RETRY_S)
                continue
            connection.settimeout(None)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reason = DISCONNECTED
            with connection:
                try:
                    self._read(connection)
                except ValueError:
                    reason = UNREADABLE
            self._asked.clear()
            self._call("OnFrontDisconnected", reason)
            self._is_released.wait(_RETRY_S)

    def _read(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection.makefile("rb") as lines:
            self._limits = parse(next(lines, b'{"front":{}}'))["front"]
            self._socket = connection
            try:
                self._call("OnFrontConnected")
                for line in lines:
                    said = parse(line)
                    self._call(said["on"], *said["args"])
            finally:
                self._socket = None

    def _call(self, name: str, *args: Any) -> None:
        made = [self._struct(*each) if isinstance(each, list) else each for each in args]
        if name.startswith("OnRsp") and made and made[-1] is True:  # the last answer
            self._asked.discard(made[-2])
        if name == "OnRspUserLogin" and made[0] is not None:
            self._day.value = getattr(made[0], "TradingDay", b"")
        with self._calling:
            if self._spi is not None:
                self._library.call_spi(self._spi, name, *made)

    def _struct(self, name: str, fields: dict[str, Any]) -> ctypes.Structure:
        made = self._library.struct(name)()
        if name == _PRICES:
            for field, kind in fields_of(type(made)):
                if kind is ctypes.c_double:
                    setattr(made, field, _UNSET)
        for field, value in fields.items():
            setattr(made, field, value.encode("gb18030") if isinstance(value, str) else value)
        return made

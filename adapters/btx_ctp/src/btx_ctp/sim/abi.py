"""The layout of CTP's structs and interfaces, asked of the installed binding: no header of the vendor is needed.

The binding (openctp-ctp) is a SWIG module over the vendor's C++ library.  It tells everything a library in the
vendor's place must know: its classes declare the methods of an interface in the order of the vtable; assigning a
wrong value to a field names the field's C type; and its shared object imports one function, which makes an API
object, through a slot of its global offset table that may be written.

Of Linux on x86-64 with glibc alone, as the slot and the vtable are.
"""

import ctypes
import os
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from btx.errors import ConfigError

__all__ = ("Library", "Method", "Struct", "fields_of")

Struct = type[ctypes.Structure]

_SHT_RELA = 4
_R_X86_64_GLOB_DAT, _R_X86_64_JUMP_SLOT = 6, 7
_SECTION = struct.Struct("<IIQQQQIIQQ")
_RELOCATION = struct.Struct("<QQq")
_OVER_SHORT = 70_000  # a C short does not take it
_CREATE = {
    "Trader": "_ZN19CThostFtdcTraderApi19CreateFtdcTraderApiEPKcb",
    "Md": "_ZN15CThostFtdcMdApi15CreateFtdcMdApiEPKcbbb",
}


class Method:
    """A method of an interface: its name and the types of its arguments, as the binding declares them."""

    def __init__(self, name: str, arguments: str) -> None:
        self.name = name
        self.types: Sequence[str] = re.findall(r'"([^"]*)"', arguments)

    @property
    def struct(self) -> str | None:
        """The struct it takes, None where it takes none."""
        return next((each for each in self.types if each.startswith("CThostFtdc") and each.endswith("Field")), None)


class Library:
    """One half of the API, ``kind`` "Trader" or "Md": ``module`` is the binding's Python, ``raw`` its shared object."""

    def __init__(self, module: ModuleType, raw: ModuleType, kind: str) -> None:
        assert module.__file__ is not None
        assert raw.__file__ is not None
        self._module = module
        self._raw_path = raw.__file__
        self._source = Path(module.__file__).read_text(encoding="utf-8")
        self._symbol = _CREATE[kind]
        self.api = tuple(self._methods(f"CThostFtdc{kind}Api"))
        self._slots = {method.name: at for at, method in enumerate(self._methods(f"CThostFtdc{kind}Spi"))}
        self._structs: dict[str, Struct] = {}

    def _methods(self, name: str) -> Iterator[Method]:
        body = self._source.split(f"class {name}(object)", 1)[1].split(f"\n# Register {name}", 1)[0]
        for found, arguments in re.findall(r"\n    def (\w+)\(self(?:, )?(.*?)\) ->", body):
            if not found.startswith("_"):
                yield Method(found, arguments)

    def struct(self, name: str) -> Struct:
        """Return a struct of the API as ctypes has it.

        Raises:
            ConfigError: the binding does not tell its layout.
        """
        if name not in self._structs:
            self._structs[name] = self._read_struct(name)
        return self._structs[name]

    def _read_struct(self, name: str) -> Struct:
        probe = getattr(self._module, name)()
        fields = [
            (field, _field_type(probe, field, name))
            for field, value in vars(type(probe)).items()
            if isinstance(value, property) and field != "thisown"
        ]
        layout: Struct = type(name, (ctypes.Structure,), {"_fields_": fields})
        self._check(probe, layout)
        return layout

    def _check(self, probe: Any, layout: Struct) -> None:
        """See that what the binding writes into a struct is where this layout has it.

        Raises:
            ConfigError: it is not.
        """
        seen = layout.from_address(int(probe.this))
        for number, (field, kind) in enumerate(fields_of(layout), start=1):
            marker: Any = float(number) if kind is ctypes.c_double else number
            if kind is ctypes.c_char or issubclass(kind, ctypes.Array):
                marker = chr(ord("A") + number % 26)
            setattr(probe, field, marker)
            if getattr(seen, field) not in {marker, str(marker).encode()}:
                raise _surprise(layout.__name__, field)

    def call_spi(self, spi: int, name: str, *args: Any) -> None:
        """Call a method of an SPI object; of structs it gets the address, and they are no more afterwards."""
        table = ctypes.c_void_p.from_address(spi).value
        function = ctypes.c_void_p.from_address((table or 0) + 8 * self._slots[name]).value
        kinds = [_argument_type(each) for each in args]
        passed = [ctypes.addressof(each) if isinstance(each, ctypes.Structure) else each for each in args]
        ctypes.CFUNCTYPE(None, ctypes.c_void_p, *kinds)(function or 0)(spi, *passed)
        for each in args:
            if isinstance(each, ctypes.Structure):  # as the vendor's: whoever kept it has nothing
                ctypes.memset(ctypes.addressof(each), 0, ctypes.sizeof(each))

    def replace_create(self, create: Callable[..., Any]) -> None:
        """Have ``create`` called wherever the binding makes an API object; it must never be let go of.

        Raises:
            ConfigError: this is no Linux on x86-64, or the binding is linked in another way.
        """
        slot = _base_address(self._raw_path) + _slot_offset(self._raw_path, self._symbol)
        ctypes.c_void_p.from_address(slot).value = ctypes.cast(create, ctypes.c_void_p).value  # type: ignore[arg-type]


def fields_of(layout: Struct) -> Sequence[tuple[str, Any]]:
    """Return the fields of a struct with their C types."""
    fields: Any = layout._fields_
    return tuple(fields)


def _surprise(struct_name: str, field: str) -> ConfigError:
    return ConfigError(
        f"the installed openctp-ctp tells no layout of {struct_name}.{field} that this simulator can read: "
        "pip install 'openctp-ctp==6.7.11.*'"
    )


def _argument_type(value: Any) -> Any:
    if value is None or isinstance(value, ctypes.Structure):
        return ctypes.c_void_p
    return ctypes.c_bool if isinstance(value, bool) else ctypes.c_int


def _field_type(probe: Any, field: str, struct_name: str) -> Any:
    try:
        setattr(probe, field, object())
    except TypeError as error:
        said = re.search(r"of type '(.*?)'", str(error))
    else:
        raise _surprise(struct_name, field)
    if said is not None and (text := re.match(r"char \[(\d+)\]", said.group(1))) is not None:
        return ctypes.c_char * int(text.group(1))
    value = getattr(probe, field)
    if isinstance(value, str):
        return ctypes.c_char
    if isinstance(value, float):
        return ctypes.c_double
    try:
        setattr(probe, field, _OVER_SHORT)
    except (OverflowError, TypeError):
        return ctypes.c_short
    return ctypes.c_int


def _slot_offset(path: str, symbol: str) -> int:
    """Return where in a shared object the address of an imported function is kept."""
    data = Path(path).read_bytes()
    (table,) = struct.unpack_from("<Q", data, 0x28)
    (count,) = struct.unpack_from("<H", data, 0x3C)
    sections = [_SECTION.unpack_from(data, table + _SECTION.size * number) for number in range(count)]
    for section in sections:
        if section[1] != _SHT_RELA:
            continue
        symbols, texts = sections[section[6]], sections[sections[section[6]][6]]
        for at in range(section[4], section[4] + section[5], _RELOCATION.size):
            offset, info, _ = _RELOCATION.unpack_from(data, at)
            if info & 0xFFFFFFFF in {_R_X86_64_GLOB_DAT, _R_X86_64_JUMP_SLOT}:
                (name,) = struct.unpack_from("<I", data, symbols[4] + 24 * (info >> 32))
                begin = texts[4] + name
                if data[begin : data.index(b"\0", begin)] == symbol.encode():
                    return int(offset)
    raise ConfigError(f"the installed openctp-ctp does not import {symbol}: pip install 'openctp-ctp==6.7.11.*'")


def _base_address(path: str) -> int:
    real = os.path.realpath(path)
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return min(int(line.split("-")[0], 16) for line in lines if line.rstrip().endswith(real))

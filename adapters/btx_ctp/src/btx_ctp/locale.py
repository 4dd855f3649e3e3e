"""The locale that CTP's library wants when it is loaded, made where the machine has none.

The library builds ``std::locale("zh_CN.GB18030")`` as it is loaded, and where there is no such locale the process
aborts, which no ``except`` can stop.  So it is looked for first; where it is missing a small one is compiled by
``localedef`` (part of glibc's own tools, no root needed) into btx's cache, and ``LOCPATH`` leads there while the
binding is imported and no longer: it would hide the system's locales from whoever asks later.

The locale knows ASCII alone, and its character set is *called* GB18030: what converts is glibc's own gconv module.
"""

import contextlib
import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from btx.config import home
from btx.errors import ConfigError

__all__ = ("gb18030", "is_there")

_NAME = "zh_CN.gb18030"  # as glibc writes the name of the directory, however it is asked for
_ALL = 0x1FBF  # LC_ALL_MASK of glibc
_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_IDENTITY = (
    *("title", "source", "address", "contact", "email", "tel", "fax", "language", "territory", "revision"),
    "date",
)
_CURE = (
    "as root: apt-get install locales && localedef -i zh_CN -f GB18030 zh_CN.GB18030 (Debian), "
    "or dnf install glibc-langpack-zh (Fedora)"
)


def is_there() -> bool:
    """Say whether the C library finds the locale; always so where it is not glibc, which does not want it."""
    if platform.libc_ver()[0] != "glibc":
        return True
    libc = ctypes.CDLL(None)
    libc.newlocale.restype = ctypes.c_void_p
    libc.freelocale.argtypes = [ctypes.c_void_p]
    found = libc.newlocale(_ALL, b"zh_CN.GB18030", None)
    if found:
        libc.freelocale(found)
    return bool(found)


@contextlib.contextmanager
def gb18030(cache: Path | None = None) -> Iterator[None]:
    """Have the locale there while the binding is imported; ``cache`` is where one that must be made is kept.

    Raises:
        ConfigError: there is none, and none can be made; the text says what to do.
    """
    if is_there():
        yield
        return
    folder = cache if cache is not None else home() / "locale" / "-".join(platform.libc_ver())
    before = os.environ.get("LOCPATH")
    if not (folder / _NAME).is_dir():
        _make(folder)
    os.environ["LOCPATH"] = str(folder)
    try:
        if not is_there():
            raise ConfigError(f"CTP's library needs the locale zh_CN.GB18030, and the one in {folder} is none: {_CURE}")
        yield
    finally:
        if before is None:
            del os.environ["LOCPATH"]
        else:
            os.environ["LOCPATH"] = before


def _make(folder: Path) -> None:
    """Compile the locale; two processes may do so at once, and the first counts.

    Raises:
        ConfigError: it cannot be compiled.
    """
    tool = shutil.which("localedef", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/sbin")
    if tool is None:
        raise ConfigError(
            f"CTP's library needs the locale zh_CN.GB18030, and there is no localedef to make one: {_CURE}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        work = Path(name)
        (work / "GB18030").write_text(_charmap(), encoding="ascii")
        (work / "source").write_text(_source(), encoding="ascii")
        # It returns 1 for its warnings about what is left out though all is written: what counts is what is there.
        done = subprocess.run(  # noqa: S603
            [tool, "-c", "--no-archive", "-f", work / "GB18030", "-i", work / "source", work / _NAME],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.defpath, "I18NPATH": str(work)},
        )
        if not (work / _NAME / "LC_CTYPE").is_file():
            raise ConfigError(f"localedef makes no zh_CN.GB18030 ({done.stderr.strip()[-200:]}): {_CURE}")
        with contextlib.suppress(OSError):  # somebody was faster: it is there
            (work / _NAME).rename(folder / _NAME)


def _symbol(code: int) -> str:
    return f"<U{code:04X}>"


def _text(text: str) -> str:
    return '"' + "".join(_symbol(ord(each)) for each in text) + '"'


def _codes(codes: Iterator[int] | range | list[int]) -> str:
    return ";".join(_symbol(code) for code in codes)


def _names(names: tuple[str, ...]) -> str:
    return ";".join(_text(name) for name in names)


def _charmap() -> str:
    head = "<code_set_name> GB18030\n<mb_cur_min> 1\n<mb_cur_max> 4\n<comment_char> %\n<escape_char> /\nCHARMAP\n"
    return head + "".join(f"{_symbol(code)} /x{code:02x} c{code}\n" for code in range(128)) + "END CHARMAP\n"


def _source() -> str:
    """Return the definition: the C locale's, spelled out."""
    upper, lower, digits = range(65, 91), range(97, 123), range(48, 58)
    punctuation = [code for code in range(33, 127) if not chr(code).isalnum()]
    categories = {
        "LC_CTYPE": (
            f"upper {_codes(upper)}",
            f"lower {_codes(lower)}",
            f"digit {_codes(digits)}",
            f"space {_codes([32, *range(9, 14)])}",
            f"cntrl {_codes([*range(32), 127])}",
            f"punct {_codes(punctuation)}",
            f"xdigit {_codes(digits)};{_codes(range(65, 71))};{_codes(range(97, 103))}",
            f"blank {_codes([32, 9])}",
            "toupper " + ";".join(f"({_symbol(code + 32)},{_symbol(code)})" for code in upper),
            "tolower " + ";".join(f"({_symbol(code)},{_symbol(code + 32)})" for code in upper),
        ),
        "LC_COLLATE": ("order_start forward", *(_symbol(code) for code in range(128)), "UNDEFINED", "order_end"),
        "LC_MONETARY": (
            'int_curr_symbol ""',
            'currency_symbol ""',
            f"mon_decimal_point {_text('.')}",
            'mon_thousands_sep ""',
            "mon_grouping -1",
            'positive_sign ""',
            f"negative_sign {_text('-')}",
            *(
                f"{name} -1"
                for name in (
                    *("int_frac_digits", "frac_digits", "p_cs_precedes", "p_sep_by_space", "n_cs_precedes"),
                    *("n_sep_by_space", "p_sign_posn", "n_sign_posn"),
                )
            ),
        ),
        "LC_NUMERIC": (f"decimal_point {_text('.')}", 'thousands_sep ""', "grouping -1"),
        "LC_TIME": (
            "abday " + _names(_DAYS),
            "day " + _names(_DAYS),
            "abmon "
            + ";".join(
                _text(month)
                for month in ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
            ),
            "mon "
            + ";".join(
                _text(month)
                for month in ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
            ),
            'am_pm "";""',
            f"d_t_fmt {_text('%c')}",
            f"d_fmt {_text('%x')}",
            f"t_fmt {_text('%T')}",
            't_fmt_ampm ""',
            "week 7;19971130;4",
        ),
        "LC_MESSAGES": (f"yesexpr {_text('^[yY]')}", f"noexpr {_text('^[nN]')}"),
        "LC_PAPER": ("height 297", "width 210"),
        "LC_NAME": (f"name_fmt {_text('%p%t%g%t%m%t%f')}",),
        "LC_ADDRESS": (f"postal_fmt {_text('%a%N%f%N%d%N%b%N%s %h %e %r%N%C-%z %T%N%c%N')}",),
        "LC_TELEPHONE": (f"tel_int_fmt {_text('+%c %a %l')}",),
        "LC_MEASUREMENT": ("measurement 1",),
    }
    known = {"title": "btx", "revision": "1", "date": "2026-01-01"}
    identity = [f'{name} "{known.get(name, "")}"' for name in _IDENTITY]
    identity += [f'category "i18n:2012";{name}' for name in ("LC_IDENTIFICATION", *categories)]
    parts = {"LC_IDENTIFICATION": identity, **categories}
    body = "\n".join(f"{name}\n" + "\n".join(lines) + f"\nEND {name}\n" for name, lines in parts.items())
    return f"comment_char %\nescape_char /\n{body}"

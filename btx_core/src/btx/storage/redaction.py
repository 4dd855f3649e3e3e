"""What must not be in a file: keys, signatures, session tokens, whoever put them where."""

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

__all__ = ("Redactor",)

_MARK = "***"
_SHORTEST = 6  # what is shorter would be found in everything
# The hint is looked for first: a plain search costs a tenth of the pattern's, and market data have none.
_HINTS = ("sig", "Sig", "SIG", "piKey", "pikey", "API-KEY", "istenKey", "istenToken", "oken", "ecret", "assphrase")
_NAMED = re.compile(
    r"""\b(signature|api_?key|x-mbx-apikey|listen_?key|listen_?token|access_?token|token|secret|passphrase
        |sign?(?=["']?\s*[=:]\s*["']?[\w+/%-]{32}))  # a shorter value is no signature, but the sign of a number
        (["']?\s*[=:]\s*["']?)([^&\s"',}\]]+)""",
    re.IGNORECASE | re.VERBOSE,
)
# A login over a socket names nothing: {"op": "auth", "args": [key, moment, signature]}.
_LOGIN = re.compile(r"""("op"\s*:\s*"auth"[^\[]*\[)[^\]]*\]""")
_LEARNED = ("listenkey", "listentoken", "token", "accesstoken")  # their values turn up elsewhere too: in addresses


class Redactor:
    """Blots secrets out of texts: the known ones in every spelling, and whatever stands behind a telling name."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: tuple[str, ...] = ()
        for secret in secrets:
            self.learn(secret)

    def learn(self, secret: str) -> None:
        """Blot this out from here on: as it is, as in an address, and in base64."""
        if len(secret) < _SHORTEST:
            return
        raw = secret.encode()
        spellings = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}
        for shift in range(3):  # base64 of a text that begins anywhere: what depends on the neighbours is left out
            coded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
            whole = coded[(0, 2, 3)[shift] : len(coded) - (len(coded) % 4 != 0)]
            spellings |= {whole, whole.translate(str.maketrans("+/", "-_"))}
        found = {*self._known, *(each for each in spellings if len(each) >= _SHORTEST)}
        self._known = tuple(sorted(found, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """Return ``text`` with every secret blotted out; JSON stays JSON."""
        for hint in _HINTS:
            if hint in text:
                text = _NAMED.sub(self._blot, text)
                break
        if '"auth"' in text:
            text = _LOGIN.sub(rf'\1"{_MARK}"]', text)
        for secret in self._known:
            if secret in text:
                text = text.replace(secret, _MARK)
        return text

    def _blot(self, match: "re.Match[str]") -> str:
        name, between, value = match.groups()
        if name.replace("_", "").lower() in _LEARNED and value not in {_MARK, "null", "true", "false"}:
            self.learn(value)
        return f"{name}{between}{_MARK}"

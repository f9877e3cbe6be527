"""The sentences that people read, by key, in the language of their locale."""

import ctypes
import functools
import json
import locale
import os
from collections.abc import Mapping
from pathlib import Path

LANGUAGES = ("en", "ja", "zh")
FOLDER = Path(__file__).parent / "locale"


def say(key: str, /, **values: object) -> str:
    """Return the sentence of a key in the reader's language; an unknown key is answered as it is."""
    text = catalogue(language()).get(key, key)
    return text.format(**values) if values else text


def language(environ: Mapping[str, str] | None = None) -> str:
    """Return `en`, `ja` or `zh`: KQI_LANG wins, then the locale variables, then the language of Windows."""
    environ = os.environ if environ is None else environ
    asked = next(filter(None, (environ.get(name) for name in ("KQI_LANG", "LC_ALL", "LC_MESSAGES", "LANG"))), None)
    code = (asked or _windows_language()).lower()[:2]
    return code if code in LANGUAGES else "en"


@functools.cache
def catalogue(code: str) -> dict[str, str]:
    """Return the texts of one language by key."""
    texts: dict[str, str] = {}
    for path in sorted((FOLDER / code / "LC_MESSAGES").glob("*.po")):
        texts |= parse(path.read_text(encoding="utf-8"))
    return texts


def parse(text: str) -> dict[str, str]:
    """Read a gettext catalogue without contexts and plurals, which is all that keyed sentences need."""
    entries: list[list[str]] = []
    field = 0
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "msgid":
            entries.append(["", ""])
        if word in {"msgid", "msgstr"}:
            field = int(word == "msgstr")
            entries[-1][field] = json.loads(rest)
        elif word.startswith('"'):
            entries[-1][field] += json.loads(line)
    return {key: sentence for key, sentence in entries if key}


def _windows_language() -> str:
    system = getattr(ctypes, "windll", None)
    if system is None:
        return "en"
    return locale.windows_locale.get(system.kernel32.GetUserDefaultUILanguage(), "en")

"""Look a key up in the language somebody reads."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from babel.core import negotiate_locale
from babel.messages.pofile import read_po

from kqi_hub.i18n.phrases import Phrase

LANGUAGES = ("en", "ja", "zh")
NAMES = {"en": "English", "ja": "日本語", "zh": "中文"}
# Keeps the language that a browser chose, before and after signing in.
COOKIE = "kqi-language"
# What is given by these names is a word of ours, where the catalogue has it.
_WORDS = {"kind": "kind", "child_kind": "kind", "phase": "phase"}
_FOLDER = Path(__file__).parent / "locale"


def text(key: str, language: str = "en", params: Mapping[str, object] | None = None) -> str:
    """Return the text of `key` with `params` filled in; the key itself where the catalogue has none."""
    template = catalogue(language).get(key) or catalogue("en").get(key) or key
    said = {name: _said(name, value, language) for name, value in (params or {}).items()}
    return template.format_map(_Lenient(said))


def choose(accept_language: str, preferred: str | None = None) -> str:
    """Return the language for a person: what they chose, else the best of `Accept-Language`, else English."""
    if preferred in LANGUAGES:
        return preferred
    wanted = []
    for part in accept_language[:500].split(","):
        tag, _, quality = part.strip().partition(";q=")
        try:
            wanted.append((float(quality or 1), tag.replace("-", "_")))
        except ValueError:
            continue
    ordered = [tag for weight, tag in sorted(wanted, key=lambda pair: -pair[0]) if tag and weight > 0]
    short = [tag.split("_")[0].lower() for tag in ordered]
    return negotiate_locale(short, LANGUAGES) or "en"


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Return key → text of a language."""
    texts: dict[str, str] = {}
    for path in sorted((_FOLDER / language).glob("*.po")):
        with path.open("rb") as file:
            texts |= {str(message.id): str(message.string) for message in read_po(file) if message.id}
    return texts


def _said(name: str, value: object, language: str) -> object:
    if isinstance(value, Phrase):
        return value.said(language)
    return catalogue(language).get(f"{_WORDS[name]}.{value}", value) if name in _WORDS else value


class _Lenient(dict[str, object]):
    """A text with a name that was not given shows the name rather than fail: an error must reach its reader."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"

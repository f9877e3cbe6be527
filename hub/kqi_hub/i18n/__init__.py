"""Texts in three languages: one gettext catalogue each, message id = error code or key."""

from kqi_hub.i18n.catalogue import COOKIE, LANGUAGES, NAMES, choose, text
from kqi_hub.i18n.phrases import Fault, Phrase

__all__ = ["COOKIE", "LANGUAGES", "NAMES", "Fault", "Phrase", "choose", "text"]

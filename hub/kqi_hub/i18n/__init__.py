"""Texts in three languages: one gettext catalogue each, message id = error code or key."""

from kqi_hub.i18n.catalogue import COOKIE, LANGUAGES, NAMES, choose, text

__all__ = ["COOKIE", "LANGUAGES", "NAMES", "choose", "text"]

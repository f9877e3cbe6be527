"""Texts in three languages: one gettext catalogue each, message id = error code or key."""

from kqi_hub.i18n.catalogue import LANGUAGES, choose, text

__all__ = ["LANGUAGES", "choose", "text"]

"""What an administrator says to classes of JupyterHub: `[traits.Class]` tables, then the files of `config.d`.

Every process that needs a class of theirs takes its words from here, so that all have the same.
"""

from typing import Any

from traitlets.config import Config

from kqi_hub.settings import Settings


def apply_traits(c: Any, settings: Settings) -> None:
    """Set on `c` what was said; what comes later wins."""
    for name, traits in settings.traits.items():
        for trait, value in traits.items():
            setattr(getattr(c, name), trait, value)
    for path in sorted((settings.state / "config.d").glob("*.py")):
        exec(compile(path.read_text("utf-8"), str(path), "exec"), {"c": c})  # noqa: S102 - an administrator's own file


def traits_of(settings: Settings) -> Config:
    c = Config()
    apply_traits(c, settings)
    return c

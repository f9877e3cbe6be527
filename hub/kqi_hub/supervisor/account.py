"""The first account of a platform."""

from dataclasses import dataclass
from pathlib import Path

from kqi_hub.settings import Settings
from kqi_spawner.workload import Secret


@dataclass(frozen=True, slots=True)
class FirstAccount:
    """The administrator of a first start, whose password is shown until it was changed."""

    name: str
    password: Secret


def initial_password(settings: Settings) -> Path:
    """Return where name and password are kept until then."""
    return settings.secrets / "initial-password"

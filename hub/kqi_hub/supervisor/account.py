"""The first account of a platform."""

from dataclasses import dataclass

from kqi_spawner.workload import Secret


@dataclass(frozen=True, slots=True)
class FirstAccount:
    """The administrator of a first start, whose password is shown once."""

    name: str
    password: Secret

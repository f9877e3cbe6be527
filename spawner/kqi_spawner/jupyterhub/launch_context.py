"""What a Spawner must know again of a server that a dying hub started and did not record."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kqi_spawner.names import WorkloadName


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchContext:
    """The port that a server listens on, and the token by which it and the hub know each other."""

    port: int
    api_token: str = field(repr=False)


class LaunchContexts:
    """One file of mode 0600 for each server, written before the server begins. Blocks, for a few bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, name: WorkloadName, context: LaunchContext) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._folder / f".{name}.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(asdict(context)), "utf-8")
        temporary.replace(self._folder / name)

    def of(self, name: WorkloadName) -> LaunchContext | None:
        """Return what was kept; None also for a file that a power cut left empty."""
        try:
            read = json.loads((self._folder / name).read_text("utf-8"))
            return LaunchContext(port=int(read["port"]), api_token=str(read["api_token"]))
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def forget(self, name: WorkloadName) -> None:
        (self._folder / name).unlink(missing_ok=True)

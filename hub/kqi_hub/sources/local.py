"""Which folders of this machine are repositories that people may name: none but those below a few given ones."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kqi_hub.errors import Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFolders:
    """`allowed` hold repositories for everybody; of `closed`, which may lie in them, nothing is given."""

    allowed: Sequence[Path] = ()
    closed: Sequence[Path] = ()

    def place(self, path: str) -> str:
        """Return where the repository at an absolute `path` really lies, which is what git is to be told. Blocks.

        Raises Invalid for one that is not to be read, whether it is there or not.
        """
        found = _real(path)
        # git goes on to `.git`, a link or a file that names another folder.
        inner = Path(found, ".git")
        if not self._given(found) or not self._given(_real(inner)) or inner.is_file():
            raise Invalid("git_local_forbidden")
        return str(found)

    def _given(self, place: Path) -> bool:
        return any(place.is_relative_to(_real(folder)) for folder in self.allowed) and not any(
            place.is_relative_to(_real(folder)) for folder in self.closed
        )


def _real(path: str | Path) -> Path:
    return Path(os.path.realpath(path))

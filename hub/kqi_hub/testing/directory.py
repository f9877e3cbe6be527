"""A directory in memory: people with passwords, groups and a place in a tree."""

from dataclasses import dataclass, field, replace

from kqi_hub.directory.base import Entry, PasswordFault, Refusal, Refused, Unanswered
from kqi_hub.errors import Unavailable
from kqi_spawner.workload import Secret


@dataclass(slots=True)
class MemoryDirectory:
    """A `Directory`; while `away` it answers nothing, of those who are `odd` nothing that could be used."""

    entries: dict[str, Entry] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    away: bool = False
    odd: set[str] = field(default_factory=set)

    def put(self, entry: Entry, password: str = "") -> None:
        """Know this person, as from now on."""
        self.entries[entry.name] = replace(entry, directory_id=entry.directory_id or f"id-of-{entry.name}")
        self.passwords[entry.name] = password

    async def verify(self, name: str, password: Secret) -> Entry | Refused:
        entry = await self.look_up(name)
        right = bool(password.reveal()) and self.passwords.get(name) == password.reveal()
        return entry if entry is not None and right else Refused(why=Refusal.WRONG)

    async def look_up(self, name: str) -> Entry | None:
        if self.away:
            raise Unavailable("directory_unreachable")
        if name in self.odd:
            raise Unanswered("directory_unreachable")
        return self.entries.get(name)

    async def change_password(self, name: str, old: Secret, new: Secret) -> PasswordFault | None:
        if isinstance(await self.verify(name, old), Refused):
            return PasswordFault.WRONG_OLD
        self.passwords[name] = new.reveal()
        return None

    def close(self) -> None:
        """Nothing is kept open."""

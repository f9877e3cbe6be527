"""The directory that the settings ask for."""

from kqi_hub.db.engine import Database
from kqi_hub.directory.base import Directory
from kqi_hub.directory.beside import Beside
from kqi_hub.directory.ldap import SECTION
from kqi_hub.directory.local import LocalDirectory
from kqi_hub.settings import Settings
from kqi_hub.traits import traits_of


def directory_of(settings: Settings, database: Database) -> Directory:
    """Return local accounts, and the directory beside them if one is configured."""
    local = LocalDirectory(database, settings.sign_in)
    return Beside(local, _other(settings) or local, settings.sign_in)


def _other(settings: Settings) -> Directory | None:
    config = traits_of(settings)
    if SECTION not in config:
        return None
    # Where there is no directory, its libraries are nothing that every start should wait for.
    from kqi_hub.directory.ldap.configured import ldap_traits  # noqa: PLC0415
    from kqi_hub.directory.ldap.directory import LdapDirectory  # noqa: PLC0415

    traits = ldap_traits(config)
    return LdapDirectory(traits) if traits.configured else None

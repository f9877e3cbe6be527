"""A real Active Directory and a real 389 Directory Server, each once for the tests that ask for it."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from traitlets.config import Config

from kqi_hub.directory.ldap.directory import LdapDirectory
from kqi_hub.directory.ldap.traits import LdapTraits
from tests.directories.ds389 import Ds389
from tests.directories.enclosed import Enclosed
from tests.directories.samba import Samba

Server = TypeVar("Server", bound=Enclosed)
Open = Callable[[dict[str, Any]], LdapDirectory]


@pytest.fixture(scope="module")
def samba() -> Iterator[Samba]:
    yield from _started(Samba, "samba-tool", "samba", "ldbmodify")


@pytest.fixture(scope="module")
def ds389() -> Iterator[Ds389]:
    yield from _started(Ds389, "dscreate", "ns-slapd")


@pytest.fixture
def open_directory() -> Iterator[Open]:
    """Make a directory by its traits."""
    opened = []

    def make(traits: dict[str, Any]) -> LdapDirectory:
        directory = LdapDirectory(LdapTraits(config=Config(LDAPAuthenticator=traits)))
        opened.append(directory)
        return directory

    yield make
    for directory in opened:
        directory.close()


def _started(make: Callable[[], Server], *programs: str) -> Iterator[Server]:
    missing = _missing(programs)
    if missing:
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with make() as server:
        yield server


def _missing(programs: tuple[str, ...]) -> str:
    if os.geteuid() != 0:
        return "servers in namespaces of their own need root"
    lacking = [name for name in programs if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    return f"`make directory-packages` installs what is missing: {' '.join(lacking)}" if lacking else ""

"""Plug-in of the foreign run: our class in the place of LDAPAuthenticator, on the ports of a slapd of the run's own."""

import os
import tomllib
from pathlib import Path
from typing import Any

import ldapauthenticator.ldapauthenticator as theirs

from kqi_hub.directory.ldap.traits import TlsStrategy
from kqi_hub.jupyterhub.ldap_authenticator import KqiLDAPAuthenticator

_PORTS = [int(port) for port in os.environ["KQI_FOREIGN_PORTS"].split()]


class LDAPAuthenticator(KqiLDAPAuthenticator):  # type: ignore[misc]
    def _server_port_default(self) -> int:
        return _PORTS[super()._server_port_default() == 636]


theirs.LDAPAuthenticator, theirs.TlsStrategy = LDAPAuthenticator, TlsStrategy


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.section("differences on purpose")
    for name, what in tomllib.loads(Path(__file__).with_name("ldap_differences.toml").read_text()).items():
        terminalreporter.write_line(f"{name}: {what['reason']}")

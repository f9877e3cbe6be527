"""A real Active Directory of the tests' own: a domain controller by Debian's Samba, of which only LDAP runs."""

from datetime import timedelta
from typing import Any

from tests.directories.enclosed import HOST, Enclosed
from tests.pki import Authority

REALM, DOMAIN = "AD.EXAMPLE.ORG", "EXAMPLE"
SUFFIX = "DC=ad,DC=example,DC=org"
PEOPLE, GROUPS = f"OU=People,{SUFFIX}", f"OU=Groups,{SUFFIX}"
POLICIES = f"CN=Password Settings Container,CN=System,{SUFFIX}"
ADMIN, SERVICE = f"CN=Administrator,CN=Users,{SUFFIX}", f"CN=service,CN=Users,{SUFFIX}"
ADMIN_PASSWORD, SERVICE_PASSWORD = "Canary-of-the-admin-61d2", "Canary-of-the-service-0b7e"
PASSWORD = "Correct horse battery 1"
LONG_AGO = 132_000_000_000_000_000  # in April of 2019
NORMAL_ACCOUNT, DISABLED = 0x200, 0x2
_TICKS = 10_000_000  # of Windows, in a second
_STATE = ("/etc/samba", "/var/lib/samba", "/var/cache/samba", "/var/log/samba")


class Samba(Enclosed):
    """What is written to it, the administrator writes over LDAP, as tools of Windows do."""

    def __init__(self) -> None:
        super().__init__("samba", _STATE)
        self.authority = Authority(self.folder / "pki")
        self.ca_file = self.authority.certificate
        self.admin = (ADMIN, ADMIN_PASSWORD)

    def start(self) -> None:
        super().start()
        self.change(SUFFIX, minPwdAge="0")
        for place in (PEOPLE, GROUPS):
            self.add(place, "organizationalUnit")
        self.person("service", place="CN=Users", password=SERVICE_PASSWORD)

    def making(self) -> str:
        return f"""
samba-tool domain provision --quiet --realm={REALM} --domain={DOMAIN} --server-role=dc --dns-backend=NONE \\
  --adminpass={ADMIN_PASSWORD} --host-name=dc1 --host-ip=127.0.0.1 --use-rfc2307
samba-tool user create late '{PASSWORD}' >/dev/null
echo 'dn: CN=late,CN=Users,{SUFFIX}
changetype: modify
replace: pwdLastSet
pwdLastSet: {LONG_AGO}' | ldbmodify -H 'tdb:///var/lib/samba/private/sam.ldb.d/{SUFFIX.upper()}.ldb'
"""

    def serving(self) -> str:
        certificate, key = self.authority.server(HOST)
        options = {
            "server services": "ldap",
            "interfaces": "lo",
            "bind interfaces only": "yes",
            "tls certfile": certificate,
            "tls keyfile": key,
            "tls cafile": self.ca_file,
            "old password allowed period": "0",
        }
        given = " ".join(f"--option='{name}={value}'" for name, value in options.items())
        return f"samba --interactive --no-process-group --model=single --debug-stdout -d1 {given}"

    def delete(self, dn: str) -> None:
        with self.administrator() as admin:
            admin.delete(dn)

    def refusal(self, dn: str, password: str) -> str:
        """Return what the controller says to a bind that it refuses."""
        asked = self.connection(dn, password)
        try:
            assert not asked.bind(), "it lets them in"
            return str(asked.result["message"])
        finally:
            asked.unbind()

    def person(self, name: str, *, place: str = "OU=People", password: str = PASSWORD, **more: Any) -> str:
        """Make somebody and return their DN."""
        dn = f"CN={name},{place},{SUFFIX}"
        values = {
            "sAMAccountName": name,
            "userPrincipalName": f"{name}@{REALM.lower()}",
            "userAccountControl": str(NORMAL_ACCOUNT),
            "unicodePwd": encoded(password),
            "pwdLastSet": "-1",
            **more,
        }
        self.add(dn, "user", **values)
        return dn

    def group(self, name: str, *members: str) -> str:
        dn = f"CN={name},{GROUPS}"
        self.add(dn, "group", sAMAccountName=name, **({"member": list(members)} if members else {}))
        return dn

    def policy(self, name: str, *people: str, **rules: str) -> None:
        """Give people rules of their own for passwords."""
        dn = f"CN={name},{POLICIES}"
        values = {**_RULES, **rules, "msDS-PSOAppliesTo": list(people)}
        self.add(dn, "msDS-PasswordSettings", **values)


def dn_of(name: str) -> str:
    return f"CN={name},{PEOPLE}"


def encoded(password: str) -> bytes:
    """Return a password as `unicodePwd` takes it."""
    return f'"{password}"'.encode("utf-16-le")


def span(long: timedelta) -> str:
    """Return a length of time as rules for passwords have it."""
    return str(-int(long.total_seconds()) * _TICKS)


_RULES = {
    "msDS-PasswordSettingsPrecedence": "10",
    "msDS-PasswordReversibleEncryptionEnabled": "FALSE",
    "msDS-PasswordHistoryLength": "3",
    "msDS-PasswordComplexityEnabled": "TRUE",
    "msDS-MinimumPasswordLength": "8",
    "msDS-MinimumPasswordAge": "0",
    "msDS-MaximumPasswordAge": span(timedelta(days=40)),
    "msDS-LockoutThreshold": "0",
    "msDS-LockoutObservationWindow": span(timedelta(minutes=30)),
    "msDS-LockoutDuration": span(timedelta(minutes=30)),
}

"""A real 389 Directory Server of the tests' own, by Debian's package, with its memberOf plugin."""

from collections.abc import Sequence
from pathlib import Path

from tests.directories.enclosed import HOST, Enclosed

SUFFIX = "dc=example,dc=org"
PEOPLE, GROUPS = f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"
ADMIN, SERVICE = "cn=Directory Manager", f"cn=service,{SUFFIX}"
ADMIN_PASSWORD, SERVICE_PASSWORD = "canary-of-the-admin-61d2", "canary-of-the-service-0b7e"
PASSWORD = "correct horse battery"
_STATE = ("/etc/default", "/var/lib/dirsrv", "/var/log/dirsrv")
_DEFAULTS = Path("/usr/share/dirsrv/inf/defaults.inf")
_PLUGINS = "cn=plugins,cn=config"

Value = str | Sequence[str]


class Ds389(Enclosed):
    """Its certificate is by an authority of its own, `ca_file`."""

    def __init__(self) -> None:
        super().__init__("ds389", _STATE)
        self.ca_file = self.folder / "authority.pem"
        self.admin = (ADMIN, ADMIN_PASSWORD)

    def start(self) -> None:
        super().start()
        self.change("cn=config", **{"nsslapd-dynamic-plugins": "on", "nsslapd-pwpolicy-local": "on"}, **_RULES)
        self.change(f"cn=MemberOf Plugin,{_PLUGINS}", **{"nsslapd-pluginEnabled": "on"})
        for name in ("people", "groups", "policies"):
            self.add(f"ou={name},{SUFFIX}", "organizationalUnit")
        self.add(SERVICE, ["organizationalRole", "simpleSecurityObject"], userPassword=SERVICE_PASSWORD)
        self.change(SUFFIX, aci=_RIGHTS)

    def making(self) -> str:
        template, defaults = self.folder / "instance.inf", self.folder / "defaults.inf"
        template.write_text(_INSTANCE)
        template.chmod(0o600)
        # It would ask systemd for the start, and there is none in here.
        defaults.write_text(_DEFAULTS.read_text().replace("with_systemd = 1", "with_systemd = 0"))
        return f"""
mkdir -p /run/lock/dirsrv /run/dirsrv
cp -a /etc/dirsrv /run/etc
mount --bind /run/etc /etc/dirsrv
mount --bind {defaults} {_DEFAULTS}
dscreate from-file {template}
cp /etc/dirsrv/slapd-test/ca.crt {self.ca_file}
"""

    def serving(self) -> str:
        return "ns-slapd -D /etc/dirsrv/slapd-test -i /run/dirsrv/slapd-test.pid -d 0"

    def person(self, name: str, **more: Value) -> str:
        """Make somebody and return their DN."""
        values = {
            "uid": name,
            "cn": f"{name.capitalize()} Example",
            "sn": "Example",
            "mail": f"{name}@example.org",
            "userPassword": PASSWORD,
            **more,
        }
        self.add(dn_of(name), ["inetOrgPerson"], **values)
        # Rules of an entry's own hold for passwords that it gets later.
        self.change(dn_of(name), userPassword=values["userPassword"])
        return dn_of(name)

    def group(self, name: str, *members: str) -> str:
        dn = f"cn={name},{GROUPS}"
        self.add(dn, ["groupOfNames"], member=list(members))
        return dn

    def policy(self, name: str, **rules: str) -> dict[str, str]:
        """Make rules for passwords; return what gives them to somebody."""
        dn = f"cn={name},ou=policies,{SUFFIX}"
        self.add(dn, ["ldapSubEntry", "passwordPolicy"], **{**_RULES, **rules})
        return {"pwdPolicySubentry": dn}


def dn_of(name: str) -> str:
    return f"uid={name},{PEOPLE}"


_INSTANCE = f"""[general]
full_machine_name = {HOST}
strict_host_checking = False
start = False
[slapd]
instance_name = test
user = root
group = root
port = 389
secure_port = 636
root_password = {ADMIN_PASSWORD}
self_sign_cert = True
[backend-userroot]
suffix = {SUFFIX}
create_suffix_entry = True
sample_entries = no
"""
_RIGHTS = (
    f'(targetattr != "userPassword")(version 3.0; acl "read"; allow (read, search, compare) userdn = "ldap:///{SERVICE}"'
    ' or userdn = "ldap:///self";)',
    '(targetattr = "userPassword")(version 3.0; acl "own password"; allow (write) userdn = "ldap:///self";)',
)
_RULES = {
    "passwordMustChange": "off",
    "passwordCheckSyntax": "on",
    "passwordMinLength": "8",
    "passwordMinCategories": "1",
    "passwordHistory": "on",
    "passwordInHistory": "3",
    "passwordLockout": "off",
    "passwordExp": "off",
}

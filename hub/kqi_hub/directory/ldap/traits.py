"""How a directory is reached and read: the traits of jupyterhub-ldapauthenticator 2.0 by their names, and our own.

A block `[traits.LDAPAuthenticator]` or `c.LDAPAuthenticator` of theirs keeps working.
"""

import enum
import ssl
from typing import Any

import ldap3
from traitlets import Bool, Dict, Enum, Float, Int, List, Set, Unicode, Union, UseEnum, observe, validate
from traitlets.config import Configurable

from kqi_hub.directory.ldap import SECTION


class TlsStrategy(enum.Enum):
    """`before_bind`: StartTLS; `on_connect`: ldaps; `insecure`: none, so that everybody on the way reads passwords."""

    before_bind = 1
    on_connect = 2
    insecure = 3


class TheirTraits(Configurable):
    """What jupyterhub-ldapauthenticator knows."""

    server_address = Unicode(help="Name or address of the server").tag(config=True)
    server_port = Int(help="Its port; 636 with tls_strategy on_connect, else 389").tag(config=True)
    use_ssl = Bool(None, allow_none=True, help="Deprecated: tls_strategy = on_connect").tag(config=True)
    tls_strategy = UseEnum(
        TlsStrategy, default_value=TlsStrategy.before_bind, help="before_bind (StartTLS), on_connect (ldaps), insecure"
    ).tag(config=True)
    tls_kwargs = Dict(help="Arguments of ldap3's Tls: ca_certs_file, validate, …").tag(config=True)
    bind_dn_template = Union([List(), Unicode()], help="DNs to try, {username} in them").tag(config=True)
    lookup_dn = Bool(False, help="Search for the DN by user_attribute below user_search_base").tag(config=True)
    lookup_dn_search_filter = Unicode("({login_attr}={login})", allow_none=True, help="How to search").tag(config=True)
    lookup_dn_search_user = Unicode(None, allow_none=True, help="DN of the account that searches").tag(config=True)
    lookup_dn_search_password = Unicode(None, allow_none=True, help="Its password; rather a file").tag(config=True)
    lookup_dn_user_dn_attribute = Unicode(None, allow_none=True, help="{username} of templates").tag(config=True)
    user_search_base = Unicode(None, allow_none=True, help="Where people are").tag(config=True)
    user_attribute = Unicode(None, allow_none=True, help="uid, sAMAccountName, …").tag(config=True)
    allowed_groups: Any = List(None, allow_none=True, help="DNs of groups whose members may come").tag(config=True)
    group_search_filter = Unicode(
        "(|(member={userdn})(uniqueMember={userdn})(memberUid={uid}))", help="The groups that somebody is in"
    ).tag(config=True)
    group_attributes = List(["member", "uniqueMember", "memberUid"], help="Attributes of members").tag(config=True)
    valid_username_regex = Unicode(r"^[a-z0-9][.a-z0-9_-]*$", help="Names that may be asked for").tag(config=True)
    search_filter = Unicode(help="People must match it, {userattr} and {username} in it").tag(config=True)
    attributes: Any = List(help="What is read with search_filter").tag(config=True)
    auth_state_attributes: Any = List(help="What stands in auth_state as user_attributes").tag(config=True)
    use_lookup_dn_username = Bool(False, help="The value of lookup_dn_user_dn_attribute is the name").tag(config=True)
    escape_userdn = Bool(False, help="Without effect: everything is escaped").tag(config=True)

    def _server_port_default(self) -> int:
        return 636 if self.tls_strategy is TlsStrategy.on_connect else 389

    @observe("use_ssl")
    def _use_ssl(self, change: dict[str, Any]) -> None:
        if change["new"]:
            self.tls_strategy = TlsStrategy.on_connect

    @validate("bind_dn_template")
    def _templates(self, proposal: dict[str, Any]) -> list[str]:
        given = proposal["value"]
        return [text for text in ([given] if isinstance(given, str) else given) if text]

    @observe("lookup_dn", "bind_dn_template")
    def _some_way(self, _change: dict[str, Any]) -> None:
        if not self.lookup_dn and not self.bind_dn_template:
            raise ValueError("LDAPAuthenticator requires either lookup_dn or bind_dn_template to be configured")

    @observe("allowed_groups", "group_search_filter", "group_attributes")
    def _groups_can_be_found(self, _change: dict[str, Any]) -> None:
        if self.allowed_groups and not (self.group_search_filter and self.group_attributes):
            raise ValueError("allowed_groups requires both group_search_filter and group_attributes to be configured")

    @classmethod
    def section_names(cls) -> list[str]:
        names: list[str] = super().section_names()
        return [*names, *([] if SECTION in names else [SECTION])]


class LdapTraits(TheirTraits):
    """Ours beside them. Certificates are verified unless `verify_tls` or `tls_kwargs` say otherwise."""

    servers = List(Unicode(), help="host, host:port or ldaps://host; the first that answers is asked").tag(config=True)
    verify_tls = Bool(True, help="False: take any certificate, and with it any server").tag(config=True)
    ca_file = Unicode("", help="Authorities to trust instead of the system's").tag(config=True)
    lookup_dn_search_password_file = Unicode("", help="Holds the password of the searching account").tag(config=True)
    connect_timeout_s = Float(2.0, min=0.1, help="For a connection with TLS").tag(config=True)
    answer_timeout_s = Float(2.5, min=0.1, help="For each answer").tag(config=True)
    deadline_s = Float(4.5, min=0.2, max=60.0, help="For all that one sign-in asks").tag(config=True)
    max_answer_kib = Int(4096, min=16, help="The largest answer that is read").tag(config=True)
    connections = Int(32, min=1, max=64, help="How many ask at once").tag(config=True)
    look_up_cache_s = Float(120.0, min=0.0, help="How long an entry counts as read just now").tag(config=True)
    group_search_base = Unicode("", help="Where groups are; empty: the tree of user_search_base").tag(config=True)
    group_name_attribute = Unicode("cn", help="What a group is called").tag(config=True)
    nested_groups = Enum(["no", "recursive", "matching_rule"], "recursive", help="Groups in groups").tag(config=True)
    nested_depth = Int(10, min=1, max=100, help="How deep groups lie in groups at most").tag(config=True)
    max_groups = Int(5000, min=1, help="Of how many groups of one person is known at most").tag(config=True)
    use_member_of = Bool(False, help="Trust memberOf of the person instead of a search for groups").tag(config=True)
    admin_groups = List(Unicode(), help="DNs of groups whose members administer the platform").tag(config=True)
    admin_users = Set(help="Names of people who administer the platform").tag(config=True)
    allowed_users = Set(help="Names of people who may come").tag(config=True)
    blocked_users = Set(help="Names of people who may not come").tag(config=True)
    allow_all = Bool(None, allow_none=True, help="None: unless allowed_groups or allowed_users say who").tag(
        config=True
    )
    display_name_attributes = List(["displayName", "cn"], help="The first that somebody has").tag(config=True)
    email_attribute = Unicode("mail").tag(config=True)
    uid_attribute = Unicode("uidNumber").tag(config=True)
    gid_attribute = Unicode("gidNumber").tag(config=True)
    id_attributes = List(
        ["entryUUID", "nsUniqueId", "objectGUID", "ipaUniqueID"], help="What stays whatever somebody is called"
    ).tag(config=True)
    expiry_warning_days = Int(14, min=0, help="How long before its end Active Directory's password is warned of").tag(
        config=True
    )
    password_change = Enum(["auto", "rfc3062", "active_directory", "no"], "auto").tag(config=True)

    @property
    def configured(self) -> bool:
        return bool(self.servers or self.server_address)

    @property
    def everybody(self) -> bool:
        return self.allow_all if self.allow_all is not None else not (self.allowed_groups or self.allowed_users)

    def tls_context(self) -> ssl.SSLContext:
        """Return the context of all connections.

        Raises OSError, ValueError, TypeError or an error of ldap3 where it cannot be made so.
        """
        given = dict(self.tls_kwargs)
        validated = _verification(given.pop("validate", ssl.CERT_REQUIRED if self.verify_tls else ssl.CERT_NONE))
        ldap3.Tls(validate=validated, **given)  # knows its own arguments
        authorities = {
            "cafile": given.pop("ca_certs_file", None) or self.ca_file or None,
            "capath": given.pop("ca_certs_path", None),
            "cadata": given.pop("ca_certs_data", None),
        }
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, **authorities)
        certificate, key = given.pop("local_certificate_file", None), given.pop("local_private_key_file", None)
        if certificate:
            context.load_cert_chain(certificate, key, given.pop("local_private_key_password", None))
        if given.get("ciphers"):
            context.set_ciphers(given["ciphers"])
        for option in given.get("ssl_options") or ():
            context.options |= option
        context.check_hostname = validated is ssl.CERT_REQUIRED
        context.verify_mode = validated
        return context


def _verification(given: object) -> ssl.VerifyMode:
    names = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
    if isinstance(given, str) and given in names:
        return names[given]
    if isinstance(given, int):
        return ssl.VerifyMode(given)
    raise ValueError(f"validate = {given!r} is not known")

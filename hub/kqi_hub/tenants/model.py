"""Names of tenants, and who governs one. Pure."""

import re

from kqi_hub.errors import Invalid

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
# Namespaces and objects of the platform and of Kubernetes begin so.
RESERVED = ("kqi-", "kube-")


def check_name(name: str) -> None:
    """Raise Invalid for a name that no tenant can have; what fits a tenant fits an object of a cluster, too."""
    if not _NAME.fullmatch(name):
        raise Invalid("tenant_name_not_valid", name=name[:63])
    if name.startswith(RESERVED) or name in {"kqi", "kube"}:
        raise Invalid("tenant_name_reserved", prefixes=", ".join(RESERVED))


# What a git server or a registry can be; `any` and `private`: nothing more is known of it.
SERVER_KINDS = {
    "git": ("github", "gitlab", "gitlab.com", "gitbucket", "any"),
    "registry": ("docker-hub", "gitlab", "private", "ngc"),
}
_SERVER = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


def check_server_name(name: str) -> None:
    if not _SERVER.fullmatch(name):
        raise Invalid("server_name_not_valid", name=name[:63])

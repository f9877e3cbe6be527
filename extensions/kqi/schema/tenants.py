"""Tenants, their members, what they are given, roles, mappings of the directory, and shares."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from kqi.schema.base import OneLine, Request, Text, Title, Wire

TenantName = Annotated[str, Field(min_length=1, max_length=63)]
RoleName = Annotated[str, Field(min_length=1, max_length=32)]
PersonName = Annotated[str, Field(min_length=1, max_length=64)]
Short = Annotated[Text, Field(max_length=1024)]
ServerUse = Literal["git", "registry"]
ServerKind = Literal["github", "gitlab", "gitlab.com", "gitbucket", "docker-hub", "private", "ngc", "any"]
MappingKind = Literal["group-direct", "group-nested", "ou-direct", "ou-indirect"]
Level = Literal["tenant", "platform"]
ShareAccess = Literal["read", "write"]


class CreateTenant(Request):
    """A name stays for ever: a lower-case letter, then lower-case letters, digits and `-`, not at the end."""

    name: TenantName
    display_name: OneLine = ""
    description: Annotated[Text, Field(max_length=4096)] = ""
    open: bool = True


class ChangeTenant(Request):
    display_name: Title | None = None
    description: Annotated[Text, Field(max_length=4096)] | None = None
    open: bool | None = None


class TenantDetail(Wire):
    """`roles` and `permissions` are the caller's own there; `open`: others find it and may ask to join."""

    name: str
    display_name: str
    description: str
    open: bool
    archived: bool
    default: bool
    created_by: str | None
    created_at: datetime
    managers: list[str]
    roles: list[str]
    permissions: list[str]
    asked: bool


class Member(Wire):
    """`role` was given by hand, `directory_role` by the directory; both count."""

    person: str
    display_name: str
    role: str | None
    directory_role: str | None


class SetMember(Request):
    role: RoleName


class AskToJoin(Request):
    message: Short = ""


class JoinRequest(Wire):
    person: str
    display_name: str
    message: str
    created_at: datetime


class EraseTenant(Request):
    """The tenant's name once more, typed by hand."""

    name: TenantName


class Erasure(Wire):
    """What was removed; while `finished_at` is empty it goes on."""

    id: int
    tenant: str
    asked_by: str | None
    asked_at: datetime
    finished_at: datetime | None
    counts: dict[str, int]


class Server(Wire):
    """A git server or registry that an administrator has defined."""

    use: ServerUse
    name: str
    kind: ServerKind
    url: str


class DefineServer(Request):
    kind: ServerKind
    url: OneLine


class TenantServers(Wire):
    """What a tenant's people choose from; without a list of its own, everything that is defined."""

    git: list[Server]
    git_default: str | None
    registry: list[Server]
    registry_default: str | None
    chosen: list[ServerUse]  # of which there is a list of its own


class SetTenantServers(Request):
    """Names; without a default the first one is it."""

    git: list[TenantName] = Field(default=[], max_length=100)
    git_default: TenantName | None = None
    registry: list[TenantName] = Field(default=[], max_length=100)
    registry_default: TenantName | None = None


class SetPlacement(Request):
    """`expand` as in Cube Studio; `nodes`: names of partitions or `label=value`, empty: all."""

    expand: dict[str, Any] = Field(default={})
    nodes: list[OneLine] = Field(default=[], max_length=100)


class Effect(Wire):
    """What a setting does here; `enforced` False: it is kept and shown, and this engine does not act on it."""

    key: str
    value: str
    enforced: bool
    detail: str


class Placement(Wire):
    expand: dict[str, Any]
    nodes: list[str]
    effects: list[Effect]


class RoleInfo(Wire):
    name: str
    display_name: str
    level: Level
    capabilities: list[str]
    built_in: bool
    aliases: list[str]


class Capability(Wire):
    name: str
    level: Level


class RoleMatrix(Wire):
    """All roles against all capabilities."""

    roles: list[RoleInfo]
    capabilities: list[Capability]


class OwnRole(Request):
    name: RoleName
    display_name: OneLine = ""
    level: Level = "tenant"
    capabilities: list[Annotated[str, Field(max_length=32)]] = Field(max_length=100)


class SetRoles(Request):
    """All roles of the platform's own; those that are not named are removed."""

    roles: list[OwnRole] = Field(max_length=100)


class PlatformRole(Wire):
    person: str
    display_name: str
    role: str | None
    directory_role: str | None


class SetPlatformRole(Request):
    """None takes it away."""

    role: RoleName | None = None


class Mapping(Wire):
    """Being in `value` gives `role` in `tenant`, or over the platform where there is none."""

    id: int
    kind: MappingKind
    value: str
    tenant: str | None
    role: str


class CreateMapping(Request):
    kind: MappingKind
    value: Annotated[OneLine, Field(min_length=1, max_length=1024)]
    tenant: TenantName | None = None
    role: RoleName


class SyncChange(Wire):
    """`tenant` None: the role over the platform."""

    person: str
    tenant: str | None
    before: str | None
    after: str | None


class SyncPreview(Wire):
    """What would change, or what has; `gone` are people whom the directory no longer lets in."""

    digest: str
    people: int
    changes: list[SyncChange]
    gone: list[str]


class ApplySync(Request):
    """The digest of the preview that somebody has looked at."""

    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class ShareWith(Request):
    """Exactly one of the two."""

    person: PersonName | None = None
    tenant: TenantName | None = None
    access: ShareAccess = "read"


class Share(Wire):
    id: int
    person: str | None
    tenant: str | None
    access: ShareAccess
    created_by: str | None
    created_at: datetime

"""`client.tenants`, `client.roles`, `client.mappings` and `client.shares`: who belongs where, and may do what."""

from collections.abc import Mapping as Table

from kqi.client.exchange import ask, delete, get, nothing, pages, patch, post, put, replaced
from kqi.client.operation import Group, Mode, operation, stream
from kqi.client.steps import Steps, Stream
from kqi.schema import (
    ApplySync,
    AskToJoin,
    ChangeTenant,
    CreateMapping,
    CreateTenant,
    DefineServer,
    EraseTenant,
    Erasure,
    JoinRequest,
    Mapping,
    Member,
    Placement,
    PlatformRole,
    RoleMatrix,
    Server,
    SetMember,
    SetPlacement,
    SetPlatformRole,
    SetRoles,
    SetTenantServers,
    Share,
    ShareWith,
    SyncPreview,
    TenantDetail,
    TenantServers,
)

PLURAL: Table[str, str] = {
    "data": "data",
    "dataset": "datasets",
    "training": "trainings",
    "notebook": "notebooks",
}


class TenantGroup(Group[Mode]):
    """Tenants and the people in them."""

    @stream
    def list(self, mine: bool = False, limit: int | None = None) -> Stream[TenantDetail]:
        """Iterate over one's tenants and, unless `mine`, those that one may ask to join."""
        return pages(TenantDetail, "/tenants", {"mine": "true" if mine else None}, limit)

    @operation
    def get(self, name: str) -> Steps[TenantDetail]:
        return get(TenantDetail, f"/tenants/{name}")

    @operation
    def create(self, body: CreateTenant) -> Steps[TenantDetail]:
        return post(TenantDetail, "/tenants", body)

    @operation
    def edit(self, name: str, body: ChangeTenant) -> Steps[TenantDetail]:
        return patch(TenantDetail, f"/tenants/{name}", body)

    @operation
    def archive(self, name: str) -> Steps[TenantDetail]:
        """Make it read-only."""
        return post(TenantDetail, f"/tenants/{name}/archive")

    @operation
    def unarchive(self, name: str) -> Steps[TenantDetail]:
        return post(TenantDetail, f"/tenants/{name}/unarchive")

    @operation
    def leave(self, name: str) -> Steps[None]:
        return nothing(f"/tenants/{name}/leave")

    @stream
    def members(self, name: str, limit: int | None = None) -> Stream[Member]:
        return pages(Member, f"/tenants/{name}/members", {}, limit)

    @operation
    def set_member(self, name: str, person: str, role: str) -> Steps[Member]:
        """Take somebody in, or give them another role."""
        return put(Member, f"/tenants/{name}/members/{person}", SetMember(role=role))

    @operation
    def remove_member(self, name: str, person: str) -> Steps[None]:
        return delete(f"/tenants/{name}/members/{person}")

    @operation
    def ask(self, name: str, message: str = "") -> Steps[None]:
        """Ask the managers to be let in."""
        return nothing(f"/tenants/{name}/request", AskToJoin(message=message))

    @operation
    def withdraw(self, name: str) -> Steps[None]:
        return delete(f"/tenants/{name}/request")

    @stream
    def requests(self, name: str) -> Stream[JoinRequest]:
        """Iterate over those who ask to be let in."""
        return pages(JoinRequest, f"/tenants/{name}/requests", {}, None)

    @operation
    def accept(self, name: str, person: str, role: str = "researcher") -> Steps[Member]:
        return post(Member, f"/tenants/{name}/requests/{person}/accept", SetMember(role=role))

    @operation
    def decline(self, name: str, person: str) -> Steps[None]:
        return nothing(f"/tenants/{name}/requests/{person}/decline")

    @operation
    def erase(self, name: str, typed: str) -> Steps[Erasure]:
        """Erase an archived tenant with all its data; `typed` is its name once more."""
        return post(Erasure, f"/tenants/{name}/erase", EraseTenant(name=typed))

    @stream
    def erasures(self, limit: int | None = None) -> Stream[Erasure]:
        return pages(Erasure, "/erasures", {}, limit)

    @operation
    def erasure(self, erasure_id: int) -> Steps[Erasure]:
        return get(Erasure, f"/erasures/{erasure_id}")

    @operation
    def servers(self, name: str) -> Steps[TenantServers]:
        return get(TenantServers, f"/tenants/{name}/servers")

    @operation
    def set_servers(self, name: str, body: SetTenantServers) -> Steps[TenantServers]:
        return put(TenantServers, f"/tenants/{name}/servers", body)

    @operation
    def placement(self, name: str) -> Steps[Placement]:
        """Return where its work runs and how much it may have, and what of it is acted on."""
        return get(Placement, f"/tenants/{name}/placement")

    @operation
    def set_placement(self, name: str, body: SetPlacement) -> Steps[Placement]:
        return put(Placement, f"/tenants/{name}/placement", body)

    @stream
    def all_servers(self) -> Stream[Server]:
        """Iterate over the git servers and registries that are defined."""
        return pages(Server, "/servers", {}, None)

    @operation
    def define_server(self, use: str, name: str, body: DefineServer) -> Steps[Server]:
        return put(Server, f"/servers/{use}/{name}", body)

    @operation
    def remove_server(self, use: str, name: str) -> Steps[None]:
        return delete(f"/servers/{use}/{name}")


class RoleGroup(Group[Mode]):
    """Roles, and who has one over the platform."""

    @operation
    def matrix(self) -> Steps[RoleMatrix]:
        return get(RoleMatrix, "/roles")

    @operation
    def replace(self, body: SetRoles) -> Steps[RoleMatrix]:
        """Make these all of the platform's own roles; refused if somebody changes them at the same time."""
        return replaced(RoleMatrix, "/roles", body)

    @stream
    def people(self) -> Stream[PlatformRole]:
        return pages(PlatformRole, "/roles/people", {}, None)

    @operation
    def give(self, person: str, role: str | None) -> Steps[PlatformRole]:
        return put(PlatformRole, f"/roles/people/{person}", SetPlatformRole(role=role))


class MappingGroup(Group[Mode]):
    """What groups and units of the directory give, and the sync of all its people."""

    @stream
    def list(self) -> Stream[Mapping]:
        return pages(Mapping, "/mappings", {}, None)

    @operation
    def create(self, body: CreateMapping) -> Steps[Mapping]:
        return post(Mapping, "/mappings", body)

    @operation
    def remove(self, mapping_id: int) -> Steps[None]:
        return delete(f"/mappings/{mapping_id}")

    @operation
    def preview(self) -> Steps[SyncPreview]:
        """Return what a sync would change."""
        return ask(SyncPreview, "/mappings/preview")

    @operation
    def apply(self, digest: str) -> Steps[SyncPreview]:
        """Do what the preview with this digest has shown."""
        return post(SyncPreview, "/mappings/apply", ApplySync(digest=digest))


class ShareGroup(Group[Mode]):
    """Shares of data, datasets, trainings and notebooks; `kind` is one of these words in the singular."""

    @stream
    def list(self, kind: str, number: int) -> Stream[Share]:
        return pages(Share, f"/{PLURAL[kind]}/{number}/shares", {}, None)

    @operation
    def create(self, kind: str, number: int, body: ShareWith) -> Steps[Share]:
        return post(Share, f"/{PLURAL[kind]}/{number}/shares", body)

    @operation
    def remove(self, kind: str, number: int, share_id: int) -> Steps[None]:
        return delete(f"/{PLURAL[kind]}/{number}/shares/{share_id}")

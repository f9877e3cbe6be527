"""Who may do what, computed from the table of permissions: what the API is held against, operation by operation.

A new route needs nothing here unless its path names a thing that is not in `world`, or it must be sent a body.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from kqi_hub.identity.policy import ANY, BUILT_IN, OVER, RUN_TOKEN, SEEN_BY, Level, Permission, Role


class Answer(StrEnum):
    ALLOWED = "allowed"
    NOT_SIGNED_IN = "401"
    FORBIDDEN = "403"
    HIDDEN = "404"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Somebody at the API. `role` is the one in the tenant whose things are asked for, `elsewhere` that in another."""

    name: str
    signed_in: bool = True
    suspended: bool = False
    role: str | None = None
    elsewhere: str | None = None
    platform: str | None = None
    lets: frozenset[Permission] | None = None  # what the token leaves; None: all

    def has(self, permission: Permission) -> bool:
        return self._left(permission) and self.role is not None and permission in _of(self.role)

    def has_elsewhere(self, permission: Permission) -> bool:
        return self._left(permission) and self.elsewhere is not None and permission in _of(self.elsewhere)

    def governs(self, permission: Permission) -> bool:
        return self._left(permission) and self.platform is not None and permission in _of(self.platform)

    def _left(self, permission: Permission) -> bool:
        return self.lets is None or permission in self.lets


ACTORS = (
    Actor(name="anonymous", signed_in=False),
    Actor(name="suspended", suspended=True, role="manager"),
    Actor(name="expired token", signed_in=False, role="manager"),
    Actor(name="viewer", role="viewer"),
    Actor(name="user", role="user"),
    Actor(name="researcher", role="researcher"),
    Actor(name="operator", role="operator"),
    Actor(name="manager", role="manager"),
    Actor(name="auditor", elsewhere="researcher", platform="auditor"),
    Actor(name="administrator", elsewhere="manager", platform="administrator"),
    Actor(name="other tenant's manager", elsewhere="manager"),
    Actor(name="narrowed token", role="manager", lets=frozenset({Permission.DATA_READ})),
    Actor(name="run token", role="manager", lets=RUN_TOKEN),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`of_tenant`: it is about a thing of the tenant; `named`: the tenant itself is in the path; `body`: to be sent."""

    id: str
    method: str
    path: str
    permission: Permission
    of_tenant: bool
    named: bool
    owned: bool  # the thing belongs to somebody else in the tenant
    collection: bool  # the tenant is asked for by `?tenant=`
    personal: bool  # the thing is the owner's alone, and nobody else's


def expected(operation: Operation, actor: Actor) -> Answer:
    """Return what the API must answer."""
    permission = operation.permission
    if permission is Permission.PUBLIC:
        return Answer.ALLOWED
    if not actor.signed_in or actor.suspended:
        return Answer.FORBIDDEN if actor.suspended else Answer.NOT_SIGNED_IN
    if permission is Permission.SIGNED_IN:
        # A token of a run belongs to one tenant, and sees no other.
        return Answer.ALLOWED
    return _expected_of_one_with_rights(operation, actor, permission)


def _expected_of_one_with_rights(operation: Operation, actor: Actor, permission: Permission) -> Answer:
    if permission is Permission.ACCOUNT_MANAGE:
        allowed = actor.lets is None or permission in actor.lets
        return (Answer.HIDDEN if operation.personal else Answer.ALLOWED) if allowed else Answer.FORBIDDEN
    level = Level.PLATFORM if permission in _platform() else Level.TENANT
    if level is Level.PLATFORM:
        everybody = permission is Permission.TENANT_CREATE and (actor.lets is None or permission in actor.lets)
        return Answer.ALLOWED if everybody or actor.governs(permission) else Answer.FORBIDDEN
    over = OVER.get(permission)
    rules_all = over is not None and actor.governs(over)
    if not (actor.has(permission) or actor.has_elsewhere(permission) or rules_all):
        return Answer.FORBIDDEN
    if operation.named:
        return _named(actor, permission, rules_all=rules_all)
    if operation.collection:
        if actor.has(permission):
            return Answer.ALLOWED
        return Answer.HIDDEN if actor.role is None else Answer.FORBIDDEN
    return _item(operation, actor)


def _named(actor: Actor, permission: Permission, *, rules_all: bool) -> Answer:
    if actor.has(permission) or rules_all:
        return Answer.ALLOWED
    return Answer.HIDDEN if actor.role is None else Answer.FORBIDDEN


def _item(operation: Operation, actor: Actor) -> Answer:
    permission = operation.permission
    if operation.personal or not actor.has(SEEN_BY.get(permission, permission)):
        return Answer.HIDDEN
    if not operation.owned or permission not in ANY:
        return Answer.ALLOWED
    return Answer.ALLOWED if actor.has(ANY[permission]) and actor.has(permission) else Answer.FORBIDDEN


def _of(role: str) -> frozenset[Permission]:
    found: Role = BUILT_IN[role]
    return found.permissions


def _platform() -> frozenset[Permission]:
    return frozenset().union(*(role.permissions for role in BUILT_IN.values() if role.level is Level.PLATFORM))


def in_words(answers: Mapping[str, Answer]) -> str:
    return ", ".join(f"{who}: {answer}" for who, answer in answers.items())

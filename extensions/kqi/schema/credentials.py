"""What people bring along: SSH keys, credentials of other servers, where they are told, terms they accepted."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field

from kqi.schema.base import Id, OneLine, Request, Revealing, Text, Title, Wire


class SshKey(Wire):
    """A public key; `fingerprint` as `ssh-keygen -l` shows it."""

    id: int
    kind: str
    fingerprint: str
    comment: str
    key: str
    created_at: datetime
    last_used_at: datetime | None
    last_used_from: str | None


class AddSshKey(Request):
    """One line of a `.pub` file. `comment` instead of the one in it."""

    key: Text = Field(max_length=20_000)
    comment: OneLine | None = None


class ImportSshKeys(Request):
    """Take over the keys that a git server shows of an account; `server` is a name from the settings."""

    server: OneLine
    account: OneLine = Field(min_length=1)


class ImportedKeys(Wire):
    """`added` are new; `known` had been there; `refused` says why of others, by fingerprint or beginning."""

    added: list[SshKey]
    known: int
    refused: dict[str, str]


class CredentialKind(StrEnum):
    GIT = "git"
    REGISTRY = "registry"


class Credential(Wire):
    """A credential as it is listed; its secret is never shown again."""

    id: int
    kind: CredentialKind
    server: str
    username: str
    created_at: datetime
    last_used_at: datetime | None


class SetCredential(Request):
    """For one server, given as `host`, `host:port` or an address of it; an earlier one is replaced."""

    server: Title
    username: OneLine = ""
    secret: str = Field(min_length=1, max_length=4096, repr=False)


class AskGitCredential(Request):
    """What git's credential protocol says of the repository."""

    protocol: OneLine
    host: OneLine


class GitCredential(Revealing):
    username: str
    password: str = Field(repr=False)


class NoticeKind(StrEnum):
    SLACK = "slack"  # also what takes the same messages
    WEBHOOK = "webhook"
    EMAIL = "email"


Event = Literal["completed", "failed", "canceled", "killed"]


class NotificationTarget(Wire):
    """Where somebody is told. `address` is masked; `fault` says why the last try failed."""

    id: int
    kind: NoticeKind
    name: str
    address: str
    mention: str
    events: list[Event]
    created_at: datetime
    told_at: datetime | None
    fault: str


class AddNotificationTarget(Request):
    """`address` is a webhook of HTTPS, or where mail goes. `mention` is put in front of messages to a chat."""

    kind: NoticeKind
    name: Title
    address: str = Field(min_length=1, max_length=2048, repr=False)
    mention: OneLine = ""
    events: list[Event] = Field(default=["completed", "failed", "killed"], max_length=10)


class ChangeNotificationTarget(Request):
    """What is left out stays as it is."""

    name: Title | None = None
    address: str | None = Field(default=None, min_length=1, max_length=2048, repr=False)
    mention: OneLine | None = None
    events: list[Event] | None = Field(default=None, max_length=10)


class NewNotificationTarget(Revealing):
    """`key` signs the bodies of a webhook: header `X-KQI-Signature: sha256=<HMAC of the body>`."""

    target: NotificationTarget
    key: str | None = Field(default=None, repr=False)


class Terms(Wire):
    """A version of the terms of service, in the reader's language, and when that person accepted it."""

    version: int
    text: str
    published_at: datetime
    accepted: bool


class TermsTexts(Request):
    """The texts of a new version."""

    ja: Text = Field(min_length=1)
    zh: Text = Field(min_length=1)
    en: Text = Field(min_length=1)


class PublishedTerms(Wire):
    """A version with all its texts, for administrators; `accepted` is how many people have accepted it."""

    version: int
    texts: dict[str, str]
    published_at: datetime
    published_by: str
    accepted: int


class AcceptTerms(Request):
    version: Id

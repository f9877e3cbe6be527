"""What a person brings along: SSH keys, credentials of other servers, where they are told, and terms they accept."""

from kqi.client.exchange import ask, delete, get, pages, patch, post, put
from kqi.client.operation import Group, Mode, operation, stream
from kqi.client.steps import Steps, Stream
from kqi.schema import (
    AcceptTerms,
    AddNotificationTarget,
    AddSshKey,
    AskGitCredential,
    ChangeNotificationTarget,
    Credential,
    CredentialKind,
    GitCredential,
    ImportedKeys,
    ImportSshKeys,
    NewNotificationTarget,
    NotificationTarget,
    PublishedTerms,
    SetCredential,
    SshKey,
    Terms,
    TermsTexts,
)


class SshKeyGroup(Group[Mode]):
    """The caller's SSH keys."""

    @stream
    def list(self, limit: int | None = None) -> Stream[SshKey]:
        return pages(SshKey, "/ssh-keys", {}, limit)

    @operation
    def add(self, body: AddSshKey) -> Steps[SshKey]:
        return post(SshKey, "/ssh-keys", body)

    @operation
    def take_over(self, body: ImportSshKeys) -> Steps[ImportedKeys]:
        """Add the keys that a git server shows of an account."""
        return post(ImportedKeys, "/ssh-keys/import", body)

    @operation
    def remove(self, key_id: int) -> Steps[None]:
        return delete(f"/ssh-keys/{key_id}")


class CredentialGroup(Group[Mode]):
    """What opens git servers and registries for the caller."""

    @stream
    def list(self, limit: int | None = None) -> Stream[Credential]:
        return pages(Credential, "/credentials", {}, limit)

    @operation
    def set(self, kind: CredentialKind, body: SetCredential) -> Steps[Credential]:
        """Keep a credential in the place of the one before for this server."""
        return put(Credential, f"/credentials/{kind.value}", body)

    @operation
    def remove(self, credential_id: int) -> Steps[None]:
        return delete(f"/credentials/{credential_id}")

    @operation
    def for_git(self, body: AskGitCredential) -> Steps[GitCredential]:
        """Return what git is to say to a host. Raises NotFound where there is nothing for it."""
        return ask(GitCredential, "/git-credential", body)


class NotificationGroup(Group[Mode]):
    """Where the caller is told what became of their work."""

    @stream
    def list(self, limit: int | None = None) -> Stream[NotificationTarget]:
        return pages(NotificationTarget, "/notifications", {}, limit)

    @operation
    def add(self, body: AddNotificationTarget) -> Steps[NewNotificationTarget]:
        """Add a target. The key of a webhook is answered this once."""
        return post(NewNotificationTarget, "/notifications", body)

    @operation
    def change(self, target_id: int, body: ChangeNotificationTarget) -> Steps[NotificationTarget]:
        return patch(NotificationTarget, f"/notifications/{target_id}", body)

    @operation
    def remove(self, target_id: int) -> Steps[None]:
        return delete(f"/notifications/{target_id}")

    @operation
    def test(self, target_id: int) -> Steps[NotificationTarget]:
        """Send something now. Raises what went wrong."""
        return post(NotificationTarget, f"/notifications/{target_id}/test")


class TermsGroup(Group[Mode]):
    """The terms of service."""

    @operation
    def current(self) -> Steps[Terms]:
        """Return the terms in force. Raises NotFound where there are none."""
        return get(Terms, "/terms")

    @operation
    def accept(self, version: int) -> Steps[Terms]:
        return post(Terms, "/terms/accept", AcceptTerms(version=version))

    @operation
    def publish(self, body: TermsTexts) -> Steps[PublishedTerms]:
        """Put a new version in force; for administrators."""
        return post(PublishedTerms, "/terms", body)

    @operation
    def published(self, version: int) -> Steps[PublishedTerms]:
        """Return a version with all its texts; for administrators."""
        return get(PublishedTerms, f"/terms/{version}")

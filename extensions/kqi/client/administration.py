"""What administrators do: people, sessions, errands, applications, and the audit log."""

from dataclasses import asdict, dataclass

from pydantic import ValidationError

from kqi.client.errors import UnexpectedAnswer
from kqi.client.exchange import delete, get, open_body, pages, parse, patch, post, send
from kqi.client.filters import AuditFilter
from kqi.client.operation import Driver, Group, Mode, operation, stream
from kqi.client.steps import Emit, HttpRequest, Pause, Read, Steps, Stream
from kqi.schema import (
    Application,
    ApplicationState,
    ApproveApplication,
    ApprovedApplication,
    AuditCheck,
    AuditEntry,
    BrowserSession,
    ChangeSomebody,
    CreateSomebody,
    DeclineApplication,
    DeleteSomebody,
    EndedSessions,
    Errand,
    ErrandState,
    HandOver,
    NewSomebody,
    SendPassword,
    Somebody,
    SomebodysState,
    Suspend,
)

_LOOK_S = 1.0
_WHOLE_LOG_S = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleFilter:
    """What people are narrowed to; `q` searches name, display name and e-mail."""

    q: str | None = None
    state: SomebodysState | None = None
    source: str | None = None
    role: str | None = None


class AuditGroup(Group[Mode]):
    """The audit log."""

    @stream
    def list(self, where: AuditFilter | None = None, limit: int | None = None) -> Stream[AuditEntry]:
        """Return entries, newest first."""
        return pages(AuditEntry, "/admin/audit", (where or AuditFilter()).query(), limit)

    @stream
    def export(self, where: AuditFilter | None = None) -> Stream[AuditEntry]:
        """Return all entries, oldest first, as they come."""
        query = (where or AuditFilter()).query()
        opened = yield from open_body(HttpRequest(method="GET", path="/admin/audit/export", query=query))
        rest = b""
        while piece := (yield Read(opened)):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield Emit(_entry(line))
        if rest:
            raise UnexpectedAnswer("error.not_kqi")

    @operation
    def verify(self) -> Steps[AuditCheck]:
        """Look at the whole log for entries that were changed, taken out or cut off."""
        return get(AuditCheck, "/admin/audit/verify", silence_s=_WHOLE_LOG_S)


class PeopleGroup(Group[Mode]):
    """People of the platform."""

    @stream
    def list(self, where: PeopleFilter | None = None, limit: int | None = None) -> Stream[Somebody]:
        return pages(Somebody, "/admin/people", asdict(where or PeopleFilter()), limit)

    @operation
    def get(self, name: str) -> Steps[Somebody]:
        return get(Somebody, f"/admin/people/{name}")

    @operation
    def create(self, body: CreateSomebody) -> Steps[NewSomebody]:
        """Make a local account. Its password is answered this once."""
        return post(NewSomebody, "/admin/people", body)

    @operation
    def edit(self, name: str, body: ChangeSomebody) -> Steps[Somebody]:
        return patch(Somebody, f"/admin/people/{name}", body)

    @operation
    def renew_password(self, name: str, body: SendPassword) -> Steps[NewSomebody]:
        """Give a new password that works once. It is answered this once."""
        return post(NewSomebody, f"/admin/people/{name}/password", body)

    @operation
    def unlock(self, name: str) -> Steps[Somebody]:
        """Let somebody try again at once who typed too many wrong passwords."""
        return post(Somebody, f"/admin/people/{name}/unlock")

    @operation
    def suspend(self, name: str, body: Suspend) -> Steps[Somebody]:
        """End whatever a person has at work within a minute, and let nothing new begin."""
        return post(Somebody, f"/admin/people/{name}/suspend", body)

    @operation
    def resume(self, name: str) -> Steps[Somebody]:
        return post(Somebody, f"/admin/people/{name}/resume")

    @operation
    def hand_over(self, name: str, body: HandOver) -> Steps[Errand]:
        """Give all that a person owns to another one."""
        return post(Errand, f"/admin/people/{name}/hand-over", body)

    @operation
    def delete(self, name: str, body: DeleteSomebody) -> Steps[Errand]:
        return post(Errand, f"/admin/people/{name}/delete", body)


class SessionGroup(Group[Mode]):
    """Browsers and programs that are signed in."""

    @stream
    def list(self, person: str | None = None) -> Stream[BrowserSession]:
        return pages(BrowserSession, "/admin/sessions", {"person": person}, None)

    @operation
    def end(self, person: str, session_id: str) -> Steps[None]:
        return delete(f"/admin/people/{person}/sessions/{session_id}")

    @operation
    def end_all(self, person: str) -> Steps[EndedSessions]:
        """Sign a person out everywhere."""
        request = HttpRequest(method="DELETE", path=f"/admin/people/{person}/sessions")
        return parse(EndedSessions, (yield from send(request)))


class ErrandGroup(Group[Mode]):
    """What is done in the background."""

    @stream
    def list(self, limit: int | None = None) -> Stream[Errand]:
        return pages(Errand, "/admin/errands", {}, limit)

    @operation
    def get(self, errand_id: int) -> Steps[Errand]:
        return get(Errand, f"/admin/errands/{errand_id}")

    @operation
    def wait(self, errand_id: int) -> Steps[Errand]:
        """Wait until it has ended."""
        while True:
            found = yield from get(Errand, f"/admin/errands/{errand_id}")
            if found.state in {ErrandState.DONE, ErrandState.FAILED}:
                return found
            yield Pause(_LOOK_S)


class ApplicationGroup(Group[Mode]):
    """Those who asked for an account."""

    @stream
    def list(self, state: ApplicationState | None = None, limit: int | None = None) -> Stream[Application]:
        return pages(Application, "/admin/applications", {"state": state}, limit)

    @operation
    def approve(self, application_id: int, body: ApproveApplication) -> Steps[ApprovedApplication]:
        """Make the account. Its password is answered this once."""
        return post(ApprovedApplication, f"/admin/applications/{application_id}/approve", body)

    @operation
    def decline(self, application_id: int, body: DeclineApplication) -> Steps[Application]:
        return post(Application, f"/admin/applications/{application_id}/decline", body)

    @operation
    def ldif(self, state: ApplicationState | None = None) -> Steps[str]:
        """Return them as LDIF for an LDAP directory, those that wait unless another state is asked for."""
        answer = yield from send(HttpRequest(method="GET", path="/admin/applications/ldif", query={"state": state}))
        return answer.content.decode()


class AdminGroup(Group[Mode]):
    """What administrators do."""

    def __init__(self, driver: Driver, tenant: str | None) -> None:
        super().__init__(driver, tenant)
        self.people: PeopleGroup[Mode] = PeopleGroup(driver, tenant)
        self.sessions: SessionGroup[Mode] = SessionGroup(driver, tenant)
        self.errands: ErrandGroup[Mode] = ErrandGroup(driver, tenant)
        self.applications: ApplicationGroup[Mode] = ApplicationGroup(driver, tenant)
        self.audit: AuditGroup[Mode] = AuditGroup(driver, tenant)


def _entry(line: bytes) -> AuditEntry:
    try:
        return AuditEntry.model_validate_json(line)
    except ValidationError as problem:
        raise UnexpectedAnswer("error.not_kqi") from problem

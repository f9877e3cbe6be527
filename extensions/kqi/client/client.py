"""`Client` and `AsyncClient`: the same groups of operations over the two drivers."""

from types import TracebackType
from typing import Self

from kqi.client.account import RootGroup, SignInGroup, TokenGroup
from kqi.client.administration import AdminGroup
from kqi.client.awaiting import AwaitingDriver
from kqi.client.blocking import BlockingDriver
from kqi.client.credentials import CredentialGroup, NotificationGroup, SshKeyGroup, TermsGroup
from kqi.client.data import DataGroup
from kqi.client.datasets import DatasetGroup
from kqi.client.http import Endpoint
from kqi.client.operation import Awaiting, Blocking, Driver, Mode
from kqi.client.runs import NotebookGroup, TrainingGroup
from kqi.client.settings import Secret, Settings, find
from kqi.client.tenants import MappingGroup, RoleGroup, ShareGroup, TenantGroup


class Groups(RootGroup[Mode]):
    """All groups over one driver."""

    def __init__(self, driver: Driver, settings: Settings) -> None:
        super().__init__(driver, settings.tenant)
        self.settings = settings
        self.data: DataGroup[Mode] = DataGroup(driver, settings.tenant)
        self.datasets: DatasetGroup[Mode] = DatasetGroup(driver, settings.tenant)
        self.trainings: TrainingGroup[Mode] = TrainingGroup(driver, settings.tenant)
        self.notebooks: NotebookGroup[Mode] = NotebookGroup(driver, settings.tenant)
        self.tokens: TokenGroup[Mode] = TokenGroup(driver, settings.tenant)
        self.ssh_keys: SshKeyGroup[Mode] = SshKeyGroup(driver, settings.tenant)
        self.credentials: CredentialGroup[Mode] = CredentialGroup(driver, settings.tenant)
        self.notifications: NotificationGroup[Mode] = NotificationGroup(driver, settings.tenant)
        self.terms: TermsGroup[Mode] = TermsGroup(driver, settings.tenant)
        self.admin: AdminGroup[Mode] = AdminGroup(driver, settings.tenant)
        self.tenants: TenantGroup[Mode] = TenantGroup(driver, settings.tenant)
        self.roles: RoleGroup[Mode] = RoleGroup(driver, settings.tenant)
        self.mappings: MappingGroup[Mode] = MappingGroup(driver, settings.tenant)
        self.shares: ShareGroup[Mode] = ShareGroup(driver, settings.tenant)
        self.sign_in: SignInGroup[Mode] = SignInGroup(driver, settings.tenant)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.settings.server!r})"


class Client(Groups[Blocking]):
    """KQI Hub for programs that block. Close it, or use it in a `with` statement.

    What is not given is taken from KQI_SERVER, KQI_TOKEN, KQI_TENANT and KQI_CA_FILE, then from `kqi login`.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        token: str | None = None,
        tenant: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        settings = _settings(server, token, tenant, ca_file)
        self._blocking = BlockingDriver(Endpoint(settings))
        super().__init__(self._blocking, settings)

    def close(self) -> None:
        self._blocking.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(Groups[Awaiting]):
    """KQI Hub for programs on an event loop: the operations of `Client`, as coroutines and asynchronous iterators."""

    def __init__(
        self,
        server: str | None = None,
        *,
        token: str | None = None,
        tenant: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        settings = _settings(server, token, tenant, ca_file)
        self._awaiting = AwaitingDriver(Endpoint(settings))
        super().__init__(self._awaiting, settings)

    async def close(self) -> None:
        await self._awaiting.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _settings(server: str | None, token: str | None, tenant: str | None, ca_file: str | None) -> Settings:
    given = Settings(server=server or "", token=Secret(token) if token else None, tenant=tenant, ca_file=ca_file)
    return find(given)

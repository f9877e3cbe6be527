"""What every command has: the common options, the client, and the two outputs."""

from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, Self

from kqi.cli.commands import Opt
from kqi.cli.output import Output
from kqi.client import Client


@dataclass(frozen=True, kw_only=True)
class Common:
    """Options of every command."""

    json: Annotated[bool, Opt("cli.option.json", ("--json",))] = False
    tenant: Annotated[str | None, Opt("cli.option.tenant", metavar="NAME")] = None
    server: Annotated[str | None, Opt("cli.option.server", metavar="URL")] = None
    ca_file: Annotated[str | None, Opt("cli.option.ca_file", metavar="FILE")] = None


class Session:
    """One call of a command; the connection is made when it is first needed."""

    def __init__(self, common: Common) -> None:
        self.common = common
        self.out = Output(common.json)
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        if self._client is None:
            self._client = Client(self.common.server, tenant=self.common.tenant, ca_file=self.common.ca_file)
        return self._client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()

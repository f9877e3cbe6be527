"""Turn what a client asked for into what `service` records: sources resolved, units made ours."""

import math
from dataclasses import dataclass
from typing import TypeVar

from kqi import schema
from kqi_hub.accounts.credentials import Credentials
from kqi_hub.admission.plan import Ask
from kqi_hub.data.store import known_sizes
from kqi_hub.db.scope import TenantScope
from kqi_hub.errors import Invalid
from kqi_hub.runs.model import Kind, Run, Source
from kqi_hub.runs.service import Wanted
from kqi_hub.sources.git import Git, shown

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Resolver:
    """Asks repositories; needs no transaction, so it is used before the first query."""

    git: Git
    credentials: Credentials

    async def source(self, person: int, asked: schema.Git | schema.Archive | None) -> Source | None:
        """Return the code as it is recorded; private repositories are asked with what `person` has for their host."""
        if asked is None:
            return None
        if isinstance(asked, schema.Archive):
            return Source(kind="archive", url=asked.origin, rule="archive", sha256=asked.sha256)
        if shown(asked.url) != asked.url[:200]:
            raise Invalid("git_credentials_in_url")
        access = await self.credentials.git(person, asked.url)
        found = await self.git.resolve(asked.url, asked.branch, asked.commit, access)
        return Source(kind="git", url=asked.url, branch=found.branch, commit=found.commit, rule=found.rule)


async def check_archive(scope: TenantScope, source: Source | None) -> None:
    """Raise Invalid for a packed folder that the tenant has not sent."""
    if source is not None and source.kind == "archive" and not await known_sizes(scope, [source.sha256]):
        raise Invalid("content_not_uploaded", path=source.url or "archive")


def ask(resources: schema.AskedResources) -> Ask:
    return Ask(
        cpu_milli=math.ceil(resources.cpu * 1000),
        memory_mib=math.ceil(resources.memory_gb * 1024),
        gpus=resources.gpu,
        gpu_kind=resources.gpu_kind,
    )


def training(body: schema.CreateTraining, source: Source | None) -> Wanted:
    return Wanted(
        kind=Kind.TRAINING,
        title=body.title,
        name=body.name,
        command=body.command,
        source=source,
        dataset=(body.dataset.id, body.dataset.version) if body.dataset else None,
        parents=body.parents,
        image=body.image,
        environment=body.environment,
        ask=ask(body.resources),
        zip=body.zip,
        stop_at_first_failure=body.stop_at_first_failure,
        local_dataset=body.local_dataset,
        grace_s=body.grace_s,
        memo=body.memo,
        tags=body.tags,
    )


def notebook(body: schema.CreateNotebook, source: Source | None) -> Wanted:
    return Wanted(
        kind=Kind.NOTEBOOK,
        title=body.title,
        name=body.name,
        source=source,
        dataset=(body.dataset.id, body.dataset.version) if body.dataset else None,
        parents=body.parents,
        image=body.image,
        environment=body.environment,
        ask=ask(body.resources),
        local_dataset=body.local_dataset,
        grace_s=10,
        memo=body.memo,
    )


def copied(run: Run, body: schema.CopyTraining, source: Source | None) -> Wanted:
    """Return what `run` was, with what `body` gives instead; the code is the recorded commit unless given."""
    dataset = (run.dataset, run.version) if run.dataset else None
    return Wanted(
        kind=Kind.TRAINING,
        title=body.title or run.title,
        name=body.name or run.name,
        command=body.command or run.command,
        source=source or run.source,
        dataset=(body.dataset.id, body.dataset.version) if body.dataset else dataset,
        parents=_else(body.parents, run.parents),
        image=_else(body.image, run.image),
        environment=_else(body.environment, run.environment),
        ask=ask(body.resources) if body.resources else _ask_of(run),
        zip=_else(body.zip, run.zip),
        stop_at_first_failure=_else(body.stop_at_first_failure, run.stop_at_first_failure),
        local_dataset=_else(body.local_dataset, run.local_dataset),
        grace_s=_else(body.grace_s, run.grace_s),
        memo=_else(body.memo, run.memo),
        tags=_else(body.tags, run.tags),
    )


def _else(given: Value | None, recorded: Value) -> Value:
    return recorded if given is None else given


def _ask_of(run: Run) -> Ask:
    return Ask(cpu_milli=run.cpu_milli, memory_mib=run.memory_mib, gpus=run.gpus, gpu_kind=run.gpu_kind)

"""A run as clients see it."""

from collections.abc import Mapping

from kqi import schema
from kqi_hub.admission.service import Place
from kqi_hub.i18n import text
from kqi_hub.runs.model import Kind, Run


def to_wire(run: Run, place: Place | None, language: str) -> schema.Run:
    return schema.Run(
        id=run.number,
        kind=run.kind.value,
        tenant=run.tenant,
        title=run.title,
        name=run.name,
        phase=run.phase,
        reason=run.reason,
        explanation=explanation(run, language),
        message=run.message,
        queue=_queue(place, language) if place else None,
        command=run.command,
        source=_source(run),
        dataset=schema.DatasetUse(id=run.dataset, version=run.version) if run.dataset else None,
        parents=list(run.parents),
        image=run.image,
        environment=dict(run.environment),
        resources=schema.AskedResources(
            cpu=run.cpu_milli / 1000, memory_gb=run.memory_mib / 1024, gpu=run.gpus, gpu_kind=run.gpu_kind
        ),
        gpu_indexes=[card.index for card in run.cards],
        zip=run.zip,
        stop_at_first_failure=run.stop_at_first_failure,
        local_dataset=run.local_dataset,
        grace_s=run.grace_s,
        memo=run.memo,
        tags=list(run.tags),
        favorite=run.favorite,
        exit_code=run.exit_code,
        url=address(run),
        created_by=run.person,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
    )


def several(runs: Mapping[int, Run], places: Mapping[int, Place], language: str) -> dict[int, schema.Run]:
    return {key: to_wire(run, places.get(key), language) for key, run in runs.items()}


def explanation(run: Run, language: str) -> str:
    """Return what the reason of its end means, nothing where there is none."""
    if run.reason is None:
        return ""
    asked = {"exit_code": run.exit_code, "memory_gb": f"{run.memory_mib / 1024:g}", "image": run.image}
    said = text(f"reason.{run.reason}", language, asked)
    return said if said != f"reason.{run.reason}" else text("reason.other", language, {"code": run.reason})


def address(run: Run) -> str | None:
    """Return where a notebook at work is opened, relative to the platform's address."""
    if run.kind is not Kind.NOTEBOOK or run.phase is not schema.Phase.RUNNING:
        return None
    return f"/user/{run.person}/{run.server}/" if run.server else f"/user/{run.person}/"


def _queue(place: Place, language: str) -> schema.Queue:
    detail = text(place.why.value, language, {"position": place.position})
    return schema.Queue(position=place.position, reason=place.why.value, detail=detail)


def _source(run: Run) -> schema.ResolvedSource | None:
    source = run.source
    if source is None:
        return None
    return schema.ResolvedSource(
        kind=source.kind, url=source.url, branch=source.branch, commit=source.commit, rule=source.rule
    )

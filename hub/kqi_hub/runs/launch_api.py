"""The hub's own call: its Spawner asks what to start for a person's server."""

from typing import Annotated

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from kqi.schema import OneLine, Phase
from kqi_hub.admission.plan import Ask
from kqi_hub.db.scope import Scope, TenantScope
from kqi_hub.errors import Conflict, Forbidden, NotFound
from kqi_hub.i18n import text
from kqi_hub.identity import people
from kqi_hub.identity.policy import Permission
from kqi_hub.identity.rows import PersonRow
from kqi_hub.runs import store
from kqi_hub.runs.api import Feature
from kqi_hub.runs.model import ENDED, Kind, Run
from kqi_hub.runs.prepare import NotReady
from kqi_hub.runs.reconcile import Reconciler
from kqi_hub.runs.rows import RunRow
from kqi_hub.runs.service import RunService, Wanted
from kqi_hub.terms import service as terms
from kqi_hub.web.call import Call, Caller, feature
from kqi_hub.web.routes import Routes
from kqi_spawner import wire

routes = Routes("internal")
_DEFAULT = Ask(cpu_milli=1000, memory_mib=2048)


class Launch(BaseModel):
    """A server that is to start: of this run, or, from the hub's own button, of whatever run this server had last."""

    model_config = ConfigDict(extra="forbid")
    person: OneLine = Field(max_length=64)
    server: OneLine = Field(default="", max_length=30)
    run: int | None = Field(default=None, ge=1, le=2**53 - 1)


@routes.post("/internal/launch", permission=Permission.SERVICE, include_in_schema=False)
async def launch(
    call: Caller, body: Launch, runs: Feature, reconciler: Annotated[Reconciler, feature(Reconciler)]
) -> JSONResponse:
    """Answer the workload of an admitted run, or its place in the queue."""
    run = await _run(call, body, runs.service)
    if body.run is None:
        call.after.append(runs.wake)  # it was recorded just now
    if run.phase is Phase.QUEUED:
        place = (await runs.service.admission.places(Scope(call.session), [run.key]))[run.key]
        detail = text(place.why.value, call.language, {"position": place.position})
        answer = {"state": "queued", "run": run.number, "position": place.position, "reason": place.why.value}
        return JSONResponse({**answer, "detail": detail})
    await call.session.commit()
    try:
        workload = await reconciler.workload(run)
    except NotReady:
        detail = text("waiting_for_dataset", call.language)
        answer = {
            "state": "queued",
            "run": run.number,
            "position": 0,
            "reason": "waiting_for_dataset",
            "detail": detail,
        }
        return JSONResponse(answer)
    return JSONResponse({"state": "ready", "run": run.number, "workload": wire.to_json(workload)})


async def _run(call: Call, body: Launch, service: RunService) -> Run:
    """Return the run that the server belongs to: started again if it has ended, made if there is none."""
    person = await people.person_named(call.session, body.person)
    if person is None or person.disabled or person.gone_at is not None:
        raise NotFound("person", body.person)
    if body.run is not None:
        run = await store.one(Scope(call.session), Kind.NOTEBOOK, body.run)
        if run.person_id != person.id:
            raise NotFound("notebook", body.run)
        if run.phase in ENDED:
            raise Conflict("run_ended", kind="notebook", id=run.number, phase=run.phase.value)
        return run
    version = await terms.keeps_out(call.session, person.id)
    if version:
        raise Forbidden("terms_not_accepted", version=version)
    scope = await _scope(call, person)
    query = select(RunRow.number).where(
        RunRow.kind == Kind.NOTEBOOK.value, RunRow.created_by == person.id, RunRow.server == body.server
    )
    last = await scope.scalar(query.order_by(RunRow.key.desc()).limit(1))
    if last is not None:
        return await service.start_again(scope, Kind.NOTEBOOK, last)
    wanted = Wanted(
        kind=Kind.NOTEBOOK,
        title=body.server or "JupyterLab",
        name=None,
        source=None,
        dataset=None,
        parents=(),
        image="",
        environment={},
        ask=_DEFAULT,
        grace_s=10,
        server=body.server,
    )
    run, _ = await service.submit(scope, wanted)
    return run


async def _scope(call: Call, person: PersonRow) -> TenantScope:
    principal = await people.principal(call.session, person)
    tenant = principal.choose(Permission.RUN_SUBMIT, None)
    tenants = principal.tenants(Permission.RUN_SUBMIT).values()
    return TenantScope(call.session, person=person.id, tenants=tenants, tenant=tenant)

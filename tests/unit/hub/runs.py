"""A run as the pure functions see it."""

from datetime import UTC, datetime

from kqi.schema import Phase
from kqi_hub.runs.model import Kind, Run


def some_run() -> Run:
    return Run(
        key=1,
        kind=Kind.TRAINING,
        number=1,
        attempt=1,
        tenant_id=1,
        tenant="t",
        person_id=1,
        person="p",
        title="some",
        name="some",
        phase=Phase.QUEUED,
        reason=None,
        message="",
        command="true",
        source=None,
        dataset=None,
        version=None,
        parents=(),
        image="",
        environment={},
        cpu_milli=1000,
        memory_mib=1024,
        gpus=0,
        gpu_kind=None,
        cards=(),
        zip=False,
        stop_at_first_failure=False,
        local_dataset=False,
        grace_s=30,
        memo="",
        favorite=False,
        server="",
        stop=None,
        exit_code=None,
        created_at=datetime(2024, 1, 1, tzinfo=UTC),
        started_at=None,
        finished_at=None,
    )

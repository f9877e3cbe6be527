"""One recipe for each kind; the table is the only place that knows which."""

from collections.abc import Callable, Mapping

from kqi_hub.runs.kinds import contract
from kqi_hub.runs.kinds.inputs import Inputs
from kqi_hub.runs.model import Kind, Run
from kqi_spawner.workload import Access, Link, Mount, Resources, Scratch, Workload

Recipe = Callable[[Run, Inputs], Workload]

# The guides' scripts are written for bash; an image needs no more than sh.
_SHELL = 'if [ -x /bin/bash ]; then exec /bin/bash "$@"; else exec /bin/sh "$@"; fi'


def training(run: Run, inputs: Inputs) -> Workload:
    """The person's command, in the folder of the code; its result is the exit code of its last command."""
    strict = ("-e",) if run.stop_at_first_failure else ()
    home = contract.home(run)
    mounts, scratches, links = contract.mounts(run, inputs)
    return Workload(
        name=run.workload,
        command=("/bin/sh", "-c", _SHELL, "kqi", *strict, "-c", run.command),
        image=run.image,
        workdir=contract.GIT,
        resources=_resources(run),
        nodes=inputs.nodes,
        shm_mib=inputs.shm_mib,
        log=run.log,
        person=run.person,
        tenant=run.tenant,
        environment={"HOME": home, "USER": run.person, **contract.environment(run, inputs)},
        secrets=contract.secrets(inputs),
        registries=inputs.registries,
        mounts=mounts,
        scratches=(*scratches, Scratch(target=home)),
        links=links,
    )


def notebook(run: Run, inputs: Inputs) -> Workload:
    """JupyterLab in the kept output folder, with the person's lasting home; the Spawner adds address and port."""
    home = contract.home(run)
    mounts, scratches, links = contract.mounts(run, inputs)
    own = (Mount(source=inputs.home, target=home, access=Access.READ_WRITE),) if inputs.home else ()
    shown = {name: f"../{name}" for name in ("input", "git", "parent")}
    shown |= {"workspace": f"../..{contract.workspace(run)}", "archive": f"../..{contract.archive(run)}"}
    if inputs.home:
        shown["home"] = f"../..{home}"
    return Workload(
        name=run.workload,
        command=("jupyterhub-singleuser",),
        image=run.image,
        workdir=contract.OUTPUT,
        resources=_resources(run),
        nodes=inputs.nodes,
        shm_mib=inputs.shm_mib,
        log=run.log,
        person=run.person,
        tenant=run.tenant,
        environment={"HOME": home, "USER": run.person, **contract.environment(run, inputs)},
        secrets=contract.secrets(inputs),
        registries=inputs.registries,
        mounts=(*mounts, *own),
        scratches=scratches,
        links=(*links, *(Link(target=f"{contract.OUTPUT}/{name}", to=to) for name, to in shown.items())),
    )


TABLE: Mapping[Kind, Recipe] = {Kind.TRAINING: training, Kind.NOTEBOOK: notebook}


def _resources(run: Run) -> Resources:
    return Resources(cpu_milli=run.cpu_milli, memory_mib=run.memory_mib, gpus=run.cards)

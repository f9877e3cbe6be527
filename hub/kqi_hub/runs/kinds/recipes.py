"""One recipe for each kind; the table is the only place that knows which."""

from collections.abc import Callable, Mapping
from dataclasses import replace

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
    command = ("/bin/sh", "-c", _SHELL, "kqi", *strict, "-c", run.command)
    common = _common(run, inputs, command, contract.GIT)
    return replace(common, scratches=(*common.scratches, Scratch(target=contract.home(run))))


def notebook(run: Run, inputs: Inputs) -> Workload:
    """JupyterLab in the kept output folder, with the person's lasting home; the Spawner adds address and port."""
    common = _common(run, inputs, ("jupyterhub-singleuser",), contract.OUTPUT)
    home = contract.home(run)
    own = (Mount(source=inputs.home, target=home, access=Access.READ_WRITE),) if inputs.home else ()
    shown = {name: f"../{name}" for name in ("input", "git", "parent")}
    shown |= {"workspace": f"../..{contract.workspace(run)}", "archive": f"../..{contract.archive(run)}"}
    if inputs.home:
        shown["home"] = f"../..{home}"
    links = (Link(target=f"{contract.OUTPUT}/{name}", to=to) for name, to in shown.items())
    return replace(common, mounts=(*common.mounts, *own), links=(*common.links, *links))


def _common(run: Run, inputs: Inputs, command: tuple[str, ...], workdir: str) -> Workload:
    """Return what a run of every kind is, home aside."""
    mounts, scratches, links = contract.mounts(run, inputs)
    return Workload(
        name=run.workload,
        command=command,
        image=run.image,
        workdir=workdir,
        resources=Resources(cpu_milli=run.cpu_milli, memory_mib=run.memory_mib, gpus=run.cards),
        nodes=inputs.nodes,
        shm_mib=inputs.shm_mib,
        log=run.log,
        person=run.person,
        tenant=run.tenant,
        environment={"HOME": contract.home(run), "USER": run.person, **contract.environment(run, inputs)},
        secrets=contract.secrets(inputs),
        registries=inputs.registries,
        mounts=mounts,
        scratches=scratches,
        links=links,
    )


TABLE: Mapping[Kind, Recipe] = {Kind.TRAINING: training, Kind.NOTEBOOK: notebook}

"""The `/kqi` contract: folders and environment that every run sees, on every engine."""

from kqi_hub.runs.kinds.inputs import Inputs, Parent, Tree
from kqi_hub.runs.model import Kind, Run
from kqi_spawner.workload import Access, Link, Mount, Scratch, Secret, StorePath

INPUT, GIT, OUTPUT, ATTACH, PARENT = "/kqi/input", "/kqi/git", "/kqi/output", "/kqi/attach", "/kqi/parent"
_AUTHORITIES = "/kqi/authorities.pem"

_NUMBER = {Kind.TRAINING: "TRAINING_ID", Kind.NOTEBOOK: "NOTEBOOK_ID"}
# git asks the platform for what its person has for a host; who sets other helpers has the last word.
_GIT = (("credential.helper", "!kqi git-credential"),)
# Names that a person may not set: the platform's own steps depend on them.
FIXED = frozenset(
    {
        *("LC_ALL", "LANG", "PYTHONUNBUFFERED", "KQI_SERVER", "KQI_TOKEN", "KQI_VERSION", "KQI_ROOT", "KQI_WORKLOAD"),
        *("KQI_WORKSPACE", "KQI_ARCHIVE"),
        *("TRAINING_ID", "NOTEBOOK_ID", "INFERENCE_ID", "DATASET_ID", "LOCAL_DATASET", "PARENT_ID"),
        *("MODEL_REPOSITORY", "MODEL_REPOSITORY_URL", "MODEL_REPOSITORY_TOKEN", "COMMIT_ID"),
        *("ZIP_FILE_CREATED", "ENTRY_POINT", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
        "EXPIRES_IN",
    }
)
# Git asks who owns a clone, and the platform made it.
_GIT_OF_OTHERS = (("safe.directory", "*"),)


def environment(run: Run, inputs: Inputs) -> dict[str, str]:
    """Return the variables: the administrator's defaults, then the person's, then the fixed ones."""
    source = run.source
    url = source.url if source else ""
    fixed = {
        "LC_ALL": "C.UTF-8",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "KQI_SERVER": inputs.server,
        "KQI_VERSION": inputs.version,
        "KQI_WORKSPACE": workspace(run),
        "KQI_ARCHIVE": archive(run),
        _NUMBER[run.kind]: str(run.number),
        "DATASET_ID": str(run.dataset or ""),
        "LOCAL_DATASET": "true" if run.local_dataset else "false",
        "PARENT_ID": ",".join(str(number) for number in run.parents),
        "MODEL_REPOSITORY": url,
        "MODEL_REPOSITORY_URL": url,
        "MODEL_REPOSITORY_TOKEN": "",
        "COMMIT_ID": source.commit if source else "",
        "ENTRY_POINT": run.command,
        "ZIP_FILE_CREATED": "true" if run.zip else "false",
    }
    if run.kind is Kind.NOTEBOOK:
        fixed["EXPIRES_IN"] = "0"  # seconds; 0: it runs until it is stopped
    trusted = {"KQI_CA_FILE": _AUTHORITIES} if inputs.authorities else {}
    return {"COLUMNS": "200", **_git(inputs), **trusted, **inputs.defaults, **run.environment, **fixed}


def _git(inputs: Inputs) -> dict[str, str]:
    """Return what git is configured with, as it takes it from variables."""
    pairs = [*_GIT, *(_GIT_OF_OTHERS if inputs.shared else ())]
    return {"GIT_CONFIG_COUNT": str(len(pairs))} | {
        f"GIT_CONFIG_{part}_{number}": text
        for number, pair in enumerate(pairs)
        for part, text in zip(("KEY", "VALUE"), pair, strict=True)
    }


def home(run: Run) -> str:
    return f"/home/{run.person}"


def workspace(run: Run) -> str:
    return f"/mnt/{run.person}"


def archive(run: Run) -> str:
    return f"/archives/{run.person}"


def secrets(inputs: Inputs) -> dict[str, Secret]:
    return {"KQI_TOKEN": inputs.token}


def mounts(run: Run, inputs: Inputs) -> tuple[tuple[Mount, ...], tuple[Scratch, ...], tuple[Link, ...]]:
    """Return what the run sees below `/kqi`, and the person's own folders that all of their runs share."""
    found = [
        Mount(source=run.folder / "git", target=GIT, access=Access.READ_WRITE),
        Mount(source=run.folder / "output", target=OUTPUT, access=Access.READ_WRITE),
        Mount(source=run.folder / "attach", target=ATTACH, access=Access.READ_WRITE),
        Mount(source=inputs.workspace, target=workspace(run), access=Access.READ_WRITE),
        Mount(source=inputs.archive, target=archive(run), access=Access.READ_WRITE),
        *inputs.volumes,
    ]
    if inputs.authorities:
        found.append(_read_only(inputs.authorities, _AUTHORITIES))
    scratches: list[Scratch] = []
    links: list[Link] = []
    _dataset(run, inputs.tree, found, scratches, links)
    _parents(inputs.parents, found, scratches, links)
    return tuple(found), tuple(scratches), tuple(links)


def _dataset(run: Run, tree: Tree | None, found: list[Mount], scratches: list[Scratch], links: list[Link]) -> None:
    if tree is None:
        scratches.append(Scratch(target=INPUT))
    elif run.local_dataset:
        found.append(Mount(source=run.folder / "input", target=INPUT, access=Access.READ_WRITE))
    elif not tree.splits:
        found.append(Mount(source=tree.place, target=INPUT, access=Access.READ_ONLY))
    else:
        scratches.append(Scratch(target=INPUT))
        for name in (*tree.splits, "meta.json"):
            found.append(_read_only(tree.place / name, f"{INPUT}/{name}"))
        if "testing" in tree.splits and "test" not in tree.splits:
            links.append(Link(target=f"{INPUT}/test", to="testing"))


def _parents(parents: tuple[Parent, ...], found: list[Mount], scratches: list[Scratch], links: list[Link]) -> None:
    scratches.append(Scratch(target=PARENT))
    for parent in parents:
        found.append(_read_only(parent.output, f"{PARENT}/{parent.number}"))
    if len(parents) == 1:
        own = str(parents[0].number)
        links.extend(Link(target=f"{PARENT}/{name}", to=f"{own}/{name}") for name in parents[0].entries if name != own)


def _read_only(source: StorePath, target: str) -> Mount:
    return Mount(source=source, target=target, access=Access.READ_ONLY)

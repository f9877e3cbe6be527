"""A `Workload` as JSON, for the one hop from the api to a Spawner class in the hub process."""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from kqi_spawner.workload import Link, Mount, Registry, Resources, Scratch, Secret, StorePath, Workload

_MOUNTS = TypeAdapter(tuple[Mount, ...])
_SCRATCHES = TypeAdapter(tuple[Scratch, ...])
_LINKS = TypeAdapter(tuple[Link, ...])
_RESOURCES = TypeAdapter(Resources)


def to_json(workload: Workload) -> dict[str, Any]:
    """Return the workload with its secrets in the clear: only for an authenticated answer to the hub."""
    return {
        "name": workload.name,
        "command": list(workload.command),
        "image": workload.image,
        "workdir": workload.workdir,
        "resources": _RESOURCES.dump_python(workload.resources, mode="json"),
        "log": workload.log.text,
        "environment": dict(workload.environment),
        "secrets": {name: secret.reveal() for name, secret in workload.secrets.items()},
        "mounts": _MOUNTS.dump_python(workload.mounts, mode="json"),
        "scratches": _SCRATCHES.dump_python(workload.scratches, mode="json"),
        "links": _LINKS.dump_python(workload.links, mode="json"),
        "registries": [[one.server, one.username, one.password.reveal()] for one in workload.registries],
        "nodes": {label: list(values) for label, values in workload.nodes.items()},
        "shm_mib": workload.shm_mib,
        "person": workload.person,
        "tenant": workload.tenant,
        "port": workload.port,
    }


def from_json(raw: dict[str, Any]) -> Workload:
    """Return the workload that `to_json` wrote. Raises ValueError."""
    try:
        return Workload(
            name=raw["name"],
            command=tuple(raw["command"]),
            image=raw["image"],
            workdir=raw["workdir"],
            resources=_RESOURCES.validate_python(raw["resources"]),
            log=StorePath(raw["log"]),
            environment=raw["environment"],
            secrets={name: Secret(text) for name, text in raw["secrets"].items()},
            mounts=_MOUNTS.validate_python(raw["mounts"]),
            scratches=_SCRATCHES.validate_python(raw["scratches"]),
            links=_LINKS.validate_python(raw["links"]),
            registries=tuple(
                Registry(server=server, username=username, password=Secret(password))
                for server, username, password in raw["registries"]
            ),
            nodes={label: tuple(values) for label, values in raw["nodes"].items()},
            shm_mib=raw["shm_mib"],
            person=raw["person"],
            tenant=raw["tenant"],
            port=raw["port"],
        )
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        raise ValueError(f"not a workload: {error}") from error

"""What the hub is told to start is what the api meant."""

import json
from dataclasses import replace

import pytest

from kqi_spawner import wire
from kqi_spawner.workload import Registry, Secret, Workload
from tests.unit.spawner.samples import MODELS, NOTEBOOK, TRAINING


@pytest.mark.parametrize(
    "workload",
    [
        TRAINING,
        NOTEBOOK,
        replace(TRAINING, mounts=(*TRAINING.mounts, *MODELS)),
        replace(NOTEBOOK, person="a", tenant="b"),
    ],
)
def test_a_workload_comes_back_as_it_was(workload: Workload) -> None:
    found = wire.from_json(json.loads(json.dumps(wire.to_json(workload))))
    assert {name: secret.reveal() for name, secret in found.secrets.items()} == {
        name: secret.reveal() for name, secret in workload.secrets.items()
    }
    assert replace(found, secrets={}) == replace(workload, secrets={})


def test_what_opens_registries_comes_along_and_does_not_show_itself() -> None:
    own = Registry(server="registry.example", username="alice", password=Secret("canary"))
    found = wire.from_json(json.loads(json.dumps(wire.to_json(replace(TRAINING, registries=(own,))))))
    (one,) = found.registries
    assert (one.server, one.username, one.password.reveal()) == ("registry.example", "alice", "canary")
    assert "canary" not in repr(found)

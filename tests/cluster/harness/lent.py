"""Somebody's cluster, used in namespaces of the tests' own where `KUBECONFIG` and two words more say so."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.cluster.harness import build


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """What the contract asks of a cluster, of one that is not the tests' own."""

    kubeconfig: Path
    folder: Path  # seen by the nodes and by this machine under one name
    image: str  # with busybox in it

    @classmethod
    def of_environment(cls) -> Self | None:
        """Return it if `KUBECONFIG`, `KQI_TEST_STORE` and `KQI_TEST_IMAGE` are set: one alone may be an accident."""
        named = [os.environ.get(name) for name in ("KUBECONFIG", "KQI_TEST_STORE", "KQI_TEST_IMAGE")]
        if not all(named):
            return None
        kubeconfig, folder, image = map(str, named)
        return cls(kubeconfig=Path(kubeconfig).absolute(), folder=Path(folder).absolute(), image=image)

    def kubectl(self, *words: object, text: str | None = None, check: bool = True) -> str:
        (kubernetes,) = build.binaries(["kubernetes"])
        done = subprocess.run(
            [kubernetes / "kube", "kubectl", "--kubeconfig", self.kubeconfig, *map(str, words)],
            input=text,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + ("" if done.returncode == 0 else done.stderr)

"""What trainings and notebooks are given, as options: code, dataset, parents, image, environment, resources."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from kqi.cli.commands import Opt
from kqi.cli.dataset import use
from kqi.cli.exits import UsageProblem
from kqi.cli.session import Session
from kqi.client.errors import BadFile
from kqi.schema import Archive, AskedResources, DatasetUse, Git


@dataclass(frozen=True, kw_only=True)
class Code:
    git: Annotated[str | None, Opt("cli.input.git", metavar="URL")] = None
    branch: Annotated[str | None, Opt("cli.input.branch", metavar="NAME")] = None
    commit: Annotated[str | None, Opt("cli.input.commit", metavar="SHA")] = None
    directory: Annotated[Path | None, Opt("cli.input.directory", ("--directory", "-d"), "DIR")] = None

    def source(self, session: Session) -> Git | Archive | None:
        """Return where the code is; a folder is packed and sent first."""
        if self.git and self.directory:
            raise UsageProblem("cli.input.git_or_directory")
        if self.git:
            return Git(url=self.git, branch=self.branch, commit=self.commit)
        if self.branch or self.commit:
            raise UsageProblem("cli.input.git_missing")
        if self.directory is None:
            return None
        if not self.directory.is_dir():
            raise BadFile("error.not_a_folder", path=self.directory)
        session.out.tell("cli.input.packing", folder=self.directory)
        return session.client.trainings.send_code(self.directory)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    dataset: Annotated[str | None, Opt("cli.input.dataset", metavar="ID[:VERSION]")] = None
    parent: Annotated[list[int], Opt("cli.input.parent", metavar="ID")] = field(default_factory=list)
    env: Annotated[list[str], Opt("cli.input.env", ("--env", "-e"), "NAME=VALUE")] = field(default_factory=list)

    def use(self) -> DatasetUse | None:
        return use(self.dataset) if self.dataset else None

    def environment(self) -> dict[str, str]:
        """Return the variables; a name alone takes its value from here."""
        found: dict[str, str] = {}
        for text in self.env:
            name, equals, value = text.partition("=")
            if not equals and name not in os.environ:
                raise UsageProblem("cli.input.bad_env", text=text)
            found[name] = value if equals else os.environ[name]
        return found


@dataclass(frozen=True, kw_only=True)
class Resources:
    cpu: Annotated[float | None, Opt("cli.input.cpu", metavar="CORES")] = None
    memory: Annotated[float | None, Opt("cli.input.memory", metavar="GB")] = None
    gpu: Annotated[int | None, Opt("cli.input.gpu", metavar="N")] = None
    gpu_kind: Annotated[str | None, Opt("cli.input.gpu_kind", metavar="KIND")] = None

    def asked(self, otherwise: AskedResources | None = None) -> AskedResources | None:
        """Return what was asked for, the rest as in `otherwise`; None if nothing was."""
        given = {"cpu": self.cpu, "memory_gb": self.memory, "gpu": self.gpu, "gpu_kind": self.gpu_kind}
        given = {name: value for name, value in given.items() if value is not None}
        if not given:
            return None
        return AskedResources.model_validate({**(otherwise or AskedResources()).model_dump(), **given})

"""A person at a terminal: the `kqi` command as a process of its own, with a home of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@dataclass(frozen=True, kw_only=True)
class Person:
    home: Path
    server: str
    variables: dict[str, str] = field(default_factory=dict)
    started: list["subprocess.Popen[str]"] = field(default_factory=list, repr=False)

    def __call__(self, *words: object, text: str = "", **variables: str) -> Ended:
        process = self.start(*words, **variables)
        out, err = process.communicate(text, timeout=90)
        assert "Traceback" not in err, err
        return Ended(code=process.returncode, out=out, err=err)

    def start(self, *words: object, **variables: str) -> "subprocess.Popen[str]":
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8", "COLUMNS": "200"}
        process = subprocess.Popen(
            [sys.executable, "-m", "kqi", *map(str, words)],
            env={**environment, **self.variables, **variables},
            cwd=self.home,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.started.append(process)
        return process

    def leave(self) -> None:
        """End what a failed test left."""
        for process in self.started:
            process.kill()
            process.wait()

    def train(self, command: str, *more: object) -> int:
        """Start a training and return its number."""
        return int(self("training", "create", "--title", "t", "-c", command, "--json", *more).json["id"])

"""A user's whole day, told as it goes, on whatever platform there is."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from tests.demo import digits, lab
from tests.platform import PASSWORD

_HERE = Path(__file__).parent
USER = "hanako"


class Around(Protocol):
    """A platform that a day can be lived on: where people open it, where its store is seen, and its administrator."""

    @property
    def url(self) -> str: ...

    @property
    def store(self) -> Path: ...

    def add_user(self, name: str, *more: str) -> None: ...


class Day:
    """A person at the command line of their own computer. `training` are further words of each training."""

    def __init__(self, platform: Around, home: Path, *training: str) -> None:
        self.platform = platform
        self.home = home
        self.home.mkdir(mode=0o755)
        self.training = training
        self.step = 0

    def say(self, text: str) -> None:
        self.step += 1
        sys.stdout.write(f"\n\x1b[1m{self.step}. {text}\x1b[0m\n")
        sys.stdout.flush()

    def kqi(self, *words: str, text: str | None = None, show: bool = True) -> str:
        """Run `kqi` as a person would, and show the line."""
        if show:
            sys.stdout.write(f"   $ kqi {' '.join(words)}\n")
            sys.stdout.flush()
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8", "KQI_LANG": "en"}
        command = [sys.executable, "-m", "kqi", *words]
        done = subprocess.run(command, env=environment, input=text, stdout=subprocess.PIPE, text=True, cwd=self.home)
        if done.returncode != 0:
            raise SystemExit(f"kqi {' '.join(words)} ended with {done.returncode}: {done.stdout}")
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.kqi(*words, "--json"))

    def repository(self) -> Path:
        """Make a small repository with a real training in it; return where it lies here."""
        place = self.home / "digits-training"
        shutil.copytree(_HERE / "repository", place)
        who = ["-c", "user.name=Hanako", "-c", "user.email=hanako@example.org"]
        for words in (
            ["init", "-q", "-b", "main"],
            ["add", "."],
            ["commit", "-q", "-m", "Train on handwritten digits"],
        ):
            subprocess.run(["git", *who, *words], cwd=place, check=True)
        return place


def live(day: Day, published: Callable[[Path], str] = str, pictures: Path = Path("/var/tmp/kqi-demo")) -> Path:
    """Live the day; return the folder of the pictures. `published` makes a folder a repository that has an address."""
    platform = day.platform
    platform.add_user(USER, "--display-name", "Hanako")
    day.say("Sign in")
    day.kqi("login", platform.url, "--user", USER, text=PASSWORD + "\n")
    day.say("Upload the 1,797 handwritten digits of scikit-learn as PNG files")
    counts = digits.write(day.home / "digits")
    data = {
        split: day.json("data", "upload", str(day.home / "digits" / split), "--name", f"digits {split}")
        for split in counts
    }
    for split, made in data.items():
        assert made["files"] == counts[split], made
    day.say("Make a dataset with a training and a testing part")
    splits = [word for split, made in data.items() for word in ("--split", f"{split}={made['id']}")]
    dataset = day.json("dataset", "create", "digits", *splits)
    day.say("Train from a git commit and follow the log")
    source = ["--git", published(day.repository()), "--dataset", str(dataset["id"]), "-c", "python train.py"]
    source += day.training
    sys.stdout.write(day.kqi("training", "create", "--title", "digits, first", *source, "--follow"))
    first = day.json("training", "list")
    first = (first["items"] if isinstance(first, dict) else first)[0]
    check(day, first["id"])
    day.say("Train on from its result: the first training is the parent")
    more = ["--parent", str(first["id"]), "-e", "EPOCHS=10"]
    sys.stdout.write(day.kqi("training", "create", "--title", "digits, second", *source, *more, "--follow"))
    day.say("Open JupyterLab in a browser and run a notebook on the dataset and the parent's model")
    inputs = ["--dataset", str(dataset["id"]), "--parent", str(first["id"])]
    notebook = day.json("notebook", "create", "--title", "look", "--wait", *inputs)
    text = look(day, notebook)
    sys.stdout.write(f"   {text}\n")
    assert f"held out: {counts['testing']}" in text, text
    day.kqi("notebook", "stop", str(notebook["id"]))
    shutil.rmtree(pictures, ignore_errors=True)
    shutil.copytree(day.home / "pictures", pictures)
    return pictures


def check(day: Day, number: int) -> None:
    """Bring the results home and look at them."""
    day.say("Look at the results")
    target = day.home / f"results-{number}"
    day.kqi("training", "download", str(number), str(target))
    accuracy = float((target / "value.txt").read_text())
    sys.stdout.write(f"   accuracy {accuracy}; {sorted(path.name for path in target.iterdir())}\n")
    assert accuracy >= 0.95
    assert (target / "confusion.png").read_bytes().startswith(b"\x89PNG") and list((target / "tensorboard").iterdir())


def look(day: Day, notebook: Any) -> str:
    pictures = day.home / "pictures"
    pictures.mkdir()
    place = day.platform.store / "runs" / "notebook" / str(notebook["id"]) / "output" / "demo.ipynb"
    place.write_text(lab.notebook_text())
    owner = place.parent.stat()
    os.chown(place, owner.st_uid, owner.st_gid)
    return lab.run_notebook(
        day.platform.url, notebook["url"].removeprefix(day.platform.url), USER, PASSWORD, pictures / "lab.png"
    )

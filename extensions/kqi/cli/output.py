"""What a command answers: tables for people, JSON for programs; everything else goes to the error output."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from kqi.client.progress import Progress, Report
from kqi.texts import say

PIPE_WIDTH = 240  # columns of a table that is piped into another program
Cell = str | int | float | bool | datetime | None


class Output:
    """The two consoles; `machine` says that the standard output is for a program."""

    def __init__(self, machine: bool) -> None:
        self.machine = machine
        self._out = Console(highlight=False, soft_wrap=True)
        if not self._out.is_terminal:
            self._out.width = PIPE_WIDTH
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)

    def tell(self, key: str, /, **values: object) -> None:
        """Say something to the person; never part of the answer."""
        self._err.print(Text(say(key, **values).rstrip()))

    def answer(self, model: BaseModel, rows: Sequence[tuple[str, Cell]], **more: object) -> None:
        """Answer one thing: as JSON, `more` beside its fields, or as a table of keys of the catalogue and values."""
        if self.machine:
            self.json({**model.model_dump(mode="json"), **more})
            return
        table = Table(box=None, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for key, cell in rows:
            if cell not in (None, ""):
                table.add_row(Text(say(key)), Text(shown(cell)))
        self._out.print(table)

    def table(self, models: Iterable[BaseModel], heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """Answer a list: as a JSON array, or as a table whose heads are keys of the catalogue."""
        if self.machine:
            self.json([model.model_dump(mode="json") for model in models])
            return
        table = Table(box=None)
        for head in heads:
            table.add_column(Text(say(head)), overflow="fold")
        for row in rows:
            table.add_row(*(Text(shown(cell)) for cell in row))
        self._out.print(table, soft_wrap=False)

    def done(self, value: dict[str, object], key: str) -> None:
        """Answer that something was done: as JSON, or as a sentence made with the same values."""
        if self.machine:
            self.json(value)
        else:
            self._out.print(Text(say(key, **value)))

    def json(self, value: object) -> None:
        sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")

    def text(self, text: str) -> None:
        """Answer with text that has a form of its own."""
        sys.stdout.write(text)

    def raw(self, piece: bytes) -> None:
        """Pass on the bytes of a log: beside the answer when the standard output is for a program."""
        stream = sys.stderr if self.machine else sys.stdout
        stream.buffer.write(piece)
        stream.buffer.flush()

    @contextmanager
    def transfer(self, key: str) -> Iterator[Report | None]:
        """Show a bar while files travel, on a terminal."""
        if self.machine or not self._err.is_terminal:
            yield None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True))
        with Bars(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=self._err, transient=True) as bars:
            task = bars.add_task(say(key), total=None)

            def report(now: Progress) -> None:
                text = say("cli.transfer.files", what=say(key), done=now.files, total=now.files_total)
                bars.update(task, completed=now.bytes, total=now.bytes_total, description=text)

            yield report


def shown(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return say("cli.yes") if cell else say("cli.no")
    if isinstance(cell, datetime):
        return cell.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return str(cell)


def size(count: int | None) -> str:
    """Return a number of bytes for people."""
    if count is None:
        return ""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"

"""Several processes that bring one database up to date at once."""

import os
import subprocess
from pathlib import Path

from tests import database
from tests.platform import PROGRAM


def test_of_several_that_migrate_at_once_one_does_and_all_go_on(tmp_path: Path) -> None:
    section = database.empty()
    (tmp_path / "state").mkdir()
    words = [PROGRAM, "migrate", "--state", tmp_path / "state"]
    environment = {**os.environ, "LANG": "C.UTF-8", **database.variables(section)}
    racing = [
        subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(4)
    ]
    said = [process.communicate(timeout=120)[0] for process in racing]
    assert [process.returncode for process in racing] == [0] * 4, said
    assert all("0002" in text for text in said)
    assert database.execute(tmp_path / "state", section, "select version_num from alembic_version") == [("0002",)]

"""Several processes that bring one database up to date at once."""

import os
import subprocess
from pathlib import Path

import kqi_hub.db.migrations.versions
from tests import database
from tests.platform import PROGRAM

VERSIONS = Path(kqi_hub.db.migrations.versions.__file__).parent


def test_of_several_that_migrate_at_once_one_does_and_all_go_on(tmp_path: Path) -> None:
    newest = max(path.stem[:4] for path in VERSIONS.glob("0*.py"))
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
    assert all(newest in text for text in said)
    assert database.execute(tmp_path / "state", section, "select version_num from alembic_version") == [(newest,)]

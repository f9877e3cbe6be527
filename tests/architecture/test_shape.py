"""What no linter keeps: sizes, places of things, complete translations, one schema."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from kqi_hub import bootstrap
from kqi_hub.db.base import Base
from kqi_hub.db.migrate import migrate
from kqi_hub.db.sqlite import SqliteFile
from kqi_hub.i18n.catalogue import LANGUAGES, catalogue

ROOT = Path(__file__).parents[2]
PRODUCT = ("hub", "spawner", "extensions")


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", [*PRODUCT, "tests", "bench", "images"])
def test_no_module_has_more_than_400_lines(folder: str) -> None:
    long = {str(path): count for path in sources(folder) if (count := len(path.read_text().splitlines())) > 400}
    assert not long


def test_the_environment_is_read_in_one_place() -> None:
    readers = [
        path
        for path in sources("hub", "spawner")
        if re.search(r"os\.(environ|getenv)", path.read_text()) and path.name != "jupyter_server_config.py"
    ]
    assert [path.name for path in readers] == ["settings.py"], readers


def test_routes_hold_no_except_but_where_an_error_is_the_answer() -> None:
    """`except` in an api module is a rule about HTTP in the wrong place."""
    counted = {
        str(path.relative_to(ROOT)): count
        for path in sources("hub")
        if path.name == "api.py" and (count := path.read_text().count("except "))
    }
    # A path that is not valid, a promise of a hash that was not kept, and a run that is gone while one waits for it.
    assert counted == {"hub/kqi_hub/data/api.py": 2, "hub/kqi_hub/runs/api.py": 1}


def test_words_of_kubernetes_appear_only_under_its_folder() -> None:
    words = re.compile(r"\b(pods?|configmaps?|kubelet|persistentvolumeclaims?)\b", re.IGNORECASE)
    # The Spawner of a cluster is a KubeSpawner, whose traits speak of them; so does the grammar of another system.
    allowed = (
        "hub/kqi_hub/tenants/expand.py",
        *("spawner/kqi_spawner/kubernetes", "spawner/kqi_spawner/jupyterhub/kube_"),
        "spawner/kqi_spawner/__init__.py",
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources(*PRODUCT)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if words.search(line) and not str(path.relative_to(ROOT)).startswith(allowed)
    ]
    assert not [
        place for place in found if not place.startswith(("spawner/kqi_spawner/workload.py", "hub/kqi_hub/supervisor"))
    ]


def test_every_language_says_everything_with_the_same_numbers_in_it() -> None:
    english = catalogue("en")
    for language in LANGUAGES:
        texts = catalogue(language)
        assert texts.keys() == english.keys(), language
        for key, text in texts.items():
            assert text.strip(), (language, key)
            assert _names(text) == _names(english[key]), (language, key)


def test_every_error_code_has_a_text() -> None:
    known = catalogue("en").keys()
    missing = {code for path in sources("hub") for code in _codes(path) if code not in known}
    assert not missing


def test_the_migrations_make_the_schema_of_the_rows(tmp_path: Path) -> None:
    assert bootstrap  # imports every row
    place = SqliteFile(tmp_path / "kqi.sqlite")
    migrate(place)
    engine = place.sync_engine()
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_every_module_can_be_imported_with_an_empty_environment_and_does_nothing() -> None:
    names = [
        ".".join(path.relative_to(ROOT / folder).with_suffix("").parts).removesuffix(".__init__")
        for folder in PRODUCT
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not {"migrations", "__main__.py", "jupyterhub_config.py", "jupyter_server_config.py"} & set(path.parts)
    ]
    script = (
        "import importlib, socket, sys\n"
        "def closed(*a, **k): raise AssertionError('a socket at import')\n"
        "socket.socket.connect = closed\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )
    python = ROOT / ".venv" / "bin" / "python"
    done = subprocess.run([python, "-I", "-c", script], env={}, capture_output=True, text=True, cwd="/", timeout=120)
    assert done.returncode == 0, done.stderr


def test_no_file_holds_a_download_address() -> None:
    locks = [*ROOT.glob("requirements/*.txt"), *ROOT.rglob("package-lock.json"), *ROOT.glob("hub/**/default.txt")]
    locks = [path for path in locks if not {".venv", "node_modules"} & set(path.parts)]
    assert locks
    for path in locks:
        text = path.read_text()
        assert '"resolved"' not in text and not re.search(r"https?://\S+\.(tgz|whl|tar\.gz|zip)|index-url", text), path


def _names(text: str) -> list[str]:
    return sorted(re.findall(r"\{(\w+)", text))


def _codes(path: Path) -> Iterator[str]:
    errors = {"Invalid", "Conflict", "Forbidden", "NotSignedIn", "TooLarge", "TooMany", "Unavailable", "ConfigError"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in errors and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value

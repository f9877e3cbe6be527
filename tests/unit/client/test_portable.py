"""The package is for laptops of every system."""

import ast
import subprocess
import sys
from pathlib import Path

import kqi

POSIX = (
    "fcntl",
    "pwd",
    "grp",
    "resource",
    "termios",
    "tty",
    "pty",
    "posix",
    "syslog",
    "readline",
    "crypt",
    "spwd",
    "nis",
)
FOLDER = Path(kqi.__file__).parent

BLOCKED = """
import sys

class Gate:
    def find_spec(self, name, path=None, target=None):
        if name in {names}:
            raise ImportError(f"{{name}} is not there")

for name in {names}:
    if name != "posix":
        sys.modules.pop(name, None)
sys.meta_path.insert(0, Gate())
import kqi.cli
print(sorted(name for name in sys.modules if name.split(".")[0] in ("kqi_hub", "kqi_spawner", "sqlalchemy", "fastapi")))
"""


def test_it_is_imported_without_modules_of_posix() -> None:
    names = repr({name for name in POSIX if name not in {"posix", "termios"}})
    code = BLOCKED.format(names=names)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_no_name_of_posix_is_used() -> None:
    forbidden = {"getuid", "geteuid", "fork", "chown", "mkfifo", "SIGKILL", "killpg", "getpgid", "O_NOFOLLOW"}
    for path, tree in _trees():
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        imported = {name for node in ast.walk(tree) for name in _imports(node)}
        assert not used & forbidden, path
        assert not imported & set(POSIX), path


def test_only_the_named_libraries_are_imported() -> None:
    allowed = set(sys.stdlib_module_names) | {"kqi", "httpx", "pydantic", "pydantic_core", "typer", "rich"}
    for path, tree in _trees():
        assert {name for node in ast.walk(tree) for name in _imports(node)} <= allowed, path


def test_texts_are_read_and_written_as_utf_8() -> None:
    for path, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in {"read_text", "write_text", "fdopen"}:
                assert "encoding" in {keyword.arg for keyword in node.keywords}, f"{path}:{node.lineno}"


def _trees() -> list[tuple[Path, ast.AST]]:
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in FOLDER.rglob("*.py")]


def _imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module.split(".")[0]]
    return []

"""The client as a wheel, made from what is installed here, so that laptops get the version that fits this platform."""

import base64
import csv
import hashlib
import io
import zipfile
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import kqi

NAME = f"kqi-{kqi.__version__}-py3-none-any.whl"
_SKIPPED = {"__pycache__"}


@cache
def wheel() -> bytes:
    """Return the wheel (PEP 427): the package `kqi`, its dependencies without extras, and the command `kqi`."""
    root = Path(kqi.__file__).parent
    files = {
        f"kqi/{path.relative_to(root).as_posix()}": path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not _SKIPPED & set(path.parts)
    }
    info = f"kqi-{kqi.__version__}.dist-info"
    files[f"{info}/METADATA"] = _metadata().encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: kqi-hub\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = b"[console_scripts]\nkqi = kqi.cli:main\n"
    record = io.StringIO()
    writer = csv.writer(record, lineterminator="\n")
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        writer.writerow([name, f"sha256={digest}", len(content)])
    writer.writerow([f"{info}/RECORD", "", ""])
    files[f"{info}/RECORD"] = record.getvalue().encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _metadata() -> str:
    installed = distribution("kqi")
    needed = [line for line in installed.requires or [] if "extra ==" not in line]
    lines = ["Metadata-Version: 2.1", "Name: kqi", f"Version: {kqi.__version__}", "Requires-Python: >=3.11"]
    return "\n".join([*lines, *(f"Requires-Dist: {line}" for line in needed)]) + "\n"

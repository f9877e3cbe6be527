"""A tenant is erased while the api dies after every single step of it."""

import time
from typing import Any

import httpx
import pytest

from tests.drills.kills import stubborn
from tests.integration.api.caller import packed
from tests.platform import Platform, wait_for

_TRAININGS, _DATA = 3, 2


@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", ["erased", "folders_erased"])
def test_a_tenant_is_erased_once_though_the_api_dies_at_every_step(point: str) -> None:
    with Platform(environment=False) as own:
        own.command("image", "add", "default", "--python", "/usr/bin/python3")
        own.add_user("boss", "--admin")
        with own.client("boss") as client:
            kept, gone = _filled(client, "kept"), _filled(client, "gone")
            client.post("/tenants/gone/archive").raise_for_status()
            config = own.state / "kqi-hub.toml"
            config.write_text(f'crash = "{point}"\n')
            own.kill("api")
            answer = stubborn(client, "POST", "/tenants/gone/erase", json={"name": "gone"})
            assert answer.status_code == 202, answer.text
            number = answer.json()["id"]
            end = time.monotonic() + 200
            while _deaths(own) < 3:  # by our kill, and at the point
                assert time.monotonic() < end, own.said()
                time.sleep(0.05)
            if point == "folders_erased":  # it would die there again and again
                config.write_text("")
            while not (report := stubborn(client, "GET", f"/erasures/{number}").json())["finished_at"]:
                assert time.monotonic() < end, report
                time.sleep(0.1)
            counts = report["counts"]
            assert (counts["runs"], counts["data"], counts["members"]) == (_TRAININGS, _DATA, 1), counts
            assert counts["run_bytes"] >= 2 * _TRAININGS and counts["data_bytes"] == _DATA
            assert client.get("/trainings", params={"tenant": "gone"}).status_code in {403, 404}
            runs = own.state / "store" / "runs" / "training"
            assert not [number for number in gone if (runs / str(number)).exists()]
            assert all((runs / str(number) / "output").is_dir() for number in kept)
            listed = client.get("/trainings", params={"tenant": "kept"}).json()["items"]
            assert {run["id"] for run in listed} == kept
            said = client.get("/admin/audit", params={"action": "tenant.erased"}).json()["items"]
            assert [entry["object"] for entry in said] == ["tenant/gone"]


def _deaths(own: Platform) -> int:
    return sum("api      | ended (" in line for line in list(own.output))


def _filled(client: httpx.Client, tenant: str) -> set[int]:
    """Make a tenant with data and ended trainings; return the numbers of these."""
    where: dict[str, Any] = {"params": {"tenant": tenant}}
    client.post("/tenants", json={"name": tenant, "display_name": tenant}).raise_for_status()
    for number in range(_DATA):
        kind = {"Content-Type": "application/x-tar"}
        sent = client.post("/uploads/batch", content=packed({"f": str(number).encode()}), headers=kind, **where).json()
        files = [{"path": file["path"], "sha256": file["sha256"]} for file in sent["files"]]
        client.post("/data", json={"name": f"d{number}", "files": files}, **where).raise_for_status()
    small = {"command": "echo x > $KQI_ROOT/output/f", "resources": {"cpu": 0.1, "memory_gb": 0.1}}
    runs = [client.post("/trainings", json=small, **where).json()["id"] for _ in range(_TRAININGS)]
    for run in runs:
        wait_for(client, f"/trainings/{run}", "completed")
    return set(runs)

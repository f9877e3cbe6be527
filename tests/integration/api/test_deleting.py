"""Deleted runs: gone at once, and their folders soon after."""

import asyncio

import pytest

from kqi_hub.testing.service import Running
from tests.contract.looks import ROOT_ONLY
from tests.integration.api.caller import Caller
from tests.integration.api.mounts import busy

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_deleting_removes_the_folder_and_the_number_is_not_used_again(service: Running, alice: Caller) -> None:
    run = await alice.train("echo x > $KQI_ROOT/output/f; mkdir -m 0 $KQI_ROOT/output/closed")
    await alice.ended(run["id"])
    folder = service.settings.store / "runs" / "training" / str(run["id"])
    assert folder.exists()
    await alice.delete(f"/trainings/{run['id']}")
    assert not folder.exists()
    await alice.get(f"/trainings/{run['id']}", 404)
    later = await alice.train("true")
    assert later["id"] > run["id"]
    await alice.ended(later["id"])
    while any((service.settings.store / "runs" / ".gone").iterdir()):  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def test_a_deletion_that_came_to_nothing_leaves_the_folder_where_it_was(service: Running, alice: Caller) -> None:
    kept, deleted = [await alice.ended((await alice.train("echo x > $KQI_ROOT/output/f"))["id"]) for _ in range(2)]
    root = service.settings.store / "runs"
    (root / ".gone").mkdir(exist_ok=True)
    # As a process leaves it that ends before it has committed.
    (root / "training" / str(kept["id"])).rename(root / ".gone" / f"training-{kept['id']}")
    await alice.delete(f"/trainings/{deleted['id']}")
    while not (root / "training" / str(kept["id"])).exists():  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    assert (await alice.client.get(f"/trainings/{kept['id']}/outputs/content/f")).content == b"x\n"


@ROOT_ONLY
async def test_a_run_is_deleted_though_its_folder_can_not_be_removed_yet(service: Running, alice: Caller) -> None:
    run = await alice.ended((await alice.train("mkdir $KQI_ROOT/output/busy"))["id"])
    root = service.settings.store / "runs"
    with busy(root / "training" / str(run["id"]) / "output" / "busy"):
        await alice.delete(f"/trainings/{run['id']}")
        await alice.get(f"/trainings/{run['id']}", 404)
    while any((root / ".gone").iterdir()):  # noqa: ASYNC110
        await asyncio.sleep(0.05)

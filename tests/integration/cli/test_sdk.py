"""`import kqi` against the real platform, once blocking and once on an event loop."""

from pathlib import Path

import kqi
from kqi.schema import CreateData, CreateDataset, CreateTraining, DatasetUse, Entries, Phase
from tests.platform import Platform

COMMAND = 'cat "$KQI_ROOT"/input/training/*/*.txt > "$KQI_ROOT/output/all.txt"; echo done'


def test_a_blocking_program_goes_from_files_to_results(platform: Platform, folder: Path) -> None:
    (folder / "一.txt").write_text("one")
    with kqi.Client(platform.url, token=platform.token("alice")) as client:
        assert client.me().name == "alice"
        data = client.data.upload([folder / "一.txt"], CreateData(name="files"))
        entries = Entries(splits={"training": [data.id]})
        dataset = client.datasets.create(CreateDataset(name="set", entries=entries))
        asked = CreateTraining(title="t", command=COMMAND, dataset=DatasetUse(id=dataset.id))
        run = client.trainings.create(asked)
        assert b"".join(client.trainings.follow(run.id)) == b"done\n"
        assert client.trainings.wait(run.id).phase is Phase.COMPLETED
        places = client.trainings.download(run.id, folder / "back")
        assert [place.read_text() for place in places if place.name == "all.txt"] == ["one"]


async def test_a_program_on_an_event_loop_does_the_same(platform: Platform, folder: Path) -> None:
    (folder / "一.txt").write_text("one")
    async with kqi.AsyncClient(platform.url, token=platform.token("alice")) as client:
        data = await client.data.upload([folder / "一.txt"], CreateData(name="files"))
        entries = Entries(splits={"training": [data.id]})
        dataset = await client.datasets.create(CreateDataset(name="set", entries=entries))
        asked = CreateTraining(title="t", command=COMMAND, dataset=DatasetUse(id=dataset.id))
        run = await client.trainings.create(asked)
        assert b"".join([piece async for piece in client.trainings.follow(run.id)]) == b"done\n"
        assert (await client.trainings.wait(run.id)).phase is Phase.COMPLETED
        places = await client.trainings.download(run.id, folder / "back")
        assert [place.read_text() for place in places if place.name == "all.txt"] == ["one"]
        assert run.id in [found.id async for found in client.trainings.list()]

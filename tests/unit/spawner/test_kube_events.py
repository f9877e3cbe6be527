"""What a hub keeps of the events of a cluster."""

from kqi_spawner.jupyterhub.kube_events import Newest


def test_only_the_newest_are_kept_and_little_of_them() -> None:
    kept = Newest()
    for number in range(2500):
        kept[f"ns/{number}"] = {"metadata": {"name": str(number), "managedFields": [{}]}, "message": "m"}
    kept["ns/600"] = {"metadata": {"name": "600"}, "message": "again"}
    assert len(kept) == 2000 and next(iter(kept)) == "ns/500"
    assert kept["ns/2499"] == {"metadata": {"name": "2499"}, "message": "m"}
    assert list(kept)[-1] == "ns/600"

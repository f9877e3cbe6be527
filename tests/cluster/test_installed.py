"""The platform on a cluster as its administrator and its people have it: the chart, its images, the command line."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from images.make import Plan, archives, build
from images.rootfs import cache
from kqi_hub.db.revision import HEAD
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.network import API_PORT, CONTROL, INTRANET, METADATA, OUTSIDE, PODS
from tests.cluster.helm import CHART
from tests.cluster.installed import IMAGES, NAME, SPACE, WORK, Installed
from tests.demo.day import Day, live
from tests.platform import PASSWORD

pytestmark = pytest.mark.timeout(1800)
_USER = "taro"
_ENDED = {"completed", "failed", "stopped", "canceled"}
_REACH = """
import socket
for name, port in {places}:
    try:
        socket.create_connection((name, port), 3).close()
        print(name, port, "open")
    except OSError as error:
        print(name, port, "closed")
"""


@pytest.fixture(scope="module")
def platform(cluster: Cluster) -> Iterator[Installed]:
    plan = Plan(names=IMAGES, tag="test")
    list(build(plan))
    files = archives([plan.reference(name) for name in IMAGES], cache() / "archives")
    with Installed(cluster=cluster, images=files, tag=plan.tag) as installed:
        installed.add_user(_USER)
        yield installed


@pytest.fixture(scope="module")
def day(platform: Installed) -> Iterator[Day]:
    """Somebody who has signed in at the command line."""
    place = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-home-"))
    someone = Day(platform, place / "home")
    someone.kqi("login", platform.url, "--user", _USER, text=PASSWORD + "\n")
    yield someone
    shutil.rmtree(place)


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.3)


def train(day: Day, command: str, *more: str) -> int:
    return int(day.json("training", "create", "-c", command, *more)["id"])


def phase(day: Day, number: int) -> str:
    return str(day.json("training", "get", str(number))["phase"])


def finished(day: Day, number: int) -> str:
    """Wait for a training's end; return its log."""
    until(lambda: phase(day, number) in _ENDED)
    said = day.kqi("training", "logs", str(number))
    assert phase(day, number) == "completed", said
    return said


def close(day: Day, notebook: int) -> None:
    day.kqi("notebook", "stop", str(notebook))
    until(lambda: day.json("notebook", "get", str(notebook))["phase"] in _ENDED)


def pods(platform: Installed) -> dict[str, str]:
    """Return the work that is there: uid by name."""
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in platform.get("pods")}


def test_the_day_of_the_demonstration(platform: Installed, tmp_path: Path) -> None:
    pictures = live(Day(platform, tmp_path / "home", "--gpu", "1"), platform.published, tmp_path / "pictures")
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures.iterdir())


def test_a_training_gets_a_card_and_its_files_and_gives_results(platform: Installed, day: Day) -> None:
    number = train(day, "ls -d /kqi/*; echo cards=$CARDS; id -u; echo 0.5 >/kqi/output/value.txt", "--gpu", "1")
    said = finished(day, number)
    assert "/kqi/output" in said and "1000" in said.splitlines()
    target = day.home / "results"
    day.kqi("training", "download", str(number), str(target))
    assert (target / "value.txt").read_text() == "0.5\n"


def test_an_image_that_lacks_everything_finds_tools(platform: Installed, day: Day) -> None:
    """The database's image has neither git nor Python, let alone a Jupyter server."""
    said = finished(day, train(day, "git --version; python3 -c 'print(6 * 7)'; kqi whoami", "--image", "bare"))
    assert "git version" in said and "42" in said.splitlines() and _USER in said, said
    notebook = day.json("notebook", "create", "--wait", "--image", "bare")["id"]
    assert day.json("notebook", "get", str(notebook))["phase"] == "running"
    close(day, notebook)


def test_people_hold_nothing_of_the_clusters(platform: Installed, day: Day) -> None:
    number = train(
        day, "ls /var/run/secrets/kubernetes.io 2>&1; env | grep -c KUBERNETES_; grep NoNewPrivs /proc/self/status"
    )
    said = finished(day, number)
    assert "No such file" in said and "NoNewPrivs:\t1" in said
    space = platform.cluster.get("namespace", WORK)
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_platforms_inside_and_the_cluster_are_closed_to_people(platform: Installed, day: Day) -> None:
    endpoints = platform.cluster.get("-n", "default", "endpoints", "kubernetes")["subsets"][0]
    control = (endpoints["addresses"][0]["ip"], endpoints["ports"][0]["port"])
    inside = [(f"{NAME}-database.{SPACE}", 5432), (f"{NAME}-api.{SPACE}", 8082), (f"{NAME}-proxy-api.{SPACE}", 8001)]
    places = [(f"{NAME}-hub.{SPACE}", 8081), control, *inside]
    command = f"python3 - <<'END'\n{_REACH.format(places=places)}\nEND"
    said = finished(day, train(day, command))
    assert f"{NAME}-hub.{SPACE} 8081 open" in said
    assert said.count(" closed") == 4, said
    platform.cluster.kubectl("-n", WORK, "delete", "networkpolicy", f"{NAME}-work")
    try:
        assert f"{control[0]} {control[1]} open" in finished(day, train(day, command)), (
            "nothing but the policy closes it"
        )
    finally:
        platform.upgrade()


def test_people_reach_the_world_but_no_metadata_and_nobody_elses_work(platform: Installed, day: Day) -> None:
    control = platform.cluster.control
    control.room.spawn("listener", control.kube.with_name("probe"), "serve", "8000")
    notebook = day.json("notebook", "create", "--wait")["id"]
    try:
        (pod,) = [pod for pod in platform.get("pods") if pod["metadata"]["name"].startswith("notebook")]
        (port,) = [port["containerPort"] for one in pod["spec"]["containers"] for port in one.get("ports") or ()]
        server = pod["status"]["podIP"]
        places = [(OUTSIDE, 8000), (METADATA, 8000), (server, port)]
        said = finished(day, train(day, f"python3 - <<'END'\n{_REACH.format(places=places)}\nEND"))
        assert said.splitlines() == [f"{OUTSIDE} 8000 open", f"{METADATA} 8000 closed", f"{server} {port} closed"]
    finally:
        close(day, notebook)
        control.room.end("listener")


def test_a_tenant_may_have_a_network_of_its_own(platform: Installed, day: Day) -> None:
    """One address of the cluster stands for a server of the site: the common network and one tenant's have it."""
    platform.published(Path(__file__).parent / "harness")
    server = platform.cluster.get("-n", "kqi-code", "pod", "code")["status"]["podIP"]
    common, own = {"intranet": [f"{server}/32"]}, {"internet": False, "intranet": [f"{server}/32"]}
    tenants = {"closed": {"networkPolicy": {"internet": False}}, "narrow": {"networkPolicy": own}}
    for name in tenants:
        day.kqi("tenant", "create", name)
    try:
        platform.upgrade(singleuser={"networkPolicy": common, "tenants": tenants})
        command = f"python3 - <<'END'\n{_REACH.format(places=[(server, 9418)])}\nEND"
        for tenant, told in (("sandbox", "open"), ("narrow", "open"), ("closed", "closed")):
            day.kqi("tenant", "use", tenant)
            assert f"{server} 9418 {told}" in finished(day, train(day, command)), (tenant, told)
    finally:
        day.kqi("tenant", "use", "sandbox")
        platform.upgrade()


def test_the_cluster_stays_closed_in_networks_that_are_opened(platform: Installed, day: Day) -> None:
    control = platform.cluster.control
    control.room.spawn("listener", control.kube.with_name("probe"), "serve", "8000")
    private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
    try:
        platform.upgrade(singleuser={"networkPolicy": {"intranet": private, "cluster": [PODS]}})
        notebook = day.json("notebook", "create", "--wait")["id"]
        (pod,) = [pod for pod in platform.get("pods") if pod["metadata"]["name"].startswith("notebook")]
        (port,) = [port["containerPort"] for one in pod["spec"]["containers"] for port in one.get("ports") or ()]
        server = pod["status"]["podIP"]
        # The apiserver's address is what the cluster says of itself.
        places = {(INTRANET, 8000): "open", (server, port): "closed", (CONTROL, API_PORT): "closed"}
        said = finished(day, train(day, f"python3 - <<'END'\n{_REACH.format(places=list(places))}\nEND"))
        assert said.splitlines() == [f"{host} {port} {told}" for (host, port), told in places.items()]
        close(day, notebook)
    finally:
        platform.upgrade()
        control.room.end("listener")


def test_no_repository_is_asked_for_where_people_may_not_go(
    platform: Installed, day: Day, capfd: pytest.CaptureFixture[str]
) -> None:
    inside = (f"git://{NAME}-database.{SPACE}:5432/x", "https://kubernetes.default.svc/x", f"http://{METADATA}/x")
    for address in inside:
        with pytest.raises(SystemExit):
            day.kqi("training", "create", "--git", address, "-c", "true")
        assert "may not ask" in capfd.readouterr().err, address
    given = platform.published(Path(__file__).parent / "components")
    with pytest.raises(SystemExit):
        day.kqi("training", "create", "--git", given, "-c", "true")
    said = capfd.readouterr().err
    assert "git could not read" in said and "no way to" not in said, "it is asked, and is none"


def test_an_upgrade_interrupts_no_work_and_changes_no_secret(platform: Installed, day: Day) -> None:
    long = train(day, "echo began; while [ ! -e /kqi/output/go ]; do sleep 0.3; done; echo through")
    notebook = day.json("notebook", "create", "--wait")
    until(lambda: phase(day, long) == "running")
    working, secrets = pods(platform), _secrets(platform)
    parts = _parts(platform)
    platform.upgrade(hub={"labels": {"round": "2"}}, settings={"limits": {"running_per_person": 9}})
    assert {name for name, uid in _parts(platform).items() if parts.get(name) == uid} == {"database", "proxy"}
    assert pods(platform) == working and _secrets(platform) == secrets
    assert day.json("notebook", "get", str(notebook["id"]))["phase"] == "running"
    (platform.store / "runs" / "training" / str(long) / "output" / "go").touch()
    assert finished(day, long).splitlines() == ["began", "through"]
    close(day, notebook["id"])


def _parts(platform: Installed) -> dict[str, str]:
    """Return what serves: the uid of a pod by the part that it is."""
    return {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod["metadata"]["uid"]
        for pod in platform.cluster.get("-n", SPACE, "pods")["items"]
        if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
    }


def _secrets(platform: Installed) -> list[Any]:
    return [
        (one["metadata"]["name"], one.get("data"))
        for one in platform.cluster.get("-n", SPACE, "secrets")["items"]
        if one["metadata"]["name"] in {f"{NAME}-secrets", f"{NAME}-database"}
    ]


# Undoes all that came after 0006.
_EARLIER = """
ALTER TABLE devices DROP COLUMN address;
ALTER TABLE data DROP COLUMN draft;
ALTER TABLE applications DROP COLUMN password_hash;
DROP TABLE former_passwords;
ALTER TABLE people DROP COLUMN gone_at;
ALTER TABLE local_accounts DROP COLUMN changed_at, DROP COLUMN grace_used;
UPDATE alembic_version SET version_num = '0006';
CREATE TABLE moves (was text, became text);
CREATE FUNCTION moved() RETURNS trigger LANGUAGE plpgsql
  AS 'BEGIN INSERT INTO moves VALUES (OLD.version_num, NEW.version_num); RETURN NEW; END';
CREATE TRIGGER moved AFTER UPDATE ON alembic_version FOR EACH ROW EXECUTE FUNCTION moved();
"""


def test_an_upgrade_from_an_earlier_version_migrates_once_and_interrupts_no_work(
    platform: Installed, day: Day, tmp_path: Path
) -> None:
    number = train(day, "echo began; while [ ! -e /kqi/output/go ]; do sleep 0.3; done; echo through")
    until(lambda: phase(day, number) == "running")
    working = pods(platform)
    moves = [f"{number:04}>{number + 1:04}" for number in range(6, int(HEAD))]
    newer = tmp_path / "kqi"
    shutil.copytree(CHART, newer)
    chart = newer / "Chart.yaml"
    chart.write_text(chart.read_text().replace("version: 0.1.0", "version: 0.1.1"))
    _sql(platform, _EARLIER)
    platform.upgrade(newer, hub={"labels": {"round": "3"}})
    assert _sql(platform, "SELECT was || '>' || became FROM moves").split() == moves
    assert "kqi-0.1.1" in platform.helm("list", "--filter", NAME)
    assert pods(platform) == working
    (platform.store / "runs" / "training" / str(number) / "output" / "go").touch()
    assert finished(day, number).splitlines() == ["began", "through"]
    _sql(platform, "DROP TRIGGER moved ON alembic_version; DROP FUNCTION moved; DROP TABLE moves")


def _sql(platform: Installed, statement: str) -> str:
    script = (
        "PGPASSWORD=$(cat /etc/kqi-database/database-password) psql -qAt -v ON_ERROR_STOP=1 -h 127.0.0.1 -U kqi kqi"
    )
    words = ("-n", SPACE, "exec", "-i", f"statefulset/{NAME}-database", "--", "/bin/sh", "-c", script)
    return platform.cluster.kubectl(*words, text=statement)


def test_work_goes_on_while_every_part_is_killed(platform: Installed, day: Day) -> None:
    number = train(day, "echo a; while [ ! -e /kqi/output/go ]; do sleep 0.3; done; echo b")
    until(lambda: phase(day, number) == "running")
    working = pods(platform)
    platform.cluster.kubectl("-n", SPACE, "delete", "pods", "--all", "--grace-period=0", "--force")
    platform.upgrade()
    assert pods(platform) == working
    (platform.store / "runs" / "training" / str(number) / "output" / "go").touch()
    assert finished(day, number).splitlines() == ["a", "b"]


def test_the_platform_asks_for_nothing_that_it_has_no_right_to(platform: Installed) -> None:
    for part in ("hub", "api"):
        chosen = ("-l", f"app.kubernetes.io/component={part}", "--all-containers", "--tail=-1")
        said = platform.cluster.kubectl("-n", SPACE, "logs", *chosen)
        assert "forbidden" not in said.lower() and "Traceback" not in said, said


def test_helm_tests_it(platform: Installed) -> None:
    assert "Succeeded" in platform.helm("test", NAME, "--timeout", "3m")


def test_an_uninstallation_keeps_what_people_have_and_an_installation_finds_it(platform: Installed, day: Day) -> None:
    number = train(day, "echo kept >/kqi/output/kept.txt")
    finished(day, number)
    before = _secrets(platform)
    platform.helm("uninstall", NAME, "--wait")
    assert (platform.store / "runs" / "training" / str(number) / "output" / "kept.txt").read_text() == "kept\n"
    assert any((platform.folder / "database").iterdir())
    assert "persistentvolumeclaim" in platform.cluster.kubectl("-n", SPACE, "get", "pvc", "-o", "name")
    platform.upgrade()
    assert _secrets(platform) == before
    day.kqi("login", platform.url, "--user", _USER, text=PASSWORD + "\n")
    assert phase(day, number) == "completed"
    assert finished(day, train(day, "echo again")) == "again\n"

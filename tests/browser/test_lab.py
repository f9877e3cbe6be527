"""JupyterLab as somebody opens it from the front page: start, work on real data, stop, open again."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from kqi_hub.i18n import text
from tests.browser.conftest import NewPage
from tests.browser.test_pages import HOME, Picture, sign_in
from tests.demo.lab import run_cell
from tests.integration.api.caller import ENDED
from tests.platform import Platform, wait_for

CELL = """import os, sys, kqi, numpy
from pathlib import Path
root = Path(os.environ["KQI_ROOT"])
print(sorted(path.name for path in root.iterdir()), Path(sys.prefix).parent == Path.home(), kqi.Client().me().name)
Path("kept.txt").write_text("kept")
Path("home", "mine.txt").write_text("mine")
assert Path.home().joinpath("mine.txt").exists()
assert os.environ["NOTEBOOK_ID"] and os.environ["EXPIRES_IN"] == '0'
assert os.environ["JUPYTERLAB_VERSION"].split(".")[0] >= '4'"""


@pytest.fixture(autouse=True)
def nothing_left(platform: Platform) -> Iterator[None]:
    """The front page of the next test starts without a notebook, however this one ended."""
    yield
    with platform.client("alice") as client:
        for run in client.get("/notebooks").json()["items"]:
            if run["phase"] not in ENDED:
                client.post(f"/notebooks/{run['id']}/stop", json={"mode": "kill"}).raise_for_status()
                wait_for(client, f"/notebooks/{run['id']}", "killed", "canceled")


def test_lab_opens_from_the_front_page_and_keeps_its_home(
    platform: Platform, new_page: NewPage, picture: Picture
) -> None:
    page = new_page("ja")
    sign_in(page, "alice")
    page.wait_for_url(HOME)
    page.get_by_role("link", name=text("page.lab_open", "ja")).click()
    expect(page.get_by_text(text("spawn.starting", "ja")).or_(page.locator("#jp-main-dock-panel"))).to_be_visible()
    picture(page, "starting-ja")
    page.wait_for_selector("#jp-main-dock-panel")
    new_notebook(page)
    page.keyboard.insert_text(CELL)
    assert "'input', 'output', 'parent', 'tools'] True alice" in run_cell(page)
    picture(page, "lab-ja")
    assert page.get_by_text("Jupyter news").count() == 0

    page.goto("/hub/home")  # where "Hub Control Panel" of Lab's menu leads
    page.wait_for_url(HOME)
    expect(page.get_by_role("link", name=text("page.open", "ja"), exact=True)).to_be_visible()
    picture(page, "home-with-notebook-ja")
    page.get_by_role("button", name=text("page.stop", "ja"), exact=True).click()
    expect(page.get_by_role("link", name=text("page.lab_open", "ja"))).to_be_visible()
    page.goto("/user/alice/lab")
    expect(page.get_by_text(text("server.not_running", "ja"))).to_be_visible()
    picture(page, "not-running-ja")
    page.get_by_role("button", name=text("server.start", "ja")).click()
    page.wait_for_selector("#jp-main-dock-panel")
    expect(page.locator(".jp-DirListing-item", has_text="kept.txt")).to_be_visible()
    page.goto("/user/alice/lab/tree/home?reset")
    expect(page.locator(".jp-DirListing-item", has_text="mine.txt")).to_be_visible()
    with platform.client("alice") as client:
        (_run,) = client.get("/notebooks", params={"phase": "running"}).json()["items"]


def test_another_person_does_not_get_in(platform: Platform, new_page: NewPage) -> None:
    with platform.client("alice") as client:
        run = client.post("/notebooks", json={"title": "mine"}).json()
        found = wait_for(client, f"/notebooks/{run['id']}", "running", "failed")
        page = new_page("en")
        sign_in(page, "bob")
        page.wait_for_url(HOME)
        answer = page.goto(found["url"] + "lab")
        assert answer and answer.status in {403, 404}, page.content()
        assert page.locator("#jp-main-dock-panel").count() == 0


def new_notebook(page: Page) -> None:
    page.locator('.jp-LauncherCard[data-category="Notebook"]').first.click()
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', state="attached")
    page.click(".jp-Notebook .jp-CodeCell .jp-InputArea-editor")

"""VS Code beside JupyterLab. Its image takes minutes to build, so it is part of the drills."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.demo.lab import FLAGS, chromium
from tests.images.conftest import Reference
from tests.images.containers import owned
from tests.images.lab import lab

pytestmark = pytest.mark.skipif(os.environ.get("KQI_DRILLS") != "full", reason="a drill: make drills")


def test_its_workbench_opens_through_the_server_and_runs_extensions(
    image: Reference, free_port: int, tmp_path: Path
) -> None:
    with lab(image("vscode"), free_port, owned(tmp_path / "home")) as server:
        listed = server.http.get("server-proxy/servers-info").raise_for_status().json()["server_processes"]
        assert [one["name"] for one in listed] == ["vscode"]
        assert server.http.get("vscode/healthz").raise_for_status().json()["status"] in {"alive", "expired"}
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium(), args=FLAGS)
            page = browser.new_context(extra_http_headers=dict(server.http.headers.items())).new_page()
            page.goto(f"{server.http.base_url}vscode/")
            page.wait_for_selector(".monaco-workbench .part.statusbar", timeout=90_000)
            server.container.until(
                lambda: "extensionHost" in server.container.run("ps", "-eo", "args", "--no-headers", "--cols", "4000")
            )
            browser.close()

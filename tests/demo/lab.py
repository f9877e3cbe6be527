"""Open JupyterLab in a real browser, run a notebook in it, and keep a picture."""

import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Page, TimeoutError, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]

CELL = """import os, joblib
from pathlib import Path
from IPython.display import Image
root = Path(os.environ["KQI_ROOT"])
pictures = sorted((root / "input" / "testing").rglob("*.png"))
model = joblib.load(next((root / "parent").glob("*/model.joblib")))
print("pictures held out:", len(pictures), "| the parent's model:", type(model).__name__)
Image(next((root / "parent").glob("*/confusion.png")), width=420)"""


def chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        sys.exit("The browser part needs Chromium: make packages")
    return found


def notebook_text() -> str:
    cell = {"cell_type": "code", "id": "one", "metadata": {}, "source": CELL, "outputs": [], "execution_count": None}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})


def run_notebook(url: str, place: str, name: str, password: str, picture: Path) -> str:
    """Sign in, open the notebook `demo.ipynb` of the server at `place`, run it, and return what it printed."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(90_000)
        sign_in(page, url, name, password)
        page.screenshot(path=str(picture.with_name("home.png")))
        page.goto(f"{url}{place}lab/tree/demo.ipynb?reset")
        try:
            page.wait_for_selector(".jp-Notebook .jp-CodeCell")
            page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', state="attached")
            text = run_cell(page)
            page.wait_for_selector(".jp-OutputArea-output img")
        finally:
            page.screenshot(path=str(picture))
        browser.close()
    return text.strip()


def run_cell(page: Page) -> str:
    """Run the first cell. Lab drops the key while it still sets the session up: press it until something is printed."""
    printed = page.locator(".jp-OutputArea-output pre").first
    for _ in range(12):
        page.click(".jp-Notebook .jp-CodeCell .jp-InputArea-editor")
        page.keyboard.press("Control+Enter")
        with suppress(TimeoutError):
            printed.wait_for(timeout=5000)
            break
    return printed.inner_text()


def sign_in(page: Page, url: str, name: str, password: str) -> None:
    page.goto(f"{url}/hub/login")
    page.fill("#username", name)
    page.fill("#password", password)
    page.click("button")
    page.wait_for_url("**/services/kqi/")

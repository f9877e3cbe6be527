"""What the hub's own handler of a sign-in costs, whoever is asked for the password: JupyterHub with nobody to ask."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from kqi_hub.testing.service import free_port

_TURNS = 20
_CONFIG = """
from jupyterhub.proxy import Proxy


class NoProxy(Proxy):
    should_start = False

    async def add_route(self, routespec, target, data): ...

    async def delete_route(self, routespec): ...

    async def get_all_routes(self):
        return {}


c = get_config()
c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.hub_bind_url = "%s"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.log_level = "ERROR"
"""


def cost_s() -> float:
    """Return the seconds of a `POST /hub/login`, the median of some."""
    url = f"http://127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="kqi-bench-") as folder:
        (Path(folder) / "config.py").write_text(_CONFIG % url, "utf-8")
        words = [sys.executable, "-m", "jupyterhub", "-f", "config.py"]
        hub = subprocess.Popen(words, cwd=folder, env={"PATH": os.environ["PATH"]})
        try:
            while not _answers(url):
                assert hub.poll() is None, "the hub ended"
                time.sleep(0.1)
            return statistics.median(_sign_in(url, f"u{number}") for number in range(_TURNS))
        finally:
            hub.terminate()
            hub.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/hub/login").status_code == 200
    except httpx.TransportError:
        return False


def _sign_in(url: str, name: str) -> float:
    with httpx.Client(base_url=url) as browser:
        browser.get("/hub/login")
        form = {"username": name, "password": "x", "_xsrf": browser.cookies["_xsrf"]}
        begin = time.perf_counter()
        answer = browser.post("/hub/login", data=form)
        took = time.perf_counter() - begin
        assert answer.status_code == 302, answer.text
        return took


if __name__ == "__main__":
    print(f"{cost_s():.4f}")

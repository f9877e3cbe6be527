"""The platform with its own certificate: browsers, programs and runs reach it by HTTPS, and nobody by plain HTTP."""

import json
import os
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest

from tests.platform import PASSWORD, Platform, sign_in


def test_everything_works_by_https_and_cookies_are_secure(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-platform-"))
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*words, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    own = Platform(state=folder, KQI_HUB__SERVER__TLS_CERT=str(certificate), KQI_HUB__SERVER__TLS_KEY=str(key))
    own.own_state = True
    own.url = own.url.replace("http:", "https:")
    own.api = own.api.replace("http:", "https:")
    trusted = ssl.create_default_context(cafile=certificate)
    with own:
        own.add_user("alice")
        with httpx.Client(base_url=own.url, verify=trusted, follow_redirects=True, timeout=60) as browser:
            answer = sign_in(browser, "alice", PASSWORD)
            assert answer.status_code == 200 and str(answer.url) == f"{own.url}/services/kqi/", answer.text
            cookies = [cookie for cookie in browser.cookies.jar if cookie.value]
            assert cookies and [cookie.name for cookie in cookies if not cookie.secure] == []
            for page in ("/hub/login", "/services/kqi/"):
                assert "max-age" in browser.get(page).headers["strict-transport-security"]
        with pytest.raises(httpx.HTTPError):
            httpx.get(own.url.replace("https:", "http:") + "/hub/login").raise_for_status()

        def kqi(*more: str, text: str = "") -> subprocess.CompletedProcess[str]:
            environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
            line = [sys.executable, "-m", "kqi", *more]
            return subprocess.run(line, env=environment, input=text, capture_output=True, text=True, timeout=60)

        distrusted = kqi("login", own.url, "--user", "alice", text=PASSWORD + "\n")
        assert distrusted.returncode == 7 and "--ca-file" in distrusted.stderr, distrusted.stderr
        assert (
            kqi("login", own.url, "--user", "alice", "--ca-file", str(certificate), text=PASSWORD + "\n").returncode
            == 0
        )
        run = json.loads(kqi("training", "create", "-c", "echo $KQI_SERVER; kqi whoami", "--json").stdout)
        kqi("training", "wait", str(run["id"]))
        address, *said = kqi("training", "logs", str(run["id"])).stdout.splitlines()
        assert address == own.url and "alice" in "".join(said), said
    assert not folder.exists()

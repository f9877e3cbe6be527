"""A git server that asks for a name and a password: git's own `http-backend` over HTTPS."""

import base64
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.servers.https import HttpsServer, Received, Reply

_WHO = ("-c", "user.name=Alice", "-c", "user.email=alice@example.org")


class GitServer(HttpsServer):
    """`private.git` holds one commit with `code.py`, for who gives the user's token; pushes are taken, too."""

    def __init__(self, folder: Path, user: str, token: str) -> None:
        super().__init__(folder / "pki")
        self.expected = "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()
        self.meanwhile: Callable[[], None] = lambda: None  # while git at the other end waits
        self.root = folder / "repositories"
        self.repository = self.root / "private.git"
        work = folder / "work"
        work.mkdir(parents=True)
        (work / "code.py").write_text("print('from a private repository')\n")
        for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "One"]):
            subprocess.run(["git", *_WHO, *words], cwd=work, check=True)
        subprocess.run(["git", "clone", "-q", "--bare", work, self.repository], check=True)
        subprocess.run(["git", "-C", self.repository, "config", "http.receivepack", "true"], check=True)
        self.commit = self._said("rev-parse", "main")

    def heads(self) -> str:
        return self._said("for-each-ref", "--format=%(refname:short)", "refs/heads")

    def answer(self, request: Received) -> Reply:
        if request.headers.get("authorization") != self.expected:
            return Reply(status=401, body=b"who are you?", headers={"WWW-Authenticate": 'Basic realm="git"'})
        self.meanwhile()
        path, _, query = request.path.partition("?")
        variables = {
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": request.method,
            "REMOTE_USER": "alice",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(request.body)),
            "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
            "PATH": os.environ["PATH"],
        }
        done = subprocess.run(["git", "http-backend"], env=variables, input=request.body, capture_output=True)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        status = int(headers.pop("Status", "200").split()[0])
        return Reply(status=status, body=body, headers=headers)

    def _said(self, *words: str) -> str:
        done = subprocess.run(["git", "-C", self.repository, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

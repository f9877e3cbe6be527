"""A registry of one image that opens to one name and password; as a program, for a network of its own.

python registry.py ADDRESS PORT ARCHIVE USER PASSWORD
"""

import base64
import hashlib
import http.server
import json
import sys
import tarfile
from pathlib import Path

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


def contents(archive: Path) -> dict[str, tuple[str, bytes]]:
    """Return what a registry has of an image of `docker save`: digest, or `1` for the manifest, → media type, bytes."""
    with tarfile.open(archive) as tar:

        def read(name: str) -> bytes:
            found = tar.extractfile(name)
            assert found is not None
            return found.read()

        (image,) = json.loads(read("manifest.json"))
        parts = [(_CONFIG, read(image["Config"])), *((_LAYER, read(layer)) for layer in image["Layers"])]
    told = [{"mediaType": kind, "digest": _digest(part), "size": len(part)} for kind, part in parts]
    manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": told[0], "layers": told[1:]}
    whole = json.dumps(manifest).encode()
    return {_digest(part): (kind, part) for kind, part in [*parts, (_MANIFEST, whole)]} | {"1": (_MANIFEST, whole)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def serve(address: str, port: int, archive: Path, user: str, password: str) -> None:
    """Answer for ever: `/v2/NAME/manifests/1` and the blobs, to who shows name and password."""
    found = contents(archive)
    right = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != right:
                self._answer(401, "application/json", b'{"errors": [{"code": "UNAUTHORIZED"}]}')
                return
            kind, content = found.get(self.path.rsplit("/", 1)[-1], ("", b""))
            self._answer(200 if kind or self.path == "/v2/" else 404, kind or "application/json", content)

        do_HEAD = do_GET

        def _answer(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="images"')
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

    http.server.ThreadingHTTPServer((address, port), Handler).serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], sys.argv[5])

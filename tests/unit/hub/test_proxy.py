"""What of the proxy's words comes into the log that people read."""

from kqi_hub.supervisor.proxy import Words

_SAID = """\
2026-11-25T08:13:27.047Z [ConfigProxy] warn: Running as root
2026-11-25T08:13:27.042Z [ConfigProxy] \x1b[31merror\x1b[39m: 404 GET /hub/login
2026-11-25T08:13:27.043Z [ConfigProxy] error: Failed to get custom error page: Error: connect ECONNREFUSED 127.0.0.1:1
    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1611:16) {
  errno: -111,
}
2026-11-25T08:13:28.106Z [ConfigProxy] \x1b[31merror\x1b[39m: 503 GET /user/a connect ECONNREFUSED 127.0.0.1:2
Error: listen EADDRINUSE: address already in use 127.0.0.1:8000
    at Server.setupListenHandle [as _listen2] (node:net:1463:16)"""


def test_it_leaves_out_what_only_means_that_there_is_no_hub_just_now() -> None:
    read = Words()
    assert [text for line in _SAID.splitlines() if (text := read(line)) is not None] == [
        "warn: Running as root",
        "error: 503 GET /user/a connect ECONNREFUSED 127.0.0.1:2",
        "Error: listen EADDRINUSE: address already in use 127.0.0.1:8000",
        "    at Server.setupListenHandle [as _listen2] (node:net:1463:16)",
    ]

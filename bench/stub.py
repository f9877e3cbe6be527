"""Stands for the servers of pods on paper, answering whatever is asked: `python -m bench.stub PORT`."""

import asyncio
import sys

import jupyterhub

_ANSWER = (
    f"HTTP/1.1 200 OK\r\nX-JupyterHub-Version: {jupyterhub.__version__}\r\n"
    "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
).encode()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(_ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(port: int) -> None:
    server = await asyncio.start_server(_answer, "0.0.0.0", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

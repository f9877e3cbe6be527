"""Wake-ups: something has changed, look at it. They carry no facts, so that one that is lost costs only time."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable

import asyncpg

from kqi_hub.background.waiting import wait
from kqi_hub.db.engine import Database
from kqi_hub.db.postgresql import PostgresServer
from kqi_hub.errors import KqiError

log = logging.getLogger(__name__)
_CHANNEL = "kqi"
# A server that is gone without a word is noticed after this long.
_ALIVE_S = 15.0
_LONGEST_PAUSE_S = 5.0
_REPLY_S = 10.0
_LAST_WORDS_S = 1.0
_AWAY = (KqiError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Signals:
    """Wake-ups within this process: SQLite's are heard in the one that sends them."""

    def __init__(self) -> None:
        self._heard_by: dict[str, list[Callable[[str], None]]] = defaultdict(list)

    def on(self, topic: str, then: Callable[[str], None]) -> None:
        """Call `then` with what `topic` was about, with an empty text for "perhaps anything"."""
        self._heard_by[topic].append(then)

    def send(self, topic: str, about: str = "") -> None:
        """Call who listens for `topic`, here at once. Neither holds a space. Send it when the change is committed."""
        for then in self._heard_by[topic]:
            then(about)

    async def run(self) -> None:
        """Carry wake-ups between processes until cancelled."""
        await asyncio.Event().wait()


class PostgresSignals(Signals):
    """Wake-ups for all replicas, by LISTEN and NOTIFY on a connection of their own.

    What is sent while the server is away goes out when it is back; then everybody takes it that anything may have
    changed meanwhile.
    """

    def __init__(self, server: PostgresServer) -> None:
        super().__init__()
        self._server = server
        self._unsent: dict[str, None] = {}
        self._wanted = asyncio.Event()

    def send(self, topic: str, about: str = "") -> None:
        super().send(topic, about)
        self._unsent[f"{topic} {about}"] = None
        self._wanted.set()

    async def run(self) -> None:
        pause = 0.1
        while True:
            try:
                connection = await self._server.connect()
                try:
                    pause = 0.1
                    await self._carry(connection)
                finally:
                    connection.terminate()
            except _AWAY as error:
                log.warning("wake-ups of other replicas are not heard", exc_info=error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _carry(self, connection: asyncpg.Connection) -> None:
        connection.add_termination_listener(lambda _connection: self._wanted.set())
        await connection.add_listener(_CHANNEL, self._hear)
        for topic in list(self._heard_by):
            super().send(topic)
        try:
            while not connection.is_closed():
                await self._flush(connection)
                await wait(self._wanted, _ALIVE_S)
        except asyncio.CancelledError:
            with contextlib.suppress(*_AWAY):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await self._flush(connection)
            raise

    async def _flush(self, connection: asyncpg.Connection) -> None:
        """Send what there is to send, or at least see whether the server is there."""
        self._wanted.clear()
        sending = list(self._unsent)
        if not sending:
            await connection.execute("select 1", timeout=_REPLY_S)
        else:
            query = "select pg_notify($1, message) from unnest($2::text[]) as message"
            await connection.execute(query, _CHANNEL, sending, timeout=_REPLY_S)
            for message in sending:
                self._unsent.pop(message, None)

    def _hear(self, connection: asyncpg.Connection, sender: int, _channel: str, message: str) -> None:
        if sender != connection.get_server_pid():
            topic, _, about = message.partition(" ")
            super().send(topic, about)


def signals_of(database: Database) -> Signals:
    place = database.place
    return PostgresSignals(place) if isinstance(place, PostgresServer) else Signals()

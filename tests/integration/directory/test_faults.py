"""A directory that is slow, hangs, is gone or lies: a refusal in time that tells the cause; the loop never waits."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from kqi_hub.directory.base import Entry
from kqi_hub.directory.ldap.breaker import Breaker
from kqi_hub.directory.ldap.directory import LdapDirectory
from kqi_hub.directory.ldap.wire import Away, Cause
from kqi_spawner.workload import Secret
from tests import slapd
from tests.integration.directory.conftest import Open
from tests.ldap_wire import DONE, SUCCESS, Liar, Relay, ber, entry, length, message, whole
from tests.slapd import PASSWORD, Slapd, dn_of

RIGHT = Secret(PASSWORD)
REFERRAL = b"\x0a\x01\x0a\x04\x00\x04\x00"


@pytest.fixture(scope="module")
def server() -> Iterator[Slapd]:
    made = Slapd()
    made.load([*slapd.tree(), slapd.person("alice"), slapd.group("students", dn_of("alice"))])
    with made:
        yield made


@pytest.fixture
def relay(server: Slapd) -> Iterator[Relay]:
    made = Relay(server.port)
    yield made
    made.close()


@asynccontextmanager
async def looked_at() -> AsyncIterator[list[float]]:
    """Yield for how long the loop stood still each time it was looked at."""
    stalls: list[float] = []

    async def look() -> None:
        while True:
            begin = time.perf_counter()
            await asyncio.sleep(0.005)
            stalls.append(time.perf_counter() - begin - 0.005)

    task = asyncio.create_task(look())
    yield stalls
    task.cancel()


async def refusal(directory: LdapDirectory) -> Away:
    with pytest.raises(Away) as caught:
        async with asyncio.timeout(5):
            await directory.verify("alice", RIGHT)
    return caught.value


@pytest.mark.parametrize("kept", [False, True], ids=["at once", "with connections that are kept"])
async def test_who_hangs_is_refused_in_time_and_asked_again_later(
    relay: Relay, server: Slapd, open_directory: Open, kept: bool
) -> None:
    directory = open_directory(server, server_port=relay.port)
    if kept:
        assert isinstance(await directory.verify("alice", RIGHT), Entry)
    relay.hangs.set()
    async with looked_at() as stalls, asyncio.timeout(6):
        found = await asyncio.gather(*(directory.verify("alice", RIGHT) for _ in range(50)), return_exceptions=True)
    assert {error.cause for error in found if isinstance(error, Away)} <= {Cause.TIMEOUT}
    assert all(isinstance(error, Away) for error in found)
    assert len(stalls) > 100  # the loop went on all the while
    relay.hangs.clear()
    relay.cut()
    async with asyncio.timeout(40):
        while not isinstance(await _tried(directory), Entry):  # noqa: ASYNC110 - a breaker's pause tells nobody
            await asyncio.sleep(0.1)


async def _tried(directory: LdapDirectory) -> object:
    try:
        return await directory.verify("alice", RIGHT)
    except Away as error:
        return error


async def test_five_seconds_for_an_answer_are_too_many(relay: Relay, server: Slapd, open_directory: Open) -> None:
    relay.delay_s = 5
    assert (await refusal(open_directory(server, server_port=relay.port))).cause is Cause.TIMEOUT
    relay.delay_s = 0.2
    assert isinstance(await open_directory(server, server_port=relay.port).verify("alice", RIGHT), Entry)


async def test_what_was_closed_meanwhile_is_opened_again(relay: Relay, server: Slapd, open_directory: Open) -> None:
    directory = open_directory(server, server_port=relay.port)
    for _ in range(3):
        assert isinstance(await directory.verify("alice", RIGHT), Entry)
        relay.cut()


async def test_a_server_that_is_gone_is_told_and_another_takes_its_place(
    relay: Relay, server: Slapd, open_directory: Open
) -> None:
    relay.gone.set()
    assert (await refusal(open_directory(server, server_port=relay.port))).cause in {Cause.CLOSED, Cause.TLS}
    assert (await refusal(open_directory(server, server_port=1))).cause is Cause.REFUSED
    assert (await refusal(open_directory(server, server_address="nowhere.invalid"))).cause is Cause.NO_HOST
    relay.gone.clear()
    relay.hangs.set()
    places = ["localhost:1", f"localhost:{relay.port}", f"localhost:{server.port}"]
    directory = open_directory(server, servers=places)
    for _ in range(2):
        async with asyncio.timeout(5):
            assert isinstance(await directory.verify("alice", RIGHT), Entry)


async def test_a_restart_of_the_server_costs_nobody_a_sign_in_afterwards(server: Slapd, open_directory: Open) -> None:
    directory = open_directory(server)
    assert isinstance(await directory.verify("alice", RIGHT), Entry)
    server.stop()
    server.start()
    assert isinstance(await directory.verify("alice", RIGHT), Entry)


def _plain(open_directory: Open, server: Slapd, liar: Liar) -> LdapDirectory:
    return open_directory(server, server_port=liar.port, server_address="127.0.0.1", tls_strategy="insecure")


async def test_an_attribute_of_100_mb_is_not_read(server: Slapd, open_directory: Open) -> None:
    sent = []

    def answer(number: int) -> Iterator[bytes]:
        size = 100 * 1024 * 1024
        head = ber(b"\x04", dn_of("alice").encode()) + b"\x30" + length(size + 40) + b"\x30" + length(size + 30)
        yield b"\x30" + length(size + 200) + whole(number) + b"\x64" + length(size + 100) + head
        for _ in range(100):
            sent.append(1)
            yield b"x" * 1024 * 1024

    liar = Liar(answer)
    assert (await refusal(_plain(open_directory, server, liar))).cause is Cause.TOO_LARGE
    assert len(sent) < 50
    liar.close()


async def test_one_byte_after_the_other_does_not_hold_anybody_up(server: Slapd, open_directory: Open) -> None:
    def answer(number: int) -> Iterator[bytes]:
        for byte in entry(number, dn_of("alice"), uid=b"alice"):
            time.sleep(0.5)
            yield bytes([byte])

    liar = Liar(answer)
    assert (await refusal(_plain(open_directory, server, liar))).cause is Cause.TIMEOUT
    liar.close()


async def test_referrals_are_not_followed(server: Slapd, open_directory: Open) -> None:
    """Neither one in the place of an answer nor one among the entries, whose server would be told the password."""
    trap = Liar(lambda number: iter([message(number, DONE, SUCCESS)]))
    there = ber(b"\x04", f"ldap://127.0.0.1:{trap.port}/{slapd.PEOPLE}".encode())

    def answer(number: int) -> Iterator[bytes]:
        yield message(number, b"\x73", there)
        yield message(number, DONE, REFERRAL + ber(b"\xa3", there))

    liar = Liar(answer)
    assert (await refusal(_plain(open_directory, server, liar))).cause is Cause.ANSWER
    assert trap.asked == []
    liar.close()
    trap.close()


@pytest.mark.parametrize(
    "lie",
    [
        b"\xff" * 300,
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x00",
        b"\x30\x03\x02\x01\x07",
    ],
)
async def test_what_is_no_ldap_is_refused(server: Slapd, open_directory: Open, lie: bytes) -> None:
    def answer(_number: int) -> Iterator[bytes]:
        yield lie
        raise OSError

    liar = Liar(answer)
    assert (await refusal(_plain(open_directory, server, liar))).cause in {
        *(Cause.ANSWER, Cause.CLOSED, Cause.TIMEOUT, Cause.TOO_LARGE),
    }
    liar.close()


def test_a_server_that_fails_is_left_alone_for_longer_each_time_and_tried_by_one() -> None:
    breaker = Breaker(2)
    assert breaker.turn(0.0) == 0
    breaker.bad(0, 0.0)
    breaker.bad(0, 0.1)  # of the same moment
    assert breaker.turn(0.5) == 1
    assert breaker.turn(0.5, frozenset({1})) is None
    assert breaker.turn(1.2) == 0 and breaker.turn(1.2) == 1  # one tries it, the others go round
    breaker.bad(0, 1.3)
    assert breaker.turn(3.0) == 1 and breaker.turn(3.4) == 0
    breaker.good(0)
    assert breaker.turn(3.5) == 0
    for step in range(20):
        breaker.bad(0, 100.0 * step)
    assert breaker.turn(1929.0, frozenset({1})) is None and breaker.turn(1931.0) == 0

"""Requests and their repetition."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from kqi.client.account import RootGroup, SignInGroup, TokenGroup
from kqi.client.credentials import CredentialGroup
from kqi.client.datasets import DatasetGroup
from kqi.client.errors import ApiError, ConnectionFailed, Forbidden, Foreign, NotFound, Unavailable, UnexpectedAnswer
from kqi.client.exchange import DELAYS_S
from kqi.client.steps import ANSWERABLE, Answer, HttpRequest, Pause, Send
from kqi.schema import AskGitCredential, CreateToken, Password, Problem

VERSION = Answer(status=200, headers={}, content=b'{"version": "1"}')
CUT = ConnectionFailed("error.silent", server="test")


def refusal(status: int, headers: dict[str, str] | None = None) -> Answer:
    problem = Problem(type="about:blank", title="t", status=status, code="some_code", detail="言葉", params={"n": 3})
    return Answer(status=status, headers=headers or {}, content=problem.model_dump_json().encode())


class Script:
    """A driver that answers with what is written, and counts."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = iter(answers)
        self.requests: list[HttpRequest] = []
        self.pauses: list[float] = []

    def run(self, steps: Any) -> Any:
        resume: Any = partial(next, steps)
        while True:
            try:
                step = resume()
            except StopIteration as end:
                return end.value
            try:
                resume = partial(steps.send, self._act(step))
            except ANSWERABLE as problem:
                resume = partial(steps.throw, problem)

    def each(self, stream: Any) -> Iterator[Any]:
        raise NotImplementedError

    def _act(self, step: Any) -> Any:
        match step:
            case Send(request):
                self.requests.append(request)
                answer = next(self.answers)
                if isinstance(answer, Exception):
                    raise answer
                return answer
            case Pause(seconds):
                self.pauses.append(seconds)


def test_a_lost_answer_is_asked_for_again() -> None:
    script = Script(CUT, CUT, VERSION)
    assert RootGroup(script, None).version().version == "1"
    assert len(script.pauses) == 2 and script.pauses[0] < script.pauses[1]


def test_a_creation_is_repeated_under_one_key() -> None:
    script = Script(CUT, refusal(503), refusal(403))
    with pytest.raises(Forbidden):
        TokenGroup(script, None).create(CreateToken(name="a"))
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 1
    assert len(script.requests) == 3


def test_two_creations_have_two_keys() -> None:
    script = Script(refusal(403), refusal(403))
    for _ in range(2):
        with pytest.raises(Forbidden):
            TokenGroup(script, None).create(CreateToken(name="a"))
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 2


def test_a_question_is_asked_without_a_key() -> None:
    script = Script(refusal(503), refusal(404))
    with pytest.raises(NotFound):
        CredentialGroup(script, None).for_git(AskGitCredential(protocol="https", host="git.example.org"))
    assert len(script.requests) == 2
    assert not any("Idempotency-Key" in request.headers for request in script.requests)


def test_a_sign_in_is_never_repeated() -> None:

    script = Script(refusal(429))
    with pytest.raises(Unavailable):
        SignInGroup(script, None).password(Password(username="a", password="b"))


def test_the_server_says_how_long_to_wait() -> None:
    script = Script(refusal(429, {"retry-after": "7"}), VERSION)
    RootGroup(script, None).version()
    assert script.pauses == [7]


def test_a_proxy_that_has_lost_its_routes_is_waited_for() -> None:
    lost = Answer(status=404, headers={}, content=b"<html>404</html>")
    assert RootGroup(Script(lost, lost, VERSION), None).version().version == "1"
    with pytest.raises(Foreign):
        RootGroup(Script(*[lost] * 20), None).version()


def test_a_wait_for_an_hour_is_left_to_the_person() -> None:
    with pytest.raises(Unavailable):
        RootGroup(Script(refusal(503, {"retry-after": "3600"})), None).version()


def test_the_last_error_is_told_after_all_attempts() -> None:
    script = Script(*[CUT] * 20)
    with pytest.raises(ConnectionFailed):
        RootGroup(script, None).version()
    assert len(script.requests) == len(DELAYS_S) + 1


def test_a_refusal_carries_code_parameters_and_the_servers_sentence() -> None:
    with pytest.raises(NotFound) as caught:
        DatasetGroup(Script(refusal(404)), None).get(3)
    assert (caught.value.code, caught.value.status, caught.value.params) == ("some_code", 404, {"n": 3})
    assert str(caught.value) == "言葉"


@pytest.mark.parametrize("content", [b"<html>hub</html>", b'{"items": 3}', b""])
def test_another_program_on_that_address_is_recognized(content: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        RootGroup(Script(Answer(status=200, headers={}, content=content)), None).version()
    with pytest.raises(ApiError) as caught:
        RootGroup(Script(Answer(status=302, headers={}, content=content)), None).version()
    assert caught.value.code == "http_302"

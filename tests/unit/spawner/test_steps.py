"""What a person is told while a server starts, and when."""

import pytest

from kqi_spawner.jupyterhub.steps import Account, Step, step_of
from kqi_spawner.status import Phase, Waiting, WorkloadStatus


def pending(waiting: Waiting | None = None, message: str = "") -> WorkloadStatus:
    return WorkloadStatus(phase=Phase.PENDING, waiting=waiting, message=message)


def keys(account: Account, status: WorkloadStatus | None, now_s: float) -> list[str]:
    return [news.key for news in account.news(status, now_s)]


@pytest.mark.parametrize("waiting", list(Waiting))
def test_there_is_a_step_for_all_that_one_can_wait_for(waiting: Waiting) -> None:
    assert step_of(pending(waiting)) is not None


def test_each_step_is_told_once() -> None:
    account = Account(60)
    told = [
        key
        for status in (None, None, pending(), pending(Waiting.ROOM), pending(Waiting.ROOM), pending(Waiting.IMAGE))
        for key in keys(account, status, 0)
    ]
    told += keys(account, WorkloadStatus(phase=Phase.RUNNING), 1)
    assert told == [f"spawn.{step.value}" for step in (Step.ASKED, Step.ROOM, Step.IMAGE, Step.BEGUN)]


def test_other_words_of_the_scheduler_are_told_again() -> None:
    account = Account(60)
    assert [news.params for news in account.news(pending(Waiting.ROOM, "0/2 nodes"), 0)] == [{"message": "0/2 nodes"}]
    assert [news.params for news in account.news(pending(Waiting.ROOM, "0/3 nodes"), 1)] == [{"message": "0/3 nodes"}]
    assert keys(account, pending(Waiting.ROOM, "0/3 nodes"), 2) == []


def test_words_of_the_cluster_are_for_nobody_else() -> None:
    (news,) = Account(60).news(pending(Waiting.FAULT, "ErrImagePull: registry says no"), 0)
    assert news.params == {"message": ""}


def test_a_step_that_takes_long_says_so_and_waiting_for_room_is_none() -> None:
    account = Account(60)
    keys(account, pending(Waiting.IMAGE), 0)
    assert keys(account, pending(Waiting.IMAGE), 59) == []
    assert keys(account, pending(Waiting.IMAGE), 61) == ["spawn.slow"]
    assert keys(account, pending(Waiting.IMAGE), 62) == []
    (news,) = account.news(pending(Waiting.IMAGE), 122)
    assert news.params == {"minutes": 2}
    keys(account, pending(Waiting.ROOM), 200)
    assert keys(account, pending(Waiting.ROOM), 2000) == []

"""Why a run ended, and refusals, in the words of who reads them."""

import re

import pytest

from kqi_hub.i18n import LANGUAGES
from kqi_hub.i18n.catalogue import catalogue
from kqi_spawner.status import Reason
from tests.integration.api.caller import Caller

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_why_a_run_ended_is_said_in_the_language_of_who_asks(alice: Caller) -> None:
    failed = (await alice.ended((await alice.train("exit 7"))["id"]))["id"]
    gone = (await alice.ended((await alice.train("true", image="no-such-thing"))["id"]))["id"]
    for language, code, missing in (
        ("en", "Its command ended with exit code 7.", "It could not be started."),
        ("ja", "コマンドが終了コード 7 で終わりました。", "開始できませんでした。"),
        ("zh", "命令以退出代码 7 结束。", "无法启动。"),
    ):
        headers = {"Accept-Language": language}
        for number, said in ((failed, code), (gone, missing)):
            assert (await alice.get(f"/trainings/{number}", headers=headers))["explanation"] == said
    went_well = await alice.ended((await alice.train("true"))["id"])
    assert went_well["explanation"] == ""


async def test_what_kept_a_run_from_beginning_is_explained(alice: Caller) -> None:
    body = {"command": "true", "source": {"kind": "archive", "sha256": await packed_badly(alice)}}
    run = await alice.ended((await alice.post("/trainings", body))["id"])
    assert (run["reason"], run["explanation"]) == ("archive_not_readable", "The packed folder could not be unpacked.")


async def packed_badly(caller: Caller) -> str:
    return (await caller.upload({"code.tar.gz": b"no archive"}))[0]["sha256"]


async def test_refusals_have_no_english_words_in_other_languages(alice: Caller) -> None:
    number = (await alice.ended((await alice.train("false"))["id"]))["id"]
    for language in ("ja", "zh"):
        headers = {"Accept-Language": language}
        ended = await alice.post(f"/trainings/{number}/stop", {"mode": "kill"}, 409, headers=headers)
        missing = [await alice.get(f"/{kind}/999999999", 404, headers=headers) for kind in ("datasets", "notebooks")]
        for refused in (ended, *missing):
            assert not re.search("[A-Za-z]", refused["detail"]), refused


async def test_every_reason_of_an_engine_has_a_sentence() -> None:
    for language in LANGUAGES:
        assert {f"reason.{reason}" for reason in Reason} <= catalogue(language).keys()

"""The book of runs that may be going on: what is claimed, taken over and found again."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from dataclasses import replace
from pathlib import Path

from forecast_platform.compute.databricks.run_ledger import RunLedger, made_since
from forecast_platform.host import process_identity
from forecast_platform.work.tasks import TaskRequest
from forecast_platform_tests.databricks.pipes_worlds import FIRST, LAST
from forecast_platform_tests.worlds import days


def request(first: str, last: str, model: str = "naive") -> TaskRequest:
    return TaskRequest.of_dates("chunk", "Alpha", model, "v1.0", tuple(days(first, last)))


def test_a_claim_finds_the_run_that_makes_one_of_its_keys(tmp_path: Path) -> None:
    book = RunLedger(tmp_path / "runs")
    first, new = book.claim("host", "/Volumes/a/b/c", request(FIRST, LAST), {})
    assert new
    assert len(first.token) <= 64, "Databricks takes no longer idempotency token"
    assert book.claim("host", "/Volumes/a/b/c", request(LAST, "2018-03-01"), {}) == (first, False)
    for host, wanted in (
        ("other", request(FIRST, LAST)),
        ("host", request("2018-02-04", "2018-02-05")),
        ("host", request(FIRST, LAST, "random_walk")),
    ):
        other, new = book.claim(host, "/Volumes/a/b/c", wanted, {})
        assert new
        assert other.token != first.token
    book.drop(first)
    assert book.claim("host", "/Volumes/a/b/c", request(FIRST, LAST), {})[1]


def test_a_step_does_not_take_over_what_another_took_over_meanwhile(tmp_path: Path) -> None:
    book = RunLedger(tmp_path)
    made, _ = book.claim("host", "/Volumes/a/b/c", request(FIRST, LAST), {})
    orphan = replace(made, owner=made.owner.replace(f":{os.getpid()}:", ":4194305:"))
    parent = os.getppid()
    others = replace(orphan, owner=process_identity.of(parent))
    book.keep(others)
    assert book.adopt(orphan) == others
    book.drop(orphan)
    assert book.others(orphan), "it is the other's now"
    book.submitted(orphan, 7)
    assert book.adopt(orphan) == replace(others, run_id=7), "its owner is kept"


def test_what_was_forgotten_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    book = RunLedger(tmp_path)
    made, _ = book.claim("host", "/Volumes/a/b/c", request(FIRST, LAST), {})
    orphan = replace(made, owner=made.owner.replace(f":{os.getpid()}:", ":4194305:"))
    book.drop(made)
    assert book.adopt(orphan) is None
    assert book.asking(orphan) is None
    book.submitted(orphan, 7)
    assert not list(tmp_path.glob("*.json"))


def test_what_somebody_may_have_submitted_is_not_withdrawn(tmp_path: Path) -> None:
    book = RunLedger(tmp_path)
    one, _ = book.claim("host", "/Volumes/a/b/c", request(FIRST, LAST), {})
    assert book.withdraw(one)
    assert not list(tmp_path.glob("*.json"))
    two, _ = book.claim("host", "/Volumes/a/b/c", request(FIRST, LAST), {})
    assert book.asking(two) == replace(two, asked=1)
    assert book.asking(two) == replace(two, asked=2), "another step asks for the same"
    assert not book.withdraw(two)
    assert book.refused(two) == replace(two, asked=1)
    assert not book.withdraw(two), "the other's may have been carried out"
    book.refused(two)
    assert book.withdraw(two)


def test_what_its_process_leaves_is_taken_over_by_the_next(tmp_path: Path) -> None:
    book = RunLedger(tmp_path)
    mine, _ = book.claim("host", "/Volumes/a/b/c", request(FIRST, LAST), {})
    assert not book.orphans("host")
    book.release(mine)
    [left] = book.orphans("host")
    assert not book.withdraw(mine), "it is not this one's any more"
    taken = book.adopt(left)
    assert taken
    assert taken.owner == mine.owner


def test_entries_of_a_workspace_that_is_used_no_more_are_forgotten(tmp_path: Path) -> None:
    book = RunLedger(tmp_path)
    mine, _ = book.claim("host", "/Volumes/a/b/c", request(FIRST, LAST), {})
    book.orphans("other")
    assert list(tmp_path.glob("*.json"))
    book.keep(replace(mine, taken=time.time() - 9 * 86_400))
    book.orphans("other")
    assert not list(tmp_path.glob("*.json"))


def test_an_entry_of_an_earlier_version_is_as_old_as_its_file(tmp_path: Path) -> None:
    book = RunLedger(tmp_path)
    made, _ = book.claim("host", "/Volumes/a/b/c", request(FIRST, LAST), {})
    [path] = tmp_path.glob("*.json")
    values = json.loads(path.read_text())
    path.write_text(
        json.dumps({name: value for name, value in values.items() if name not in ("made", "taken", "asked")})
    )
    written = made.made - 1_000
    os.utime(path, (written, written))
    [found] = (book.claim("host", "/Volumes/a/b/c", request(FIRST, LAST), {})[0],)
    assert found == replace(made, made=written, taken=written, asked=1)


def test_an_old_entry_is_an_orphan_wherever_its_process_was(tmp_path: Path) -> None:
    book = RunLedger(tmp_path)
    mine, _ = book.claim("host", "/Volumes/a/b/c", request(FIRST, LAST), {})
    elsewhere = replace(mine, token="other", owner="another-machine:1:1")
    gone = replace(mine, token="gone", owner=mine.owner.replace(f":{os.getpid()}:", ":4194305:"))
    for entry in (elsewhere, gone):
        book.keep(entry)
    assert book.orphans("host") == [gone]
    assert not book.orphans("other")
    elsewhere = replace(elsewhere, taken=time.time() - 90_000)
    book.keep(elsewhere)
    assert book.orphans("host") == [gone, elsewhere]
    taken = book.adopt(elsewhere)
    assert taken
    assert (taken.owner, taken.taken > elsewhere.taken) == (mine.owner, True)
    assert book.orphans("host") == [gone]
    half = tmp_path / "other.1.tmp"
    half.touch()
    os.utime(half, (1, 1))
    book.orphans("host")
    assert not half.exists(), "of a process that was killed as it wrote"


def test_only_what_was_made_since_counts_as_made() -> None:
    old, new = (dt.datetime(2026, 1, n, tzinfo=dt.timezone.utc) for n in (1, 2))
    one, two, three = (str(day) for day in days(FIRST, LAST))
    before = {one: old.isoformat(), two: old.isoformat()}
    assert made_since(before, {one: old, two: new, three: new}) == {two, three}
    assert made_since(before, {}) == set()

"""The admission store: limits exact under concurrency, a wish to cancel kept, nobody sees another's jobs."""

from __future__ import annotations

import datetime as dt
import os
import sqlite3
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from forecast_platform.host.admission import LimitReachedError, UnknownJobError, WrongStateError
from forecast_platform.settings import Settings, build
from forecast_platform.training_jobs.config import parse
from forecast_platform.training_jobs.keeping import prune
from forecast_platform.training_jobs.store import Job, JobStore
from forecast_platform.training_jobs.uploads import UploadStore
from forecast_platform_tests.training_jobs.tables import asked


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return build(warehouse=tmp_path / "warehouse")


@pytest.fixture
def store(settings: Settings) -> JobStore:
    return JobStore(settings)


CONFIG = parse(asked())


def test_a_job_goes_from_pending_to_completed(store: JobStore) -> None:
    job = store.create("ann", CONFIG)
    assert (job.status, job.progress, job.asked.horizon) == ("pending", 0, 4)
    assert "sales" not in job.config.replace('"sales"', "", 1), "the rows are kept as a file, not in the store"
    job = store.submit(job.job_id, "ann")
    assert (job.status, job.attempt) == ("submitting", 1)
    assert store.started(job.job_id, "run")
    store.tell(job.job_id, "run", 40, "AutoETS")
    assert (store.get(job.job_id).progress, store.get(job.job_id).step) == (40, "AutoETS")
    store.tell(job.job_id, "another run", 5, "")
    assert store.get(job.job_id).progress == 40
    assert store.complete(job.job_id, "run", {"best_model": "x"})
    assert store.get(job.job_id).progress == 100
    with pytest.raises(WrongStateError, match="is completed"):
        store.cancel(job.job_id, "ann")


def test_the_limits_of_a_user_and_of_all_are_exact_however_many_submit_at_once(store: JobStore) -> None:
    jobs = [(store.create(user, CONFIG).job_id, user) for user in ("a", "b", "c", "d", "e") for _ in range(5)]

    def submit(job: tuple[str, str]) -> str:
        try:
            store.submit(*job)
        except LimitReachedError as error:
            return "user" if "a user may have" in str(error) else "all"
        return job[1]

    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(submit, jobs))
    admitted = [one for one in found if one in "abcde"]
    assert len(admitted) == 10
    assert max(admitted.count(user) for user in "abcde") <= 3
    assert len(store.outbox()) == 10


def test_whoever_waits_for_a_job_has_it_as_soon_as_it_is_submitted_and_once(store: JobStore) -> None:
    job = store.create("ann", CONFIG)
    assert not store.wait_for_one(0.0, 0.01)
    with ThreadPoolExecutor(1) as threads:
        waiter = threads.submit(store.wait_for_one, 60.0, 0.01)
        store.create("ann", CONFIG)  # not submitted: nothing to ask for
        assert not waiter.done()
        store.submit(job.job_id, "ann")
        assert waiter.result(30)
    assert store.requested(store.get(job.job_id))
    assert not store.wait_for_one(0.0, 0.01)


def test_an_ended_job_makes_room(store: JobStore) -> None:
    ids = [store.create("ann", CONFIG).job_id for _ in range(4)]
    for job_id in ids[:3]:
        store.submit(job_id, "ann")
    with pytest.raises(LimitReachedError, match="you have 3 jobs queued or running") as refused:
        store.submit(ids[3], "ann")
    assert refused.value.retry_after > 0
    store.fail(ids[0], "broken")
    assert store.submit(ids[3], "ann").status == "submitting"


def test_a_job_is_cancelled_at_once_before_its_run_is_asked_for_and_never_runs(store: JobStore) -> None:
    job = store.submit(store.create("ann", CONFIG).job_id, "ann")
    assert store.cancel(job.job_id, "ann").status == "cancelled"
    assert not store.requested(job)
    assert not store.started(job.job_id, "run")


def test_a_wish_to_cancel_is_kept_until_a_run_takes_notice(store: JobStore) -> None:
    job = store.submit(store.create("ann", CONFIG).job_id, "ann")
    assert store.requested(job)
    assert store.cancel(job.job_id, "ann").status == "cancelling"
    assert store.wants_cancel(job.job_id)
    assert not store.started(job.job_id, "run"), "a run that begins later sees the wish"
    assert store.cancelled(job.job_id)
    assert store.get(job.job_id).status == "cancelled"


def test_results_do_not_undo_a_cancel(store: JobStore) -> None:
    job = store.submit(store.create("ann", CONFIG).job_id, "ann")
    store.requested(job)
    store.started(job.job_id, "run")
    store.cancel(job.job_id, "ann")
    assert not store.complete(job.job_id, "run", {})
    store.fail(job.job_id, "whatever", "run")
    assert store.get(job.job_id).status == "cancelled"


def test_a_failed_job_is_submitted_again_under_another_run_key(store: JobStore) -> None:
    job = store.submit(store.create("ann", CONFIG).job_id, "ann")
    store.fail(job.job_id, "broken")
    with pytest.raises(WrongStateError, match="is failed, not pending"):
        store.submit(job.job_id, "ann")
    again = store.submit(job.job_id, "ann", again=True)
    assert (again.status, again.error, again.attempt) == ("submitting", None, 2)
    assert again.run_key != job.run_key == job.job_id


def test_a_run_of_an_earlier_attempt_neither_takes_the_job_nor_ends_it(store: JobStore) -> None:
    job = store.submit(store.create("ann", CONFIG).job_id, "ann")
    assert store.started(job.job_id, "first", 1)
    store.fail(job.job_id, "the service was stopped", "first", 1)
    assert store.started(job.job_id, "first again", 1), "Dagster tries a crashed run again by itself"
    store.fail(job.job_id, "once more", "first again", 1)
    store.submit(job.job_id, "ann", again=True)
    assert not store.started(job.job_id, "first, late", 1)
    assert not store.cancelled(job.job_id, "first, late", 1)
    assert not store.fail(job.job_id, "late", "first, late", 1)
    assert store.started(job.job_id, "second", 2)
    assert not store.cancelled(job.job_id, "first, late", 1)
    assert store.complete(job.job_id, "second", {})


def test_a_run_that_begins_an_ended_job_again_passes_no_limit(store: JobStore) -> None:
    first, *others = (store.create("ann", CONFIG).job_id for _ in range(4))
    store.submit(first, "ann")
    assert store.started(first, "run", 1)
    store.fail(first, "the service was stopped", "run", 1)
    for job_id in others:
        store.submit(job_id, "ann")
    with pytest.raises(LimitReachedError, match="you have 3 jobs queued or running"):
        store.started(first, "Dagster's second try", 1)
    assert (store.get(first).status, store.get(first).error) == ("failed", "the service was stopped")
    store.cancel(others[0], "ann")
    assert store.started(first, "Dagster's second try", 1)


def test_one_who_looked_before_its_end_concludes_a_job_without_opening_it_again(store: JobStore) -> None:
    store.submit(store.create("ann", CONFIG).job_id, "ann")
    (seen,) = store.outbox()
    store.started(seen.job_id, "run", 1)
    assert store.complete(seen.job_id, "run", {"best_model": "x"})
    assert not store.concluded(seen, "run", {"best_model": "y"})
    assert "x" in str(store.get(seen.job_id).summary)
    store.fail(seen.job_id, "late", attempt=1)
    assert store.get(seen.job_id).status == "completed"


def test_a_run_s_results_are_the_job_s_unless_it_is_to_be_cancelled(store: JobStore) -> None:
    jobs = [store.submit(store.create("ann", CONFIG).job_id, "ann") for _ in range(2)]
    for job in jobs:
        store.requested(job)
    store.cancel(jobs[1].job_id, "ann")
    assert [store.concluded(job, "run", {}) for job in jobs] == [True, False]
    found = store.get(jobs[0].job_id)
    assert (found.status, found.run_id, found.progress) == ("completed", "run", 100)
    assert store.get(jobs[1].job_id).status == "cancelling"


def test_nobody_sees_or_changes_the_job_of_another(store: JobStore) -> None:
    job = store.create("ann", CONFIG)
    for act in (
        lambda: store.get(job.job_id, "bob"),
        lambda: store.submit(job.job_id, "bob"),
        lambda: store.cancel(job.job_id, "bob"),
        lambda: store.remove(job.job_id, "bob"),
    ):
        with pytest.raises(UnknownJobError, match="no job"):
            act()
    assert store.listed("bob", None, 10) == ([], 0)
    assert store.listed("ann", None, 10)[1] == 1


def test_the_queue_is_ordered_by_priority_and_then_by_time(store: JobStore) -> None:
    ids = [store.create(user, parse(asked(priority=priority))).job_id for user, priority in (("a", 0), ("b", 5))]
    jobs = [store.submit(job_id, user) for job_id, user in zip(ids, "ab", strict=True)]
    assert [job.job_id for job in store.outbox()] == [ids[1], ids[0]]
    assert [store.place(job) for job in jobs] == [2, 1]


@pytest.mark.parametrize("name", ["../../etc", "x", "", "7d5a1c52"])
def test_an_id_that_is_none_reaches_no_folder(name: str, store: JobStore) -> None:
    with pytest.raises(UnknownJobError):
        store.job_folder(name)


def test_old_jobs_drafts_and_uploads_are_pruned_and_nothing_else(settings: Settings) -> None:
    now = [dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)]
    store = JobStore(settings.with_clock(lambda: now[0]))
    done, draft, running = (store.create("ann", CONFIG).job_id for _ in range(3))
    for job_id in (done, running):
        store.submit(job_id, "ann")
        store.started(job_id, job_id)
    store.complete(done, done, {})
    uploads = UploadStore(store.settings)
    arrival = uploads.begin("ann", 1)
    file = uploads.path(uploads.keep(arrival, "ann", "x.csv", 1).upload_id)
    for path in (store.job_folder(done), store.job_folder(draft), store.job_folder(running)):
        path.mkdir(parents=True)
    file.parent.mkdir(parents=True)
    file.write_text("x")
    now[0] += dt.timedelta(hours=25)
    assert [job.job_id for job in prune(store, list)] == [draft]
    assert not file.exists()
    assert uploads.listed("ann") == []
    now[0] += dt.timedelta(days=30)
    assert [job.job_id for job in prune(store, list)] == [done]
    assert not store.job_folder(done).exists()
    assert store.get(running).status == "running"
    assert store.job_folder(running).exists()


def test_many_old_jobs_are_removed_some_at_a_time_the_oldest_first_and_found_again_after_a_kill(
    settings: Settings,
) -> None:
    now = [dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)]
    store = JobStore(settings.with_clock(lambda: now[0]))
    ids = []
    for _ in range(5):
        ids.append(store.create("ann", CONFIG).job_id)
        store.job_folder(ids[-1]).mkdir(parents=True)
        now[0] += dt.timedelta(minutes=1)
    now[0] += dt.timedelta(days=2)

    def killed(jobs: Sequence[Job]) -> None:
        assert [job.job_id for job in jobs] == ids[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune(store, killed, at_once=2)
    assert store.ids() == frozenset(ids)
    assert all(store.job_folder(one).is_dir() for one in ids)
    removed: list[list[str]] = []
    while prune(store, lambda jobs: removed.append([job.job_id for job in jobs]), at_once=2):
        pass
    assert removed == [ids[:2], ids[2:4], ids[4:], []]
    assert not any(store.job_folder(one).exists() for one in ids)


def test_a_look_for_what_is_old_asks_the_store_as_often_however_many_jobs_there_are(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **more: opened.append(given) or connect(*given, **more))

    def looks() -> int:
        before = len(opened)
        assert prune(store, list) == []
        return len(opened) - before

    def old_folder(name: str) -> Path:
        folder = store.folder / "jobs" / name
        folder.mkdir(parents=True)
        os.utime(folder, (1, 1))
        return folder

    jobs = []
    for user in "abcdefgh":
        jobs.append(store.submit(store.create(user, CONFIG).job_id, user))
        old_folder(jobs[-1].job_id)
        if user == "a":
            few = looks()
    left = old_folder(str(uuid.uuid4()))
    assert looks() == few
    assert not left.exists(), "it has no row"
    assert all(store.job_folder(job.job_id).is_dir() for job in jobs)

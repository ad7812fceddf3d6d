"""Networks on a GPU: who asks, whose fits count where there is none, what is said. A linear model stands for them."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.ensembles import workshop
from forecast_platform.ensembles.catalog import BASES
from forecast_platform.ensembles.ending import FitEndedError, ends_at
from forecast_platform.ensembles.finishing import finish
from forecast_platform.ensembles.gpu import CPU, GPU, NOT_HERE, one_network
from forecast_platform.ensembles.learners import Learner
from forecast_platform.ensembles.members import Setup, Wanted
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.running import Run
from forecast_platform.ensembles.workshop import Workshop
from forecast_platform.settings import build
from forecast_platform.work.platform import Platform
from forecast_platform_tests.ensembles.shops import classes, done, two_groups
from forecast_platform_tests.ensembles.workflows import text_of

STACK = {"task": "stack_top_any", "stack": {"top_n": 2}}
VOTE = {"task": "vote_mix", "depends_on": ["stack_top_any"]}
ASKED = {"compute": {"serverless": ["GPU"]}}
SAID = "networks are fitted on a Tesla"


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of each fit of `linear`, which stands for a network, the device."""
    found: list[str] = []
    monkeypatch.setitem(BASES, "linear", dataclasses.replace(BASES["linear"], on_gpu=True))
    fit = Learner.fit

    def noted(base, x, y, n_classes, seed, device=CPU):
        if base.name == "linear":
            found.append(device)
        return fit(base, x, y, n_classes, seed, device)

    monkeypatch.setattr(Learner, "fit", noted)
    return found


def here(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(workshop, "gpu_here", lambda: name)


def elsewhere(shop: Workshop) -> Workshop:
    """Another process over the same rows and store."""
    return Workshop(shop.context, shop.rows, dict(shop.folds), shop.store)


def keys(outcome) -> dict[str, str]:
    return {one["base"]: one["key"] for one in outcome.bases}


def test_without_being_asked_no_gpu_is_looked_for_and_nothing_is_said(
    devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked() -> str:
        raise AssertionError("it was looked for")

    monkeypatch.setattr(workshop, "gpu_here", looked)
    for compute in ({}, {"compute": {"serverless": ["no-GPU"]}}):
        devices.clear()
        found, _ = done(classes(), STACK, VOTE, folds=2, **compute)
        assert devices == [CPU, CPU]
        assert not [note for one in found.values() for note in one.notes if "networks" in note]


@pytest.mark.parametrize("serverless", [["GPU"], ["GPU", "no-GPU"]])
def test_asked_for_a_gpu_networks_alone_are_fitted_on_it_under_keys_of_their_own(
    serverless: list[str], devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = done(classes(), STACK, folds=2)
    devices.clear()
    here(monkeypatch, "a Tesla")
    found, _ = done(classes(), STACK, VOTE, folds=2, compute={"serverless": serverless})
    assert devices == [GPU, GPU]
    own, before = keys(found["stack_top_any"]), keys(plain["stack_top_any"])
    assert own["linear"] != before["linear"]
    assert own["neighbours"] == before["neighbours"]
    assert found["stack_top_any"].notes == [SAID]
    assert found["vote_mix"].notes == [], "the stack has said it"


def test_asked_for_where_there_is_none_it_is_the_processor_s_fit_and_one_line_says_so(
    devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, shop = done(classes(), STACK, VOTE, folds=2)
    here(monkeypatch, "")
    found, _ = done(classes(), STACK, VOTE, folds=2, **ASKED)
    assert set(devices) == {CPU}
    assert keys(found["stack_top_any"]) == keys(plain["stack_top_any"])
    assert np.array_equal(found["vote_mix"].predicted, plain["vote_mix"].predicted)
    assert found["stack_top_any"].notes == [NOT_HERE]
    alone, _ = done(classes(), {"task": "vote_mix"}, folds=2, **ASKED)
    assert alone["vote_mix"].notes == [NOT_HERE], "a vote that fits its models itself says it too"


def test_a_machine_without_one_takes_what_was_fitted_on_a_gpu_where_all_of_it_is_kept(
    devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here(monkeypatch, "a Tesla")
    found, shop = done(classes(), STACK, folds=2, **ASKED)
    key = keys(found["stack_top_any"])["linear"]
    devices.clear()
    here(monkeypatch, "")
    [member] = elsewhere(shop).members([Wanted(BASES["linear"], Setup())])
    assert (member.node["key"], member.notes, devices) == (key, (SAID,), [])

    del shop.store.kept[f"{key}/1"]
    [member] = elsewhere(shop).members([Wanted(BASES["linear"], Setup())])
    assert (member.notes, devices) == ((NOT_HERE,), [CPU, CPU]), "no mixture of both"
    assert member.node["key"] != key


def test_the_model_that_small_routes_use_is_of_the_same_device(
    devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here(monkeypatch, "a Tesla")
    route = {"task": "route_feature", "route": {"feature": "x", "bins": 2}}
    done(two_groups(), route, {**STACK, "depends_on": ["route_feature"]}, folds=2, **ASKED)
    assert devices == [GPU] * len(devices)
    assert len(devices) == 6, "two splits of the plain one, and of two routes each"


def run_of(root: Path, *tasks: dict, **context) -> Run:
    classes().to_parquet(root / "table.parquet")
    text = text_of(*tasks, source={"path": str(root / "table.parquet")}, bases=["linear", "neighbours"], **context)
    settings = build(warehouse=root / "warehouse", source="sample", workers=1)
    return Run(Platform.from_settings(settings), read_workflow(text))


def test_what_a_task_follows_from_holds_that_a_gpu_is_asked_for_not_whether_one_is_there(
    tmp_path: Path, devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = (
        {"task": "route_feature", "route": {"feature": "a", "bins": 2}},
        {**STACK, "depends_on": ["route_feature"]},
    )
    plain, asked = run_of(tmp_path, *tasks).hashes, run_of(tmp_path, *tasks, **ASKED).hashes
    assert plain["route_feature"] == asked["route_feature"]
    assert plain["stack_top_any"] != asked["stack_top_any"]
    here(monkeypatch, "a Tesla")
    assert run_of(tmp_path, *tasks, **ASKED).hashes == asked
    only = {"compute": {"existing_cluster_id": "c-1", "serverless": ["no-GPU"]}}
    assert run_of(tmp_path, *tasks, **only).hashes == plain


def test_a_run_with_a_gpu_is_finished_by_one_without_and_the_report_says_where(
    tmp_path: Path, devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here(monkeypatch, "a Tesla")
    run_of(tmp_path, STACK, VOTE, folds=2, **ASKED).perform("stack_top_any")
    devices.clear()
    here(monkeypatch, "")
    driver = run_of(tmp_path, STACK, VOTE, folds=2, **ASKED)
    assert driver.finished("stack_top_any") is not None
    assert driver.perform("vote_mix").outcome.fits == 0
    result = finish(driver)
    assert devices == []
    assert SAID in Path(result.report).read_text(encoding="utf-8")


def test_a_network_whose_turn_does_not_come_ends_with_its_task_s_time_and_the_next_one_has_its_turn() -> None:
    ended = []

    def waiting() -> None:
        try:
            with ends_at(time.monotonic() + 0.05), one_network():
                ended.append("fitted")
        except FitEndedError:
            ended.append("ended")

    other = threading.Thread(target=waiting, daemon=True)
    with one_network():
        other.start()
        other.join(30)
        assert ended == ["ended"], "the other task's network takes as long as it takes"
    with pytest.raises(ValueError, match="a fit fails"), one_network():
        raise ValueError("a fit fails")
    with pytest.raises(FitEndedError), ends_at(time.monotonic() - 1), one_network():
        pass
    with ends_at(time.monotonic() + 1e12), one_network():
        ended.append("fitted")
    assert ended == ["ended", "fitted"]

"""What Dagster's records say is wrong: failed runs and checks, each a problem until what failed has passed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetCheckResult,
    AssetCheckSpec,
    AssetKey,
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    MaterializeResult,
    asset,
    in_process_executor,
)
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from forecast_platform.definitions import build_definitions
from forecast_platform.graph.automation.detect import check_problems, run_problems
from forecast_platform.graph.automation.requests import Request
from forecast_platform.graph.checks.findings import Target
from forecast_platform.graph.checks.report import Examined, earlier, result
from forecast_platform.graph.checks.unified import STALE
from forecast_platform.host.finding import Finding
from forecast_platform.settings import Settings, build
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import settings_for

SUNDAY = dt.date(2018, 4, 1)
SETTINGS = build(source="sample")
KEY = AssetCheckKey(AssetKey(["distributions", "naive"]), "plausible_paths")


def _ended(instance: DagsterInstance, settings: Settings, request: Request, good: bool) -> None:
    """A run of the request that has ended."""
    definition = build_definitions(settings).resolve_job_def(request.job)
    status = DagsterRunStatus.SUCCESS if good else DagsterRunStatus.STARTED
    run = instance.create_run_for_job(definition, tags=request.tags(), status=status)
    if not good:
        instance.report_run_failed(run, f"{request.version} {request.series} gave up")


@pytest.mark.parametrize(
    ("change", "over"),
    [
        ({"version": "v0.9"}, False),
        ({"series": ("Beta",)}, False),
        ({"models": ("random_walk",)}, False),
        ({"first": SUNDAY + dt.timedelta(days=1), "last": SUNDAY + dt.timedelta(days=1)}, True),
        ({"series": ("Alpha", "Beta"), "models": ()}, True),
    ],
)
def test_a_failed_run_is_over_with_a_good_one_of_its_version_series_and_model(
    small: Path, change: dict, over: bool
) -> None:
    settings = settings_for(small)
    failed = Request("forecast", SUNDAY, SUNDAY, ("Alpha",), "d1", "v1.0", ("naive",))
    with DagsterInstance.ephemeral() as instance:
        _ended(instance, settings, failed, False)
        _ended(instance, settings, replace(failed, **change), True)
        found = run_problems(instance, settings, dt.datetime.now(dt.timezone.utc))
    job = "job forecast; 2018-04-01 to 2018-04-01; Alpha; naive"
    assert [problem.affected for problem in found] == ([] if over else [job])


def test_a_check_that_is_evaluated_last_counts_though_its_run_was_planned_first() -> None:
    answers = [True, False]
    key = AssetCheckKey(AssetKey("unified_data"), STALE)

    @asset(name="unified_data", check_specs=[AssetCheckSpec(STALE, asset="unified_data")])
    def unified_data() -> Iterator[MaterializeResult | AssetCheckResult]:
        yield MaterializeResult()
        rule = Finding("Coffee") if answers.pop(0) else Finding("Coffee", "warning", "no new close", "look at the feed")
        yield result(key, [rule])

    job = Definitions(assets=[unified_data], executor=in_process_executor).resolve_implicit_global_asset_job_def()
    with DagsterInstance.ephemeral() as instance:
        slow, quick = (instance.create_run_for_job(job) for _ in range(2))
        for run in (quick, slow):
            assert execute_run(InMemoryJob(job), run, instance).success
        [problem] = check_problems(instance, SETTINGS, [key])
        assert (problem.affected, problem.severity) == ("Coffee", "warning")
        assert problem.what == "Coffee: no new close"
        assert problem.mend == "look at the feed"
        assert problem.cause == f"found by the check {STALE} of unified_data"
        assert problem.because == ("late/Coffee",), "which is told in its place where it is open"
        assert problem.link == f"http://127.0.0.1:3000/assets/unified_data?view=checks&checkDetail={STALE}"
        answers.append(True)
        execute_run(InMemoryJob(job), instance.create_run_for_job(job), instance)
        assert check_problems(instance, SETTINGS, [key]) == []


def _evaluated(instance: DagsterInstance, asked: Examined, *findings: Finding) -> None:
    evaluation = result(KEY, findings, earlier(instance, asked, KEY, {one.subject for one in findings}))
    event = AssetCheckEvaluation(
        evaluation.asset_key,
        evaluation.check_name,
        evaluation.passed,
        evaluation.metadata,
        severity=evaluation.severity,
        description=evaluation.description,
    )
    instance.report_runless_asset_event(event)


def test_a_failed_check_of_one_version_or_series_is_not_over_when_another_passes(small: Path) -> None:
    platform = Platform.from_settings(settings_for(small, model_version="v2.0", active_versions=("v1.0",)))
    old, new = (Target("Alpha", "naive", version, "v2.0") for version in ("v1.0", "v2.0"))
    beta = Target("Beta", "naive", "v2.0", "v2.0")
    wrong = old.bad("the spread is out of bounds", "look at the fan chart", "warning")
    runs = {version: Examined(platform, version, None, platform.settings.series_names) for version in ("v1.0", "v2.0")}
    with DagsterInstance.ephemeral() as instance:
        _evaluated(instance, runs["v1.0"], wrong, Target("Beta", "naive", "v1.0", "v2.0").good())
        _evaluated(instance, runs["v2.0"], new.good(), beta.bad("paths begin elsewhere", "make them again"))
        found = {problem.affected: problem for problem in check_problems(instance, platform.settings, [KEY])}
        assert {name: one.severity for name, one in found.items()} == {str(beta): "error", str(old): "warning"}
        assert found[str(old)].what == "Alpha naive v1.0: the spread is out of bounds"
        assert found[str(old)].mend == "look at the fan chart"
        assert len({one.key for one in found.values()}) == 2, "each is told by itself"
        _evaluated(instance, runs["v2.0"], new.good(), beta.good())
        [problem] = check_problems(instance, platform.settings, [KEY])
        assert (problem.affected, problem.severity) == ("Alpha naive v1.0", "warning")
        assert "Beta" not in problem.what
        # What the daily run does not make any more is nobody's problem.
        assert check_problems(instance, platform.settings, [KEY], frozenset({str(new), str(beta)})) == []
        assert check_problems(instance, platform.settings, [KEY], frozenset({str(old)})) == [problem]
        _evaluated(instance, runs["v1.0"], old.good())
        assert check_problems(instance, platform.settings, [KEY]) == []

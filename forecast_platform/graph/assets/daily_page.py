"""daily_page: one page a day for people, made after the scores; and the job and sensor that make it."""

from collections.abc import Callable, Sequence
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    DagsterRunStatus,
    DefaultSensorStatus,
    MaterializeResult,
    MetadataValue,
    RunRequest,
    RunsFilter,
    RunStatusSensorContext,
    SensorDefinition,
    SkipReason,
    asset,
    define_asset_job,
    run_status_sensor,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from forecast_platform.graph.assets import shown
from forecast_platform.settings import Settings
from forecast_platform.work.platform import Platform

KEY = AssetKey("daily_page")
# An asset is an op too, and a code server refuses a job and an op of one name.
JOB = "publish_daily_page"
_SCORE = "score"
_BACKFILL_TAG = "dagster/backfill"
_OPEN = [
    *(DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED),
    *(DagsterRunStatus.STARTING, DagsterRunStatus.STARTED),
]


def daily_page_asset(health: Callable[[Settings], Any]) -> AssetsDefinition:
    """The asset, without partitions: it shows the newest of everything, and what `health` finds."""

    @asset(
        key=KEY,
        description=(
            "Today's forecasts with the champion's fan, whether the last close was inside each model's bands, the "
            "map of dates, the leaderboard and health, on one page that needs no network. Reads what is there, "
            "outside the lineage: it is made after the scores."
        ),
        required_resource_keys={"platform"},
        **shown("reports", "python", "html"),
    )
    def daily_page(context: AssetExecutionContext) -> MaterializeResult:
        from forecast_platform.pages.daily_page import daily_page as write

        platform: Platform = context.resources.platform
        written = write(platform, health)
        newest = f"{platform.settings.reports_url}/daily.html"
        return MaterializeResult(
            metadata={
                "page": MetadataValue.url(written.address),
                "newest": MetadataValue.url(newest),
                "data": "\n".join(map(str, written.said)),
            }
        )

    return daily_page


def daily_page_job() -> UnresolvedAssetJobDefinition:
    """The job of the page alone."""
    return define_asset_job(JOB, AssetSelection.assets(KEY), description="The page for people who look.")


def daily_page_sensor(
    settings: Settings, job: UnresolvedAssetJobDefinition, score_jobs: Sequence[UnresolvedAssetJobDefinition]
) -> SensorDefinition:
    """Asks for the page whenever a score run that belongs to no backfill has succeeded and no other is under way."""
    names = {job.name for job in score_jobs}

    @run_status_sensor(
        name="daily_page_after_score",
        run_status=DagsterRunStatus.SUCCESS,
        monitored_jobs=list(score_jobs),
        request_job=job,
        default_status=DefaultSensorStatus.RUNNING if settings.automated else DefaultSensorStatus.STOPPED,
        description="The daily page is made anew after the day's score runs, backfills excepted: once for all groups.",
    )
    def after_score(context: RunStatusSensorContext) -> RunRequest | SkipReason:
        run = context.dagster_run
        if _BACKFILL_TAG in run.tags:
            return SkipReason("part of a backfill")
        open_runs = context.instance.get_runs(RunsFilter(statuses=_OPEN))
        others = [one for one in open_runs if one.job_name in names and _BACKFILL_TAG not in one.tags]
        if others:
            # The page shows all series: the last of the groups' score runs asks for it. One that fails is tried again.
            return SkipReason(f"{others[0].job_name} is under way, and asks for the page at its end")
        return RunRequest(run_key=run.run_id)

    return after_score

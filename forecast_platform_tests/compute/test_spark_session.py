"""Sessions on a Spark Connect server: one a process, made anew where it is lost; none is an error with the mend."""

from __future__ import annotations

import logging
import logging.config
from pathlib import Path
from typing import Any

import pytest

from forecast_platform.clients import spark_session
from forecast_platform.clients.spark import session_for
from forecast_platform.clients.spark_session import SparkUnavailableError, silence_expected_errors
from forecast_platform.compute.spark import SparkCompute
from forecast_platform.doctor.unity import unity_tables
from forecast_platform.pipeline.forecast_plan import plan
from forecast_platform.settings import build
from forecast_platform.warehouse.schemas import FORECAST_METADATA
from forecast_platform.work.platform import Platform
from forecast_platform_tests.compute.engines import needs_sail
from forecast_platform_tests.unity_catalog import Lakehouse
from forecast_platform_tests.warehouse.implementations import days, metadata, where
from forecast_platform_tests.worlds import days as span
from forecast_platform_tests.worlds import settings_for

NOBODY = "sc://127.0.0.1:9/;token=very-secret"


def active_session() -> Any:
    from pyspark.sql.connect.session import SparkSession

    return SparkSession.getActiveSession()


@needs_sail
@pytest.mark.filterwarnings("ignore:.*RETRIES_EXCEEDED")
def test_a_server_that_is_not_there_is_named_with_the_mend_and_without_its_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spark_session, "_FIRST", (1, 50))
    settings = build(warehouse=tmp_path, tables="unity_catalog", spark={"master": NOBODY})
    before = active_session()
    with pytest.raises(SparkUnavailableError) as refused:
        session_for(settings)
    # Other libraries, MLflow for one, ask the active session, and would wait for it for minutes.
    assert active_session() is before
    said = str(refused.value)
    assert said.startswith("no session on sc://127.0.0.1:9: ")
    assert "refused" in said
    assert "spark.master" in said
    assert "very-secret" not in said
    found = {finding.subject: finding for finding in unity_tables(settings)}
    assert found["spark"].severity == "error"
    assert "very-secret" not in f"{found['spark'].found} {found['spark'].mend}"


@needs_sail
@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("sc://", "sc://"),
        ("sc://spark:port", "sc://spark:port"),
        ("sc://spark/path", "sc://spark/path"),
        ("sc://spark:15002;token=very-secret", "sc://spark:15002"),
        ("sc://spark:15002/token=very-secret", "sc://spark:15002"),
        ("sc://spark:15002,token=very-secret", "sc://spark:15002"),
        ("sc://tok:very-secret@spark:15002x", "sc://spark:15002x"),
    ],
)
def test_an_address_that_is_none_is_named_with_what_one_looks_like(tmp_path: Path, address: str, shown: str) -> None:
    settings = build(warehouse=tmp_path, compute="spark", spark={"master": address})
    with pytest.raises(SparkUnavailableError, match="sc://HOST:PORT") as refused:
        session_for(settings)
    assert repr(shown) in str(refused.value)
    assert "very-secret" not in str(refused.value)
    assert refused.value.__cause__ is None


@needs_sail
def test_a_run_stops_at_the_first_job_that_has_no_server(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    class Gone:
        @property
        def spark_session(self) -> object:
            asked.append(self)
            if len(asked) > 1:
                raise SparkUnavailableError("no session on sc://spark:15002")
            return session_for(settings)

    def broken(*_: object) -> None:
        raise OSError("no such machine")

    settings = settings_for(small, compute="spark", spark={"master": "sail", "cores": 1, "partitions_per_core": 1})
    platform = Platform.from_settings(settings, Gone())
    monkeypatch.setattr("forecast_platform.compute.spark_pieces.MIN_GROUP_DATES", 1)
    monkeypatch.setattr("forecast_platform.compute.spark.ATTEMPTS", 2)
    asked_for = span("2017-12-20", "2018-01-15")
    chunks = plan(platform, "Alpha", "naive", "v1.0", asked_for).chunks
    results = list(SparkCompute(worker=broken).run(platform, chunks, lambda days: {}))  # type: ignore[arg-type]
    assert {day for result in results for day in result.failed} == set(asked_for)
    assert all(result.fatal for result in results)
    assert all("no session on sc://spark:15002" in reason for result in results for reason in result.failed.values())
    assert len(asked) == 2


def test_a_lost_session_is_made_anew_and_the_warehouse_goes_on(lakehouse: Lakehouse, tmp_path: Path) -> None:
    settings = build(warehouse=tmp_path, tables="unity_catalog", spark={"master": lakehouse.remote})
    warehouse = Platform.from_settings(settings).warehouse
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 1)), where("a", days(1, 1)))
    first = session_for(settings)
    assert session_for(settings) is first
    # The connection is broken, which the session does not know yet.
    first.client._channel.close()
    second = session_for(settings)
    assert second is not first
    assert active_session() is not first
    assert warehouse.rows(FORECAST_METADATA) == 1


def test_a_table_that_is_not_there_yet_prints_no_stack_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("pyspark.sql.connect.logging")
    before = (logger.disabled, logger.level)
    monkeypatch.delenv("SPARK_CONNECT_LOG_LEVEL", raising=False)
    try:
        silence_expected_errors()
        # What Dagster does at each run: loggers that were disabled are no longer.
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "loggers": {logger.name: {}}})
        assert not logger.isEnabledFor(logging.ERROR)
    finally:
        logger.disabled, logger.level = before

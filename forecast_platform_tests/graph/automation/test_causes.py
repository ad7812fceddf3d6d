"""Errors as they are seen in the wild, and what the table makes of them."""

from __future__ import annotations

import re

import pytest

from forecast_platform.graph.automation.causes import CAUSES, explain

CASES = [
    ("ModuleNotFoundError: No module named 'pmdarima'", "package is missing", "install the package"),
    ("ImportError: cannot import name 'foo' from 'bar'", "package is missing", "install the package"),
    ("TypeError: simulate() got an unexpected keyword argument 'anchor'", "two versions", "restart daemon"),
    ("[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column `vix` cannot be resolved", "another schema", "migrate"),
    ("NoDataError: unified_data of Coffee has no column usd_brl: ingest it again", "another schema", "ingest again"),
    ("sarimax_auto_weather: MemoryError: Unable to allocate 3.1 GiB", "ran out of memory", "lower max_p"),
    ("RuntimeError: out of memory during the order search", "ran out of memory", "lookback"),
    ("numpy MemoryError: Unable to allocate", "ran out of memory", "lower workers"),
    ("WarehouseError: commodity.silver.unified_data: the table cannot be read (no file)", "damaged", "restore"),
    ("[SESSION_EXPIRED] the session has expired", "Spark session ended", "launch the run again"),
    ("AWS says: InsufficientInstanceCapacity: no capacity in us-east-1a", "no machines", "another instance type"),
    ("OSError: [Errno 28] No space left on device", "disk is full", "free space"),
    ("DiskFullError: 0.4 GB free disk space left, min_free_gb is 1", "disk is full", "free space"),
    ("no trained_models/naive v1.0 for Coffee, window 2022-01-01: materialize", "no fitted model", "command"),
    ("CommitFailedError: Failed to commit transaction: 15", "same time", "one run a model"),
    ("data of Coffee end on 2021-05-10, 9 days before the last session due", "have not arrived", "landing files"),
    ("sqlite3.OperationalError: database is locked", "SQLite", "Postgres"),
    ("market/coffee.csv, row 17: close 'abc' is not a number", "refused", "mend the row"),
    ("market/coffee.csv: still being written: its last line has no end, and it", "being written", "by itself"),
    ("Coffee: 9 of 9 closes are 0.01 of what they were: the unit has changed; mend", "another unit", "mend the source"),
    ("fitted on closes around 46; unified_data now holds 0.46 for them: the unit has changed", "unit", "is meant"),
    ("PermissionError: [Errno 13] Permission denied: '/data/x'", "may not read or write", "right"),
    ("v1.0 was made with algorithm version 1, the code is at 2", "new algorithm version", "model_version"),
    ("The run worker terminated unexpectedly.", "stopped from outside", "tried again"),
]


@pytest.mark.parametrize(("error", "why", "mend"), CASES, ids=[error[:40] for error, _, _ in CASES])
def test_a_known_error_has_its_cause_and_its_mend(error: str, why: str, mend: str) -> None:
    found_why, found_mend = explain(error, "the log")
    assert why in found_why
    assert mend in found_mend


def test_the_name_in_the_error_is_in_the_cause() -> None:
    assert explain("No module named 'pmdarima'", "")[0].endswith("(pmdarima)")


def test_a_newest_close_that_is_not_believed_is_named_with_the_command_that_confirms_it() -> None:
    error = (
        "xgboost: the newest close of Coffee, 12 on 2018-01-25, is no close that the forecast of 2018-01-25 held "
        "possible (95 %: 118.2 to 128.9; the close before is 123.65): nothing is forecast from it"
    )
    why, mend = explain(error, "")
    assert why.startswith("Coffee's newest close, 12 on 2018-01-25, lies far outside")
    assert "`forecast-platform infer --commodity Coffee --accept 2018-01-25`" in mend


def test_an_unknown_error_says_where_the_whole_log_is() -> None:
    where = "run 1234 at http://127.0.0.1:3000/runs/1234; its output in /x/compute_logs/step.err"
    assert explain("ZeroDivisionError: division by zero", where) == ("not known", f"read the full log: {where}")


def test_every_pattern_compiles_and_says_something() -> None:
    for cause in CAUSES:
        re.compile(cause.pattern)
        assert cause.why
        assert cause.mend

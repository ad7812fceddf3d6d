"""Which test has the kind of each shared case by input that it makes itself, so that a clone without them tests it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from forecast_platform_tests.sources import test_shared_cases

TESTS = Path(__file__).resolve().parents[1]

KINDS = {
    "cot-release-lag": "doctor/test_sources.py: test_a_column_of_one_weekday_without_a_lag_warns",
    "cut-last-line": "sources/test_cases.py: test_a_last_close_that_broke_off_is_refused_until_confirmed",
    "day-shifted": "sources/test_what_numbers_mean.py: "
    "test_weekly_monthly_shifted_and_seven_day_closes_are_refused_each_with_its_mend",
    "import-fred": "sources/test_formats.py: test_fred_s_columns_come_by_the_mapping",
    "import-investing": "sources/test_formats.py: test_prices_are_read_as_exported",
    "import-yahoo-stooq": "sources/test_formats.py: test_prices_are_read_as_exported",
    "long-holiday-doctor": "doctor/test_sources.py: test_a_long_holiday_is_not_late",
    "stray-file": "sources/test_cases.py: test_a_stray_file_is_refused_by_name_and_the_series_beside_it_go_on",
    "unfinished-bar": "sources/test_cases.py: "
    "test_a_file_that_is_older_than_the_close_of_its_newest_session_does_not_give_it",
    "unit-switch-between-runs": "pipeline/test_ingest.py: test_a_revision_by_one_factor_is_held_until_it_is_confirmed",
    "uppercase-suffix": "sources/test_cases.py: test_suffixes_are_read_in_any_case_and_other_files_are_named",
    "weather-sentinel": "sources/test_what_numbers_mean.py: test_sentinels_of_weather_are_missing_and_said",
    "weekly-as-daily": "sources/test_what_numbers_mean.py: "
    "test_weekly_monthly_shifted_and_seven_day_closes_are_refused_each_with_its_mend",
    "xls-and-quoted-semicolon": "sources/test_cases.py: test_a_foreign_file_is_named_for_what_it_is",
    "zero-price": "sources/test_what_numbers_mean.py: "
    "test_an_exact_zero_among_prices_is_missing_and_near_zero_oil_stays",
    "zone-ahead-row": "sources/test_cases.py: test_a_row_of_tomorrow_is_left_out_and_a_later_one_refused",
}


def test_every_case_that_is_read_has_its_kind_by_input_of_our_own() -> None:
    assert KINDS.keys() == test_shared_cases.READ


@pytest.mark.parametrize("case", KINDS)
def test_the_test_of_a_kind_is_there_and_needs_no_shared_file(case: str) -> None:
    file, name = KINDS[case].split(": ")
    [test] = [
        node
        for node in ast.parse((TESTS / file).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    assert not {argument.arg for argument in test.args.args} & {"cases", "case", "landing", "panel", "eia"}

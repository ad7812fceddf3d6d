"""A table of settings that somebody could write and nobody can mean: each is refused in one text that names it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from forecast_platform.settings import SettingsError, build

REFUSED = r"""
daily_time: 25:00
daily_time: 8
daily_time: 8.5
daily_time: 08:00:61
daily_time: "8 am"
daily_time: ''
daily_time: [8, 0]
training_time: 00:00Z
training_time: -1:00
start_date: 2018-13-01
start_date: 2018-02-30
start_date: 0001-01-01
start_date: 01/01/2018
start_date: 2018-1-1
start_date: 20180101
start_date: 2018-01-01 08:00
start_date: ''
start_date: true
end_date: 1e9
end_date: 2017-01-01
warehouse: '   '
warehouse: gs://bucket/x
warehouse: dbfs:/tables
warehouse: wasbs://c@a/x
warehouse: file:///data/warehouse
warehouse: https://host/x
warehouse: "/data/ware\nhouse"
warehouse: "/data/x\t"
warehouse: ~no-such-account/x
landing: ~no-such-account/x
training_jobs: {store: ''}
training_jobs: {store: s3://bucket/jobs.db}
training_jobs: {store: ~no-such-account/jobs.db}
language: {model: ''}
language: {model: s3://bucket/model}
language: {model: ~no-such-account/model}
mlflow_tracking_uri: ''
mlflow_tracking_uri: '  '
feeds: {weather_url: ''}
feeds: {weather_url: archive.example}
warehouse: 5
warehouse: [a]
landing: hdfs://host/x
n_paths: 99
n_paths: 2001
n_paths: 500.5
n_paths: true
n_paths: '１００'
n_paths: 0b1100100
n_paths: 1:40
n_paths: ''
n_paths: [500]
horizon: 14.0001
horizon: -14
horizon: 61
seed: -1
seed: 9223372036854775808
seed: 1.5
workers: 0
workers: .inf
workers: 1e3
min_free_gb: .nan
min_free_gb: nan
min_free_gb: -0.1
min_free_gb: Infinity
min_free_gb: 1,5
retry_minutes: inf
retry_minutes: 241
data_deadline_hours: 0
data_deadline_hours: 12.5
file_settle_seconds: -1
catch_up_days: 0
vacuum_hours: 23
keep_runs_days: 6
lookback_years: 31
max_staleness_days: -1
timezone: ''
timezone: EST5EDT4
timezone: +02:00
timezone: ../../etc/passwd
timezone: "UTC\n"
train_frequency: biweekly
models: []
models: [naive, naive]
models: naive xgboost
models: {naive: {}}
model_version: ''
model_version: v 1
model_version: ../v1
model_version: 1.0
active_versions: ["v1.0\n"]
automation: maybe
automation: 2
auto_promote: ''
reports_url: ftp://host/x
reports_url: http://
reports_url: localhost:3001
ui_url: "http://127.0.0.1:3000\n"
mlflow_ui_url: http://host:0
readable_by: everyone
web_token: short
allowed_hosts: ["*"]
allowed_origins: [null]
trusted_proxy: {addresses: [0.0.0.0/0]}
trusted_proxy: {header: X-User}
artifact_key: short
email: {host: h}
email: {host: h, sender: s, recipients: []}
email: {host: h, sender: s, recipients: [r], port: 65536}
publication_lag_days: {weather: 31}
publication_lag_days: {weather: -1}
publication_lag_days: {weather: 1.5}
publication_lag_days: 5
feeds: {attempts: x}
spark: {partitions_per_core: 9}
groups: {softs: [Nobody]}
series: Coffee
series: [Coffee]
series: [{}]
series: [{name: ''}]
series: [{name: 5}]
series: [{name: actuals}]
series: [{name: ../x}]
series: [{name: Coffee, confirmed: [yesterday]}]
series: [{name: Coffee, roll_dates: [1514764800]}]
series: [{name: Coffee, roll_dates: [1899-12-31]}]
series: [{name: Coffee, roll_rule: tea}]
series: [{name: Coffee, step: hourly}]
nonsense: 1
daily_time: !!python/object/apply:os.getcwd []
""".strip().splitlines()
"""Lines of a YAML file, the setting's name first."""

RIGHT = {
    "daily_time: 17:30": "17:30:00",
    "daily_time: 8:05": "08:05:00",
    "training_time: '00:00'": "00:00:00",
    "n_paths: 1_000": "1000",
    "n_paths: 0500": "500",
    "min_free_gb: 1e-3": "0.001",
    "start_date: 2018-01-01": "2018-01-01",
    "timezone: UTC": "UTC",
    "automation: off": "False",
    "models: [naive]": "('naive',)",
}
"""Lines that look odd and are what they look like."""


@pytest.mark.parametrize("line", REFUSED)
def test_what_nobody_can_mean_is_refused_by_name(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "platform.yaml"
    file.write_text(f"{line}\n", encoding="utf-8")
    monkeypatch.setenv("FORECAST_PLATFORM_CONFIG", str(file))
    with pytest.raises(SettingsError) as refused:
        build()
    assert line.partition(":")[0] in str(refused.value)
    nested = re.match(r"(\w+): \{(store|model|weather_url):", line)
    assert nested is None or ".".join(nested.groups()) in str(refused.value)


def test_a_landing_folder_in_the_home_of_nobody_is_named_before_it_is_looked_into() -> None:
    with pytest.raises(SettingsError, match="landing: ~no-such-account"):
        build(source="landing", landing="~no-such-account/x")


def test_a_settings_file_in_the_home_of_nobody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_CONFIG", "~no-such-account/platform.yaml")
    with pytest.raises(SettingsError, match=r"'~no-such-account/platform.yaml': no account"):
        build()


@pytest.mark.parametrize(("line", "value"), RIGHT.items())
def test_what_looks_odd_and_is_right_is_read(
    line: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "platform.yaml"
    file.write_text(f"{line}\n", encoding="utf-8")
    monkeypatch.setenv("FORECAST_PLATFORM_CONFIG", str(file))
    assert str(getattr(build(), line.partition(":")[0])) == value


def test_the_list_of_a_mapping_s_names_has_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "platform.yaml"
    file.write_text("series: [{name: Coffee, name: Sugar}]\n")
    monkeypatch.setenv("FORECAST_PLATFORM_CONFIG", str(file))
    with pytest.raises(SettingsError, match="name: given twice in the block that begins on line 1"):
        build()

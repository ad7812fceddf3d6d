"""A wrong setting fails at load, with its name, its value and what is allowed; a commodity is a few lines of YAML."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest

from forecast_platform.settings import SettingsError, build
from forecast_platform_tests.worlds import write_landing


def test_the_default_is_the_wti_sample_with_its_end() -> None:
    settings = build()
    assert settings.series_names == ("WTI",)
    assert settings.end_date == dt.date(2019, 1, 4)
    assert (settings.horizon, settings.n_paths, settings.model_version) == (14, 2000, "v1.0")
    assert settings.start_date == dt.date(2010, 1, 1)
    assert build(start_date=dt.date(2018, 1, 1)).history_start == dt.date(2013, 1, 1)
    assert settings.tracking_uri.startswith("sqlite:///")


def test_landing_without_yaml_makes_a_series_of_every_market_file(tmp_path: Path) -> None:
    settings = build(source="landing", landing=write_landing(tmp_path))
    assert settings.series_names == ("Alpha", "Beta")
    assert settings.series[0].regions is None
    assert settings.end_date is None


def test_a_commodity_is_a_few_lines_of_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "platform.yaml"
    file.write_text(
        f"source: landing\nlanding: {write_landing(tmp_path / 'landing')}\nmodels: [naive]\n"
        "series:\n  - name: Arabica\n    source: alpha\n    covariates: [vix]\n    regions: [North]\n"
    )
    monkeypatch.setenv("FORECAST_PLATFORM_CONFIG", str(file))
    settings = build()
    assert settings.series_names == ("Arabica",)
    assert settings.series[0].stem == "alpha"
    assert settings.models == ("naive",)


def test_the_environment_overrides_the_yaml_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "platform.yaml"
    file.write_text("n_paths: 500\nseed: 3\n")
    monkeypatch.setenv("FORECAST_PLATFORM_CONFIG", str(file))
    monkeypatch.setenv("FORECAST_PLATFORM_N_PATHS", "300")
    settings = build()
    assert (settings.n_paths, settings.seed) == (300, 3)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("N_PATHS", "5", ["n_paths", "'5'", "greater than or equal to 100"]),
        ("TRAIN_FREQUENCY", "biweekly", ["train_frequency", "'biweekly'", "'semiannually'"]),
        ("MODELS", '["prophecy"]', ["models", "prophecy", "naive"]),
        ("START_DATE", "2018-02-01", ["2018-02-01", "not the first day", "2018-01-01"]),
        ("CONFIG", "/nowhere/x.yaml", ["/nowhere/x.yaml", "no such file"]),
        ("NONSENSE", "1", ["FORECAST_PLATFORM_NONSENSE", "no such setting", "FORECAST_PLATFORM_SOURCE"]),
        ("N_PATH", "500", ["FORECAST_PLATFORM_N_PATH: no such setting, perhaps FORECAST_PLATFORM_N_PATHS"]),
        ("REPORTS_URL", "banana", ["reports_url", "'banana'", "such as http://127.0.0.1:3001"]),
        ("REPORTS_URL", "http://127.0.0.1:80000", ["reports_url", "80000", "a port up to 65535"]),
        ("HORIZON", "6", ["horizon", "'6'", "greater than or equal to 7"]),
        ("HORIZON", "61", ["horizon", "'61'", "less than or equal to 60"]),
        ("TIMEZONE", "Mars/Olympus", ["timezone", "Mars/Olympus", "IANA"]),
        ("SOURCE", "oracle", ["source", "'oracle'", "'landing'"]),
        ("SOURCE", "landing", ["FORECAST_PLATFORM_LANDING is not set"]),
        ("MODEL_VERSION", "v 1", ["model_version", "'v 1'", "letters"]),
        ("COMPUTE", "abacus", ["compute", "'abacus'", "'local'"]),
        ("SERIES", "Coffee", ["FORECAST_PLATFORM_SERIES", "'Coffee'", "JSON"]),
        ("MODELS", "naive,oracle", ["models", "oracle", "naive"]),
        ("SERIES", '[{"name": "Cof fee"}]', ["series", "Cof fee", "letters"]),
        ("SERIES", '[{"name": "Coffee", "colour": "brown"}]', ["series.0.colour: no such setting"]),
        ("SERIES", '[{"name": "Coffee"}, {"name": "coffee"}]', ["differ by more than case"]),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: list[str]
) -> None:
    monkeypatch.setenv(f"FORECAST_PLATFORM_{variable}", value)
    with pytest.raises(SettingsError) as caught:
        build()
    for part in told:
        assert part in str(caught.value)


def test_a_secret_whose_name_was_misspelt_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_SLACK_WEBHOK", "https://hooks.example/T0/secret")
    with pytest.raises(SettingsError, match="SLACK_WEBHOK: no such setting") as told:
        build()
    assert "secret" not in str(told.value)


def test_an_unknown_setting_of_the_yaml_file_is_named_with_the_one_that_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("modells: [naive]\n")
    monkeypatch.setenv("FORECAST_PLATFORM_CONFIG", str(file))
    with pytest.raises(SettingsError, match="modells: no such setting, perhaps models"):
        build()


def test_a_landing_folder_without_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no \.csv or \.parquet file in .*market"):
        build(source="landing", landing=tmp_path)


def test_a_folder_of_tables_in_a_volume_of_databricks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    for folder in ("/Volumes/main/forecast/warehouse", "/dbfs/forecast"):
        with pytest.raises(SettingsError, match=r"(?s)cannot be committed: set tables to unity_catalog"):
            build(warehouse=folder)
        assert build(warehouse=folder, tables="unity_catalog").warehouse == Path(folder)
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert build(warehouse="/Volumes/Disk/warehouse").tables == "folder", "a disk"
    assert build(warehouse="/Volumes/Disk/warehouse").tracking_uri.startswith("sqlite:"), "beside the tables"


def test_on_a_mac_a_volume_is_no_disk_and_a_disk_no_volume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from forecast_platform.settings import unity

    monkeypatch.setattr("platform.system", lambda: "Darwin")
    # macOS always has the folder, with its disks in it.
    (tmp_path / "Disk").mkdir()
    monkeypatch.setattr(unity, "VOLUMES", tmp_path)
    on_laptop = build(tables="unity_catalog", unity={"volume": "commodity.forecast.platform"})
    assert not on_laptop.warehouse.is_relative_to(tmp_path)
    assert not unity.mounted(tmp_path / "commodity" / "forecast" / "platform")
    assert unity.mounted(tmp_path / "Disk" / "warehouse")


def test_more_partitions_than_dagster_carries_are_refused_with_the_mend() -> None:
    series = [{"name": f"S{number}"} for number in range(100)]
    last = dt.date(2025, 12, 31)  # 2,922 days from the default start: 34 series are 99,348 partitions
    with pytest.raises(SettingsError) as told:
        build(series=series, end_date=last)
    assert "series: 100 series over 2,922 days are 292,200 partitions, more than the 100,000" in str(told.value)
    assert "spread them over 3 groups or more, of at most 34 series each (setting groups" in str(told.value)
    names = [one["name"] for one in series]
    groups = {"softs": names[:34], "grains": names[34:68], "metals": names[68:]}
    assert [len(one.series) for one in build(series=series, end_date=last, groups=groups).series_groups] == [34, 34, 32]
    groups = {"softs": names[:35], "grains": names[35:68], "metals": names[68:]}
    with pytest.raises(SettingsError, match=r"groups: softs: 35 series .* spread them over 2 groups or more"):
        build(series=series, end_date=last, groups=groups)


def test_a_list_of_names_may_be_written_with_commas_or_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_MODELS", "naive, xgboost")
    monkeypatch.setenv("FORECAST_PLATFORM_ACTIVE_VERSIONS", '["v1.1"]')
    settings = build()
    assert settings.models == ("naive", "xgboost")
    assert settings.active_versions == ("v1.1",)


@pytest.mark.parametrize(("text", "told"), [("models: [", "not readable as YAML"), ("- naive", "not a list")])
def test_a_yaml_file_that_holds_no_settings_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    file = tmp_path / "platform.yaml"
    file.write_text(text)
    monkeypatch.setenv("FORECAST_PLATFORM_CONFIG", str(file))
    with pytest.raises(SettingsError, match=told) as caught:
        build()
    assert str(file) in str(caught.value)


def test_a_lag_of_a_column_goes_before_that_of_its_kind() -> None:
    series = [{"name": "Coffee", "covariates": ["cot_net", "vix"]}]
    lags = build(publication_lag_days={"macro": 1, "cot_net": 3}, series=series).publication_lag_days
    assert [lags.of(name, "macro") for name in ("cot_net", "vix")] == [3, 1]
    assert [lags.of(name, kind) for name, kind in (("close", "market"), ("temp_max_c", "weather"))] == [0, 0]


@pytest.mark.parametrize(
    ("lags", "reason"),
    [
        ({"cot_ne": 3}, "publication_lag_days.cot_ne: no such column; .*perhaps cot_net"),
        ({"cot_net": 31}, "publication_lag_days.cot_net .* = 31"),
        ({"cot_net": "soon"}, "publication_lag_days.cot_net .* = 'soon'"),
        ({"close": 1}, "publication_lag_days.close: prices have one lag, `market`"),
    ],
)
def test_a_lag_of_no_column_is_refused(lags: dict[str, object], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        build(publication_lag_days=lags, series=[{"name": "Coffee", "covariates": ["cot_net"]}])


def test_a_lag_of_a_column_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_PUBLICATION_LAG_DAYS__COT_NET", "3")
    settings = build(series=[{"name": "Coffee", "covariates": ["cot_net"]}])
    assert settings.publication_lag_days.by_column == {"cot_net": 3}


@pytest.mark.parametrize(
    ("yaml", "told"),
    [
        ("daily_time: 63000", ["daily_time", "63000", "such as 17:30"]),
        ("daily_time: '08:00+02:00'", ["daily_time", "08:00+02:00", "without an offset"]),
        ("start_date: 1514764800", ["start_date", "1514764800", "such as 2018-01-01"]),
        ("start_date: 1890-01-01", ["start_date", "not before 1900-01-01"]),
        ("end_date: 2019-01-01T00:00:00Z", ["end_date", "such as 2018-01-01"]),
        ("warehouse: ''", ["warehouse", "empty"]),
        ("warehouse: s3://bucket/warehouse", ["warehouse", "s3://bucket/warehouse", "a path on a disk is meant"]),
        ("source: landing\nlanding: abfss://container@host/x", ["an address; a path on a disk is meant"]),
        ('model_version: "v1.0\\n"', ["model_version: a line break"]),
        ('series: [{name: "Coffee\\n"}]', ["series.0.name: a line break"]),
        ("n_paths: 500\nn_paths: 300", ["n_paths: given twice", "line 1"]),
        ("feeds:\n  attempts: 1\n  attempts: 2", ["attempts: given twice", "line 2"]),
        ("min_free_gb: .inf", ["min_free_gb", "'.inf'"]),
        ("min_free_gb: 1e999", ["min_free_gb", "finite number"]),
        ("n_paths: 0x1F4", ["n_paths", "'0x1F4'", "valid integer"]),
        ("x: " + "[" * 5000, ["nested deeper than 12"]),
        ("a: &a [1, 2]\nb: *a", ["line 2: *a repeats another part"]),
        ("models: [" + "naive, " * 60_000 + "]", ["more than 50,000 values"]),
        ("# " + "x" * 1_100_000, ["1,100,002 bytes", "at most 1,000,000"]),
    ],
)
def test_a_yaml_file_that_would_be_taken_for_something_else_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, yaml: str, told: list[str]
) -> None:
    file = tmp_path / "platform.yaml"
    file.write_text(yaml)
    monkeypatch.setenv("FORECAST_PLATFORM_CONFIG", str(file))
    with pytest.raises(SettingsError) as error:
        build()
    assert all(text in str(error.value) for text in told), str(error.value)


def test_yaml_times_dates_and_numbers_are_what_they_look_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "platform.yaml"
    file.write_text(
        "daily_time: 17:30\ntraining_time: 8:05\nstart_date: 2018-01-01\nn_paths: 0500\nmin_free_gb: 1e-3\n"
        "auto_promote: yes\nlanding:\n"
    )
    monkeypatch.setenv("FORECAST_PLATFORM_CONFIG", str(file))
    settings = build()
    assert (settings.daily_time, settings.training_time) == (dt.time(17, 30), dt.time(8, 5))
    assert (settings.start_date, settings.n_paths, settings.min_free_gb) == (dt.date(2018, 1, 1), 500, 0.001)
    assert settings.auto_promote
    assert settings.landing is None


@pytest.mark.parametrize("variable", ["WAREHOUSE", "CONFIG", "LANDING"])
def test_an_empty_path_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(f"FORECAST_PLATFORM_{variable}", "")
    with pytest.raises(SettingsError, match=f"{variable.lower()}.*empty"):
        build()


SIX = [{"name": f"S{number}"} for number in range(6)]


def test_groups_keep_the_order_of_the_series_and_leave_the_rest_without_a_prefix() -> None:
    settings = build(series=SIX, groups={"softs": ["S4", "s1"], "grains": ["S0"]})
    assert [(one.name, one.series) for one in settings.series_groups] == [
        ("", ("S2", "S3", "S5")),
        ("softs", ("S1", "S4")),
        ("grains", ("S0",)),
    ]
    assert settings.group_of("s4").name == "softs"
    assert [one.name for one in build(series=SIX).series_groups] == [""]


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ({"softs": ["S1", "Cofee"]}, "groups: softs: series 'Cofee' is not configured; known: S0, S1"),
        ({"softs": ["S1"], "grains": ["s1"]}, "groups: series S1 is in softs and in grains"),
        ({"softs": ["S1", "S1"]}, "groups: series S1 is twice in softs"),
        ({"softs": []}, "groups: softs has no series"),
        ({"Softs": ["S1"]}, "groups: 'Softs': small letters"),
        ({"distributions": ["S1"]}, "groups: 'distributions' is the name of a table"),
    ],
)
def test_a_wrong_group_is_named_with_the_mend(groups: dict[str, list[str]], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        build(series=SIX, groups=groups)
    assert told in str(caught.value)


def test_groups_may_be_given_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_GROUPS", '{"energy": ["WTI"]}')
    assert [(one.name, one.series) for one in build().series_groups] == [("energy", ("WTI",))]


@pytest.mark.parametrize(
    ("portfolios", "told"),
    [
        ({"book": {"Cofee": 1}}, "portfolios: book: series 'Cofee' is not configured; known: WTI"),
        ({"book": {}}, "portfolios: book has no position"),
        ({"../book": {"WTI": 1}}, "letters, digits and dashes"),
    ],
)
def test_a_portfolio_names_series_that_there_are(portfolios: dict[str, dict[str, float]], told: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(told)):
        build(portfolios=portfolios)


def test_a_portfolio_finds_its_series_whatever_their_case() -> None:
    assert build(portfolios={"book": {"wti": -2}}).portfolios == {"book": {"wti": -2.0}}


def test_the_log_level_is_one_of_four() -> None:
    assert build().log_level == "info"
    with pytest.raises(SettingsError, match="log_level"):
        build(log_level="loud")


DEPLOYED = {
    "ENABLE_CLUSTER_DELEGATION": ("true", "delegation", True),
    "DEDICATED_CLUSTER_ID": ("0412-1", "cluster_id", "0412-1"),
    "TRAINING_NOTEBOOK_PATH": ("/Shared/train_{mode}", "notebook", "/Shared/train_{mode}"),
    "JOB_STATE_DB_PATH": ("/var/lib/jobs.db", "store", Path("/var/lib/jobs.db")),
    "MLFLOW_EXPERIMENT_NAME": ("/Shared/ours", "experiment", "/Shared/ours"),
    "MAX_JOBS_PER_USER": ("4", "jobs_a_user", 4),
    "MAX_TOTAL_JOBS": ("20", "jobs_in_all", 20),
}
"""Variables of the front end's deployments: a value, the setting, and what it is then."""


@pytest.mark.parametrize("variable", DEPLOYED)
def test_a_variable_that_deployments_set_already_means_what_it_meant(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, name, value = DEPLOYED[variable]
    monkeypatch.delenv(variable, raising=False)
    default = getattr(build().training_jobs, name)
    assert default != value
    monkeypatch.setenv(variable, "")
    assert getattr(build().training_jobs, name) == default, "an empty one is none"
    monkeypatch.setenv(variable, text)
    assert getattr(build().training_jobs, name) == value
    assert getattr(build(training_jobs={name: default}).training_jobs, name) == default, "the settings go before it"


@pytest.mark.parametrize("beside", [{}, {"training_jobs": {"keep_days": 5}}])
def test_a_wrong_value_of_such_a_variable_is_told_with_its_own_name(
    beside: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_JOBS_PER_USER", "abc")
    with pytest.raises(
        SettingsError, match=r"training_jobs.jobs_a_user \(MAX_JOBS_PER_USER\) = 'abc': Input should be"
    ):
        build(**beside)


def test_a_wrong_token_of_a_user_is_not_repeated() -> None:
    with pytest.raises(SettingsError, match=r"training_jobs\.tokens\.ann") as refused:
        build(training_jobs={"tokens": {"ann": 123454321}})
    assert "123454321" not in str(refused.value)

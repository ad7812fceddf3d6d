"""The documented plugin works as the page says; one that is wrong is refused by name and breaks nothing else."""

from __future__ import annotations

import datetime as dt
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.compute import compute_for
from forecast_platform.definitions import build_definitions
from forecast_platform.doctor import examine
from forecast_platform.graph.automation.messages import Message, Problem
from forecast_platform.graph.automation.notifiers import notifiers_of
from forecast_platform.models import registry as models
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.ingest import ingest
from forecast_platform.pipeline.training import train
from forecast_platform.plugins import registry as plugins
from forecast_platform.settings import SettingsError, build
from forecast_platform.sources.choose import source_for
from forecast_platform.testing import CHECKS, ContractError, check_model
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import days, settings_for

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
EXAMPLE, ITS_TEST = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
WINDOW = dt.date(2018, 1, 1)
SPAN = days("2018-01-03", "2018-01-05")
DRIFT = {"name": "slow_drift", "type": "drift", "params": {"share": 0.5}}

Write = Callable[..., str]


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module that can be imported for the length of the test; nothing of it stays registered."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    kept = [dict(plugins._taken), set(plugins._loaded), dict(plugins._broken), dict(models._ENTRIES)]
    modules = set(sys.modules)

    def write(text: str, name: str = "acme_forecasts") -> str:
        (folder / f"{name}.py").write_text(text)
        return name

    yield write
    for target, before in zip((plugins._taken, plugins._loaded, plugins._broken, models._ENTRIES), kept, strict=True):
        target.clear()
        target.update(before)
    models._class_of.cache_clear()
    models.model_of.cache_clear()
    for name in set(sys.modules) - modules:
        if name.startswith("acme"):
            del sys.modules[name]


def test_the_example_s_model_is_trained_and_forecasts_with_the_example_s_compute(small: Path, plugin: Write) -> None:
    changes = {"models": ["naive", DRIFT], "plugins": [plugin(EXAMPLE)], "compute": "in_order"}
    platform = Platform.from_settings(settings_for(small, **changes))
    assert type(compute_for(platform.settings)).__name__ == "InOrder"
    assert train(platform, "Alpha", "slow_drift", [WINDOW]).written == {WINDOW}
    assert forecast(platform, "Alpha", "slow_drift", SPAN).written == set(SPAN)
    keys = build_definitions(platform.settings).resolve_asset_graph().get_all_asset_keys()
    assert ["distributions", "slow_drift"] in [list(key.path) for key in keys]
    assert "drift" not in models.default_names(), "a plugin's model is forecast with where the settings name it"


def test_the_example_s_source_and_notifier_do_their_work(tmp_path: Path, plugin: Write) -> None:
    name = plugin(EXAMPLE)
    settings = settings_for(
        tmp_path, plugins=[name], source="one_file", series=[{"name": "Gold"}], notifiers=["log", "acme_file"]
    )
    settings.warehouse.mkdir()
    dates = pd.bdate_range("2014-01-02", "2018-03-29")
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, len(dates))))
    table = pd.DataFrame({"date": dates, "series": "Gold", "close": closes})
    table.to_csv(settings.warehouse / "prices.csv", index=False)
    platform = Platform.from_settings(settings)
    report = ingest(platform, ["Gold"], dt.date(2017, 6, 1), dt.date(2017, 6, 30))
    assert len(report.outcomes["Gold"].written) == 30, report.outcomes["Gold"].failed
    problem = Problem("key", "a title", "today", "Gold", "why", "what mends it")
    dict(notifiers_of(settings))["acme_file"].send(Message(problem, False, "now"))
    assert "ERROR: a title" in (settings.warehouse / "problems.txt").read_text()


def test_the_example_s_own_test_passes(plugin: Write) -> None:
    plugin(EXAMPLE)
    namespace: dict[str, Callable[[], None]] = {}
    exec(compile(ITS_TEST, "docs/plugins.md", "exec"), namespace)
    namespace["test_drift_keeps_the_contract"]()


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("return state[0] + self.state", "return state[0].mean(keepdims=True) + self.state", "an origin's"),
        (
            "innovations = np.diff(y, prepend=np.nan)",
            "innovations = np.diff(y, append=np.nan)",
            "reads data of then on",
        ),
        ("require_sessions(history, 120, self.name)", "history.observed_close", "thirty days"),
        (
            "drift = self.params",
            "drift = np.random.default_rng().normal(0, 1e-4) + self.params",
            "the same training data give another fit",
        ),
        ('return {"drift": float(self.state["drift"])}', "return {}", "training_metrics gives {}"),
    ],
    ids=["batch", "leak", "short", "no seed", "no metrics"],
)
def test_the_kit_names_what_a_model_breaks(plugin: Write, right: str, wrong: str, told: str) -> None:
    assert right in EXAMPLE
    name = plugin(EXAMPLE.replace(right, wrong), "acme_wrong")
    with pytest.raises(ContractError) as caught:
        check_model(__import__(name).Drift)
    assert told in str(caught.value), caught.value
    assert str(caught.value).startswith("drift: ")
    assert len(CHECKS) == 15


REGISTERS = "from forecast_platform.models.naive import Naive\n\n\ndef register(registry):\n    {}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "there is no module acme_bad: install its package"),
        ("import no_such_library\n", "No module named 'no_such_library': install what it needs"),
        ("1 / 0\n", "its import fails: ZeroDivisionError"),
        ("value = 1\n", "it has no function register(registry)"),
        (REGISTERS.format("pass"), "its register adds nothing"),
        (REGISTERS.format("raise KeyError('x')"), "its register fails: KeyError"),
        (REGISTERS.format("registry.model(Naive)"), "model 'naive' is registered already, by forecast_platform itself"),
        (REGISTERS.format("registry.model(Naive())"), "is no model: register a subclass"),
        (REGISTERS.format("registry.model(dict)"), "is no model: register a subclass"),
        (REGISTERS.format("registry.notifier('log', print)"), "notifier 'log' is registered already"),
        (REGISTERS.format("registry.source('Feeds', print)"), "a name is lower-case letters"),
        (REGISTERS.format("registry.compute('grid', 7)"), "7 is no function of the settings"),
    ],
)
def test_a_wrong_plugin_is_told_by_name_and_breaks_nothing_that_does_not_need_it(
    plugin: Write, text: str | None, told: str, tmp_path: Path
) -> None:
    if text is not None:
        plugin(text, "acme_bad")
    settings = build(plugins=["acme_bad"], models=["naive"], warehouse=tmp_path)
    assert build_definitions(settings).resolve_asset_graph().get_all_asset_keys()
    [finding] = list(examine.plugin(settings))
    assert (finding.severity, finding.subject) == ("error", "plugins")
    assert told in f"{finding.found}: {finding.mend}"
    for asked in ({"models": ["theirs"]}, {"source": "theirs"}, {"compute": "theirs"}):
        with pytest.raises(SettingsError) as caught:
            build(**{"plugins": ["acme_bad"], "warehouse": tmp_path, **asked})
        assert "the plugin acme_bad could not be loaded" in str(caught.value)
        assert told.partition(": install")[0] in str(caught.value)
    with pytest.raises(SettingsError, match="the plugin acme_bad could not be loaded"):
        notifiers_of(build(plugins=["acme_bad"], warehouse=tmp_path, notifiers=["theirs"]))


def test_of_a_wrong_plugin_nothing_is_kept(plugin: Write) -> None:
    text = EXAMPLE + "    registry.notifier('log', print)\n"
    assert plugins.load([plugin(text)])
    assert "drift" not in models.names()
    assert plugins.names("compute") == list(plugins.BUILT_IN["compute"])


def test_two_plugins_cannot_have_the_same_name(plugin: Write) -> None:
    broken = plugins.load([plugin(EXAMPLE), plugin(EXAMPLE, "acme_again")])
    assert broken["acme_again"].startswith("model 'drift' is registered already, by the plugin acme_forecasts")


def test_an_object_without_the_methods_is_refused_where_it_is_asked_for(plugin: Write, tmp_path: Path) -> None:
    text = REGISTERS.format(
        "[add('hollow', lambda settings: object()) for add in (registry.notifier, registry.source, registry.compute)]"
    )
    name = plugin(text, "acme_hollow")
    settings = build(
        plugins=[name],
        notifiers=["hollow"],
        source="hollow",
        compute="hollow",
        series=[{"name": "Gold"}],
        warehouse=tmp_path,
    )
    with pytest.raises(SettingsError, match="notifier 'hollow' of the plugin acme_hollow lacks send"):
        notifiers_of(settings)
    with pytest.raises(ValueError, match="lacks read, fingerprint"):
        source_for(settings)
    with pytest.raises(SettingsError, match="lacks fits, run, perform"):
        compute_for(settings)


def test_a_plugin_s_source_needs_its_series(plugin: Write) -> None:
    with pytest.raises(SettingsError, match="source is one_file, a plugin's, but no series is configured"):
        build(plugins=[plugin(EXAMPLE)], source="one_file")

"""Features as numbers: what encoders of the same rows share."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from forecast_platform.ensembles import encoding
from forecast_platform.ensembles.encoding import Encoder
from forecast_platform.ensembles.ratios import found_ratios, with_ratios
from forecast_platform_tests.ensembles.shops import classes


def test_target_means_are_made_once_for_encoders_of_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = classes(300)
    y = (frame.pop("target") == "high").to_numpy().astype(np.int64)
    pairs, made = [("kind", "many")], []
    real = encoding._target_means
    monkeypatch.setattr(encoding, "_target_means", lambda *given: made.append(1) or real(*given))
    shared: dict[str, encoding.TargetMeans] = {}
    for kind in ("tree", "dense", "native"):
        encoder, x = Encoder.fit(kind, frame, y, 2, 0, {}, pairs, shared)
        assert len(made) == 2, "the column of many values, and the pair"
        alone, same = Encoder.fit(kind, frame, y, 2, 0, {}, pairs)
        assert alone.state == encoder.state
        assert pd.DataFrame(x).equals(pd.DataFrame(same))
        del made[2:]


def test_a_level_that_was_never_seen_is_the_mean_of_all_and_a_missing_one_has_its_own() -> None:
    levels = np.array([f"level {number}" for number in range(14)] + [None], object)
    values = np.tile(levels, 20)
    y = np.where(np.equal(values, None), 5.0, 1.0) + 0.01 * np.arange(300)
    encoder, _ = Encoder.fit("tree", pd.DataFrame({"many": values}), y, 0, 0, {})
    new = pd.DataFrame({"many": np.array(["level 3", None, "no such level"], object)})
    state = encoder.state["categories"]["many"]
    wanted = [state["means"][state["levels"].index("level 3")], state["means"][state["levels"].index(None)]]
    assert encoder.apply(new)[:, 0].tolist() == np.float32([wanted[0][0], wanted[1][0], y.mean()]).tolist()
    few, _ = Encoder.fit("dense", pd.DataFrame({"few": values[values != "level 0"][:8]}), y[:8], 0, 0, {})
    coded = few.apply(pd.DataFrame({"few": np.array(["level 2", None, "no such level"], object)}))
    assert coded.sum(axis=1).tolist() == [1, 0, 0]


def test_what_a_weight_says_beyond_three_lengths_is_a_column_of_its_own() -> None:
    """A planted density: no column shows it alone."""
    rng = np.random.default_rng(0)
    size, density = np.exp(rng.normal(size=600)), rng.uniform(0.9, 1.1, 600)
    near = lambda: size * rng.uniform(0.99, 1.01, 600)  # noqa: E731
    frame = pd.DataFrame({"x": near(), "y": near(), "other": rng.normal(size=600)})
    frame["weight"] = density * size**3
    found = found_ratios(frame, 0)
    assert {one["of"] for one in found} == {"x", "y", "weight"}
    assert not any("other" in (one["of"], *one["by"]) for one in found)
    [beyond] = [one for one in found if one["of"] == "weight" and sorted(one["by"]) == ["x", "y"]]
    assert sum(beyond["slopes"]) == pytest.approx(3, abs=0.05)
    added = with_ratios(frame, found)[beyond["name"]].to_numpy()
    assert np.corrcoef(added, np.log(density))[0, 1] > 0.9
    holes = frame.assign(x=np.where(np.arange(600) < 3, 0.0, frame["x"]))
    assert np.isnan(with_ratios(holes, found)[beyond["name"]].to_numpy()[:3]).all(), "no logarithm"
    for kind in ("tree", "dense", "native"):
        encoder, x = Encoder.fit(kind, frame, density, 0, 0, {}, ratios=found)
        assert x.shape == (600, 4 + len(found))
        again = Encoder(json.loads(json.dumps(encoder.state))).apply(frame)
        assert np.array_equal(np.asarray(again, np.float64), np.asarray(x, np.float64))


def test_columns_that_are_the_same_or_nothing_alike_add_none() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=300)
    assert found_ratios(pd.DataFrame({"a": a, "b": a, "c": rng.normal(size=300)}), 0) == []
    assert found_ratios(pd.DataFrame({"a": a}), 0) == []


def test_what_was_never_missing_is_the_usual_where_it_is_and_what_was_stays_missing() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"price": rng.normal(80, 1, 300), "rate": rng.normal(size=300)})
    frame["kind"] = np.array(["rare", *["usual"] * 9], object)[np.arange(300) % 10]
    frame["port"] = np.where(np.arange(300) % 7 == 0, None, frame["kind"])
    frame.loc[5, "rate"] = np.nan
    y = rng.normal(size=300)
    new = pd.DataFrame({"price": [np.nan], "rate": [np.nan], "kind": ["new"], "port": ["new"]})
    tree, x = Encoder.fit("tree", frame, y, 0, 0, {})
    assert np.array_equal(np.isnan(x[:, :2]), frame[["price", "rate"]].isna())
    assert np.array_equal(np.isnan(x[:, 3]), frame["port"].isna())
    price, rate, kind, port = Encoder(json.loads(tree.text)).apply(new)[0].tolist()
    assert price == np.float32(frame["price"].median())
    assert kind == tree.state["categories"]["kind"]["levels"].index("usual")
    assert np.isnan([rate, port]).all()
    for transforms in ([], ["scale"], ["scale", "post_scale"]):
        native, _ = Encoder.fit("native", frame, y, 0, 0, {"price": transforms})
        found, usual = (native.apply(new.assign(price=one))["price"] for one in (np.nan, frame["price"].median()))
        assert found.tolist() == pytest.approx(usual.tolist())
        assert np.isnan(native.apply(new)["rate"]).all()

"""The proof: a base of general text learns a domain, and replay halves what it forgets. Real text, real runs."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from forecast_platform.language.evaluation import evaluate
from forecast_platform.language.sample import (
    DOMAIN,
    configuration,
    docstrings,
    general_text,
    pretrained_base,
    sample_corpus,
)
from forecast_platform.language.schemas import EVALUATION_RESULTS
from forecast_platform.language.training import train
from forecast_platform.settings import Settings

pytestmark = pytest.mark.extra


def test_the_domain_is_learnt_and_replay_halves_the_forgetting(tmp_path: Path) -> None:
    settings = Settings(warehouse=tmp_path / "warehouse")
    base = pretrained_base(tmp_path / "general", 600, settings)
    domain, (general, unseen) = docstrings(DOMAIN), general_text()
    found = {}
    for name, ratio in (("replay", 0.2), ("none", 0.0)):
        config = configuration(
            base,
            tmp_path / name,
            training={"max_steps": 250},
            data={"replay_ratio": ratio},
            output={"report_to": "none"},
        )
        corpus = sample_corpus(tmp_path / f"data-{name}", config, domain, general)
        train(config, corpus, settings)
        found[name] = evaluate(tmp_path / name, corpus.val, unseen)
        jsonschema.validate(found[name], EVALUATION_RESULTS)
    assert found["replay"]["domain_perplexity"]["improvement_percent"] >= 30
    assert found["replay"]["domain_perplexity"]["improvement_interval"][0] >= 25
    rise = {name: -one["general_perplexity"]["improvement_percent"] for name, one in found.items()}
    assert rise["replay"] < 25
    assert rise["replay"] < rise["none"] / 2
    low, high = found["none"]["general_perplexity"]["improvement_interval"]
    assert -high > rise["replay"], "the interval without replay lies above what is forgotten with it"

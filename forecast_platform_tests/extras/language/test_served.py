"""A merged model is registered as one that MLflow serves: its own server answers the recommendation's question."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from forecast_platform.language.corpus import Corpus
from forecast_platform.language.endpoint import writer_at
from forecast_platform.language.recommend import recommend_model
from forecast_platform.language.training import train
from forecast_platform.pipeline.tracking import Tracker
from forecast_platform.settings.language import LanguageSettings
from forecast_platform_tests.waiting import until

pytestmark = pytest.mark.extra


@contextmanager
def serving(folder: str) -> Iterator[str]:
    """MLflow's scoring server over a logged model, as `mlflow models serve` runs it; its address."""
    import mlflow.pyfunc
    import uvicorn
    from mlflow.pyfunc.scoring_server import init

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(init(mlflow.pyfunc.load_model(folder)), host="127.0.0.1", port=port, log_level="error")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, "MLflow's scoring server")
    yield f"http://127.0.0.1:{port}/invocations"
    server.should_exit = True
    thread.join(20)


def test_a_merged_model_is_served_by_mlflow_and_asked_for_its_words(world: Callable, corpus: Corpus) -> None:
    from mlflow.models import Model

    merged, settings = world(training={"max_steps": 2}, output={"report_to": "mlflow", "merged_export": True})
    train(merged, corpus, settings)
    plain, _ = world("plain", training={"max_steps": 2}, output={"report_to": "mlflow"})
    train(plain, corpus, settings)
    client = Tracker(settings).client
    [name] = [one.name for one in client.search_registered_models()]
    first, second = (client.get_model_version(name, number).source for number in ("1", "2"))
    folder, adapter = (source.removeprefix("file://") for source in (first, second))
    for source in (folder, adapter):
        described = Model.load(source)
        assert described.signature is not None, "Unity Catalog registers nothing without one"
        assert described.metadata["corpus_sha256"] == corpus.fingerprint
    assert set(Model.load(adapter).flavors) == {"peft"}
    assert not list(Path(adapter).glob("model*.safetensors")), "the base is not copied beside an adapter"
    with serving(folder) as address:
        written = writer_at(LanguageSettings(endpoint=address))("coffee raises")
        assert isinstance(written, str)
        served = settings.model_copy(update={"language": LanguageSettings(endpoint=address)})
        answer = recommend_model("Predict the words of notes", cpt_model_path=None, settings=served)
    assert address in answer["generated_by"]
    assert "not usable" not in answer["generated_by"]
    assert answer["models_evaluated"][0]["name"] == name

"""Growth of the documents since the corpus was made: what retraining is asked for by."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from forecast_platform.language.config import Config, parse
from forecast_platform.language.errors import LanguageError
from forecast_platform.language.growth import grown, rows_now, rows_then
from forecast_platform.language.run import build_corpus
from forecast_platform.settings import Settings
from forecast_platform_tests.language.test_corpus import document


def test_rows_of_a_file_and_of_a_table_are_counted_without_reading_them(tmp_path: Path) -> None:
    settings = Settings(warehouse=tmp_path / "warehouse")
    texts = pa.table({"text": [document(seed) for seed in range(6)]})
    pq.write_table(texts, tmp_path / "d.parquet")
    (tmp_path / "d.jsonl").write_text('{"text": "a"}\n\n{"text": "b"}\n')
    write_deltalake(str(tmp_path / "warehouse" / "a" / "b" / "c"), texts)
    for data, rows in (
        ({"train_file": str(tmp_path / "d.parquet")}, 6),
        ({"train_file": str(tmp_path / "d.jsonl")}, 2),
        ({"train_table": "a.b.c"}, 6),
    ):
        assert rows_now(parse({"data": data}), settings) == rows
    with pytest.raises(LanguageError, match=r"table a\.b\.x: none in"):
        rows_now(parse({"data": {"train_table": "a.b.x"}}), settings)


def test_a_table_of_the_warehouse_becomes_a_corpus_that_knows_its_rows(tmp_path: Path) -> None:
    settings = Settings(warehouse=tmp_path / "warehouse")
    write_deltalake(
        str(tmp_path / "warehouse" / "a" / "b" / "c"), pa.table({"text": [*(document(n) for n in range(9)), None]})
    )
    config = parse(
        {
            "data": {"catalog": "a", "schema": "b", "train_table": "c", "replay_dataset": None},
            "output": {"output_dir": str(tmp_path / "out")},
        }
    )
    assert rows_then(config) is None
    said: list[str] = []
    corpus, about = build_corpus(config, settings, say=said.append)
    assert rows_then(config) == 10
    assert said == ["train: 10 rows, 9 documents kept; dropped 1 nulls"]
    assert len(corpus.train) + len(corpus.val) == 9
    assert about["fingerprint"] == json.loads((tmp_path / "out" / "corpus" / "corpus.json").read_text())["fingerprint"]


def test_replay_that_is_asked_for_is_never_left_out_silently(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text("".join(json.dumps({"text": document(n)}) + "\n" for n in range(4)))
    settings = Settings(warehouse=tmp_path / "warehouse")
    data = {"train_file": str(tmp_path / "d.jsonl"), "val_file": None, "replay_ratio": 0.2}
    for dataset, told in ((None, "no data.replay_dataset"), (str(tmp_path / "none.jsonl"), "no such file")):
        with pytest.raises(LanguageError, match=told):
            build_corpus(parse({"data": {**data, "replay_dataset": dataset}}), settings)


def test_general_text_of_others_is_read_by_its_own_usual_column(tmp_path: Path) -> None:
    settings = Settings(warehouse=tmp_path / "warehouse")
    (tmp_path / "d.jsonl").write_text("".join(json.dumps({"body": document(n)}) + "\n" for n in range(9)))
    general = [document(100 + n) for n in range(9)]
    (tmp_path / "g.jsonl").write_text("".join(json.dumps({"id": 1, "text": text}) + "\n" for text in general))
    pq.write_table(pa.table({"text": pa.array(general).dictionary_encode()}), tmp_path / "g.parquet")
    pq.write_table(pa.table({"words": general}), tmp_path / "odd.parquet")
    data = {"train_file": str(tmp_path / "d.jsonl"), "val_file": None, "text_column": "body", "replay_ratio": 0.2}

    def config(dataset: str) -> Config:
        found = {**data, "replay_dataset": str(tmp_path / dataset)}
        return parse({"data": found, "output": {"output_dir": str(tmp_path / "out")}})

    for name in ("g.jsonl", "g.parquet"):
        corpus, _ = build_corpus(config(name), settings)
        assert len(corpus.replay) == 2
        assert set(corpus.replay) <= set(general)
    with pytest.raises(LanguageError, match=r"odd\.parquet: no column 'body' \(data\.text_column\)"):
        build_corpus(config("odd.parquet"), settings)


def test_growth_is_a_share_of_what_there_was() -> None:
    assert not grown(119, 100, 0.2)
    assert grown(120, 100, 0.2)
    assert not grown(0, 0, 0.2)
    assert grown(1, 0, 0.2)

"""The corpus: what is read, dropped, refused and held out, each counted and each with its message."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from forecast_platform.host.files import write_whole
from forecast_platform.language import corpus, documents
from forecast_platform.language.cleaning import SIMILAR, Cleaner, Near, normalised, signature, similarity
from forecast_platform.language.config import DataPart
from forecast_platform.language.documents import from_delta, from_file
from forecast_platform.language.errors import LanguageError
from forecast_platform.language.texts import Spool, joined, shuffled

WORDS = [f"{first}{second}" for first in "bdfgklmnprst" for second in ("ado", "emi", "iru", "olu", "uma", "yne")]


def document(seed: int, words: int = 60) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


def no_tables(name: str, column: str, limit: int | None) -> documents.Documents:
    raise AssertionError(name)


def lines(path: Path, values: list) -> Path:
    path.write_text("".join(json.dumps({"text": value}) + "\n" for value in values))
    return path


def data(train: Path, **others) -> DataPart:
    return DataPart(train_file=str(train), **{"val_file": None, **others})


def test_rows_add_up_and_each_kind_is_counted(tmp_path: Path) -> None:
    long = "x " * 30_000
    texts = [document(1), document(2), None, "  ", "short", long, document(1), document(2).replace(" ", "\n\t ")]
    near = document(3, 300)
    texts += [near, near.replace(near.split()[150], "changed", 1)]
    found = corpus.build(data(lines(tmp_path / "d.jsonl", texts)), no_tables, None)
    counts = found.counts["train"]
    assert (counts.rows, counts.nulls, counts.too_short, counts.too_long) == (10, 2, 1, 1)
    assert (counts.exact_duplicates, counts.near_duplicates, counts.kept) == (2, 1, 3)
    assert len(found.train) == 2
    assert len(found.val) == 1


def test_jsonl_parquet_and_a_table_give_the_same_corpus(tmp_path: Path) -> None:
    texts = [*(document(seed) for seed in range(8)), None]
    table = pa.table({"text": texts})
    pq.write_table(table, tmp_path / "d.parquet")
    write_deltalake(str(tmp_path / "table"), table)
    found = [
        corpus.build(data(lines(tmp_path / "d.jsonl", texts)), no_tables, None),
        corpus.build(data(tmp_path / "d.parquet"), no_tables, None),
        corpus.build(
            DataPart(train_table="a.b.c", train_file=None),
            lambda name, column, limit: from_delta(tmp_path / "table", name, column, limit),
            None,
        ),
    ]
    assert len({one.fingerprint for one in found}) == 1
    assert {one.counts["train"].nulls for one in found} == {1}


def test_a_share_of_whole_documents_is_held_out_and_the_same_each_time() -> None:
    texts = [document(seed) for seed in range(100)]
    train, val = corpus.split(texts, 0.05)
    assert (len(train), len(val)) == (95, 5)
    assert set(train) | set(val) == set(texts)
    assert corpus.split(texts, 0.05) == (train, val)


def test_a_document_in_both_splits_is_refused_and_a_near_one_is_not_trained_on(tmp_path: Path) -> None:
    held = document(7, 200)
    near = held.replace(held.split()[100], "changed", 1)
    val = lines(tmp_path / "val.jsonl", [held])
    train = lines(tmp_path / "train.jsonl", [document(1), near])
    found = corpus.build(data(train, val_file=str(val)), no_tables, None)
    assert found.counts["train"].near_duplicates == 1
    assert near not in found.train
    lines(train, [document(1), held.replace(" ", "  ")])
    with pytest.raises(LanguageError, match=r"train\.jsonl, document 2 .*also in .*val\.jsonl, which is held out"):
        corpus.build(data(train, val_file=str(val)), no_tables, None)


def test_replay_is_a_share_of_the_whole_and_general_documents_are_held_out(tmp_path: Path) -> None:
    train = lines(tmp_path / "d.jsonl", [document(seed) for seed in range(42)])
    general = from_file(lines(tmp_path / "g.jsonl", [document(seed) for seed in range(100, 140)]), "text")
    found = corpus.build(data(train, replay_ratio=0.2), no_tables, general)
    assert len(found.replay) == corpus.replay_rows(len(found.train), 0.2, 99) == 10
    assert len(found.replay) / (len(found.train) + len(found.replay)) == pytest.approx(0.2)
    assert len(found.general) == 2
    assert not set(found.general) & set(found.mixed)


def test_replay_never_asks_for_more_than_there_is() -> None:
    assert [corpus.replay_rows(80, 0.2, many) for many in (100, 20, 7)] == [20, 20, 7]
    assert corpus.replay_rows(80, 0.0, 100) == 0


def test_what_was_written_is_read_back_and_a_changed_file_is_refused(tmp_path: Path) -> None:
    found = corpus.build(data(lines(tmp_path / "d.jsonl", [document(seed) for seed in range(9)])), no_tables, None)
    about = corpus.write(found, tmp_path / "corpus")
    assert corpus.read(tmp_path / "corpus") == found
    assert about["files"]["train"]["documents"] == len(found.train)
    path = tmp_path / "corpus" / "val.jsonl"
    path.write_text(path.read_text()[:-3])
    with pytest.raises(LanguageError, match=r"val\.jsonl: not what corpus\.json says"):
        corpus.read(tmp_path / "corpus")


def test_a_corpus_whose_writing_was_stopped_is_refused_until_it_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = corpus.build(data(lines(tmp_path / "d.jsonl", [document(seed) for seed in range(9)])), no_tables, None)
    corpus.write(first, tmp_path / "corpus")
    second = corpus.build(data(lines(tmp_path / "d.jsonl", [document(seed) for seed in range(5, 16)])), no_tables, None)
    for stopped_at in ("train.jsonl", "val.jsonl", "corpus.json"):
        with monkeypatch.context() as patched:

            def killed(path: Path, *rest, at: str = stopped_at) -> None:
                if path.name == at:
                    raise KeyboardInterrupt
                write_whole(path, *rest)

            patched.setattr(corpus, "write_whole", killed)
            with pytest.raises(KeyboardInterrupt):
                corpus.write(second, tmp_path / "corpus")
        if stopped_at == "train.jsonl":
            assert corpus.read(tmp_path / "corpus") == first
        else:
            with pytest.raises(LanguageError, match="prepare it again"):
                corpus.read(tmp_path / "corpus")
    corpus.write(second, tmp_path / "corpus")
    assert corpus.read(tmp_path / "corpus") == second


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "empty"),
        ('{"body": "x"}\n', "no column 'text' (data.text_column); known: body"),
        ('{"txet": "x"}\n', "perhaps txet"),
        ('{"text": "a"}\n{"text": 5}\n', "row 2: int '5' where text belongs"),
        ('{"text": "a"}\nnot json\n', "row 2: not JSON"),
        ('["text"]\n', "row 1: list: an object with 'text' is meant"),
        ('{"text": null}\n', "of 1 rows 1 nulls: no document to train on is left"),
        (json.dumps({"text": document(1)}) + "\n", "1 document left after cleaning: at least two"),
    ],
)
def test_bad_files_are_refused_with_their_row_and_the_mend(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(content)
    with pytest.raises(LanguageError) as refused:
        corpus.build(data(path), no_tables, None)
    assert told in str(refused.value)


def test_a_row_that_does_not_fit_memory_is_refused_before_it_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "MAX_ROW_BYTES", 2**20)
    path = lines(tmp_path / "d.jsonl", [document(1), "x" * 2**21])
    with pytest.raises(LanguageError, match=r"row 2: more than 1 MiB in one document: split it"):
        corpus.build(data(path), no_tables, None)


def test_long_documents_of_a_parquet_file_are_read_few_at_a_time_and_one_too_long_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "MAX_ROW_BYTES", 2**20)
    texts = [f"{number} " * 2**16 for number in range(10, 30)]  # 192 KiB each
    path = tmp_path / "d.parquet"
    pq.write_table(pa.table({"text": texts}), path, use_dictionary=False)
    at_once: list[int] = []
    real = documents._rows_at_once
    monkeypatch.setattr(documents, "_rows_at_once", lambda *given: at_once.append(real(*given)) or at_once[-1])
    assert list(documents.from_file(path, "text")) == texts
    assert at_once == [5]
    pq.write_table(pa.table({"text": [*texts, "\u00e9" * (2**19 + 1)]}), path)
    with pytest.raises(LanguageError, match=r"d.parquet, row 21: more than 1 MiB in one document: split it"):
        list(documents.from_file(path, "text"))


@pytest.mark.slow
def test_a_corpus_larger_than_memory_goes_through_it_document_by_document(tmp_path: Path) -> None:
    sentence = document(5, 4_000)
    with (tmp_path / "d.jsonl").open("w") as stream:
        for seed in range(100):
            # Each begins elsewhere, and has words of its own: no two are near.
            text = " ".join(f"{word}{seed}" for word in sentence.split()[seed:])[:49_000]
            stream.write(json.dumps({"text": text}) + "\n")
    size = (tmp_path / "d.jsonl").stat().st_size
    tracemalloc.start()
    try:
        found = corpus.build(data(tmp_path / "d.jsonl"), no_tables, None, scratch=tmp_path)
        corpus.write(found, tmp_path / "corpus")
        again = corpus.read(tmp_path / "corpus")
        assert (len(again.train), len(again.val)) == (95, 5)
        assert again.fingerprint == found.fingerprint
        assert again.in_two_parts() == 0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 2, f"{peak:,} bytes for {size:,} of documents"
    assert {path.name for path in tmp_path.iterdir()} == {"d.jsonl", "corpus"}


def test_texts_of_files_are_as_lists_of_them(tmp_path: Path) -> None:
    ours, others = [document(seed, 12) for seed in range(20)], ["\ud800 a half", "two\u2028lines", ""]
    found = []
    for texts in (ours, others, []):
        spool = Spool(tmp_path)
        for text in texts:
            spool.add(text)
        found.append(spool.texts())
    first, second, none = found
    assert (list(first), list(second), list(none)) == (ours, others, [])
    assert first == ours
    assert first != ours[:-1]
    assert first[3:7] == ours[3:7]
    assert first[-1] == ours[-1]
    assert joined(first, second) == [*ours, *others]
    assert joined(second, none) == others
    assert shuffled(first, 3) == shuffled(ours, 3) != ours


def test_near_copies_are_found_among_many() -> None:
    texts = [document(seed, 40) for seed in range(300)]
    copies = [text.replace(text.split()[0], "changed", 1) for text in texts]
    near = Near()
    assert not any(near.resembles(text) for text in texts)
    similar = [
        similarity(signature(one), signature(other)) >= SIMILAR for one, other in zip(texts, copies, strict=True)
    ]
    assert sum(similar) > 100
    assert [near.resembles(copy) for copy, is_near in zip(copies, similar, strict=True) if is_near].count(False) < 5


def test_other_sources_that_are_no_documents_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LanguageError, match="no such file"):
        from_file(tmp_path / "none.jsonl", "text")
    (tmp_path / "d.csv").write_text("text\nx\n")
    with pytest.raises(LanguageError, match=r"neither \.jsonl nor \.parquet"):
        from_file(tmp_path / "d.csv", "text")
    pq.write_table(pa.table({"n": [1], "body": ["x"]}), tmp_path / "d.parquet")
    with pytest.raises(LanguageError, match=r"column 'n' holds int64, not text: set data\.text_column to body"):
        list(from_file(tmp_path / "d.parquet", "n"))
    with pytest.raises(LanguageError, match=r"table a\.b\.c: none in"):
        from_delta(tmp_path / "nowhere", "a.b.c", "text")
    write_deltalake(str(tmp_path / "empty"), pa.table({"text": pa.array([], pa.string())}))
    with pytest.raises(LanguageError, match="empty: it needs at least two"):
        corpus.build(
            DataPart(train_table="a.b.c"),
            lambda name, column, limit: from_delta(tmp_path / "empty", name, column),
            None,
        )


def test_signatures_estimate_the_similarity_of_shingles() -> None:
    one, other = document(11, 2000).split(), document(12, 700).split()
    mixed = one[:1300] + other
    shingles = [{tuple(words[place : place + 5]) for place in range(len(words) - 4)} for words in (one, mixed)]
    exact = len(shingles[0] & shingles[1]) / len(shingles[0] | shingles[1])
    assert similarity(signature(" ".join(one)), signature(" ".join(mixed))) == pytest.approx(exact, abs=0.12)
    assert similarity(signature(document(13)), signature(document(14))) < 0.1


def test_texts_that_differ_in_white_space_alone_are_one_document() -> None:
    text = document(5)
    kept, counts = Cleaner().clean([text, text.replace(" ", "\u00a0\n")], "here")
    assert kept == [normalised(text)]
    assert counts.exact_duplicates == 1


def test_a_table_whose_files_hold_rows_that_were_removed_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    write_deltalake(str(folder), pa.table({"text": [document(1), document(2)]}))
    features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    line = json.dumps({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features}})
    (folder / "_delta_log" / f"{1:020}.json").write_text(line + "\n")
    with pytest.raises(LanguageError, match=r"table a\.b\.c: .* needs readers with deletionVectors: .*APPLY \(PURGE\)"):
        from_delta(folder, "a.b.c", "text")


def test_a_file_without_rows_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "none.parquet")
    with pytest.raises(LanguageError, match=r"none\.parquet: of 0 rows .*no document to train on is left"):
        corpus.build(data(tmp_path / "none.parquet"), no_tables, None)

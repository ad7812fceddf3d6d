"""What commands and assets call: from a configuration to a corpus, a trained model, its evaluation."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forecast_platform.language import corpus as corpora
from forecast_platform.language.config import Config
from forecast_platform.language.corpus import Corpus
from forecast_platform.language.documents import Documents
from forecast_platform.language.errors import LanguageError
from forecast_platform.language.tables import general_text, tables_of
from forecast_platform.language.training import METRICS, REPEATED, RUN
from forecast_platform.settings import Settings

_log = logging.getLogger(__name__)
Say = Callable[[str], Any]


def corpus_folder(config: Config) -> Path:
    """Where a configuration's corpus is kept: beside what is trained on it."""
    return Path(config.output.output_dir).expanduser() / "corpus"


def build_corpus(
    config: Config, settings: Settings, *, limit: int | None = None, folder: Path | None = None, say: Say = _log.info
) -> tuple[Corpus, dict[str, Any]]:
    """Build the corpus of a configuration and write it; returns it with what corpus.json says. Raises LanguageError."""
    data = config.data
    target = folder or corpus_folder(config)
    target.mkdir(parents=True, exist_ok=True)
    # The texts are larger than memory may be: they go by way of the disk that they are to be on.
    found = corpora.build(data, tables_of(settings), _general(config), limit, target)
    for name, counts in found.counts.items():
        dropped = {
            "nulls": counts.nulls,
            f"shorter than {100} characters": counts.too_short,
            "longer than 50,000": counts.too_long,
            "exact duplicates": counts.exact_duplicates,
            "near duplicates": counts.near_duplicates,
        }
        told = ", ".join(f"{count:,} {what}" for what, count in dropped.items() if count)
        say(f"{name}: {counts.rows:,} rows, {counts.kept:,} documents kept{'; dropped ' + told if told else ''}")
    return found, corpora.write(found, target)


def corpus_to_train_on(config: Config, settings: Settings, *, say: Say = _log.info) -> Corpus:
    """The corpus that an unfinished run of this very configuration began with, else one that is built anew.

    A run goes on only with the documents that it began with: those that its source has had since are the next run's.
    Raises LanguageError.
    """
    found = _begun_with(config)
    if found is None:
        return build_corpus(config, settings, say=say)[0]
    say(
        f"an unfinished run goes on with the corpus that it began with: {len(found.train):,} documents, "
        f"{len(found.val):,} held out; what its source has had since then is left to the next run"
    )
    return found


def _begun_with(config: Config) -> Corpus | None:
    folder = Path(config.output.output_dir).expanduser()
    done = folder / METRICS
    finished = json.loads(done.read_text(encoding="utf-8")).get("fingerprint") if done.is_file() else None
    plain = config.plain()
    wanted = {name: plain[name] for name in REPEATED}
    begun = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob(f"checkpoints/*/{RUN}")]
    corpora_begun = {
        run.get("corpus_sha256")
        for run in begun
        if run.get("configuration") == wanted and run["fingerprint"] != finished
    }
    if not corpora_begun:
        return None
    try:
        found = corpora.read(corpus_folder(config))
    except LanguageError:
        return None
    return found if found.fingerprint in corpora_begun else None


def _general(config: Config) -> Documents | None:
    """General documents where they are mixed in, or are there to measure forgetting by."""
    data = config.data
    if data.replay_dataset is None:
        if data.replay_ratio:
            raise LanguageError(
                f"data.replay_ratio = {data.replay_ratio}, but no data.replay_dataset: name general text, or set the "
                "ratio to 0"
            )
        return None
    if data.replay_ratio == 0 and not Path(data.replay_dataset).is_file():
        return None
    return general_text(data.replay_dataset, data.text_column, data.replay_max_samples)


def held_out(path: Path, column: str = "text") -> list[str]:
    """The documents of a file that is measured on, cleaned as those that are trained on: of `column`, or text where it
    has none of that name. Raises LanguageError."""
    from forecast_platform.language.cleaning import Cleaner
    from forecast_platform.language.documents import column_of, from_file

    documents = from_file(path, column_of(path, column))
    kept, counts = Cleaner(near=False).clean(documents, documents.source)
    if not kept:
        raise LanguageError(f"{path}: {counts.rows} rows, and no document of 100 to 50,000 characters among them")
    return kept


def packed_figures(config: Config, corpus: Corpus) -> dict[str, Any]:
    """Tokens of the corpus, and the rows that they are packed into. Raises LanguageError."""
    from forecast_platform.language.errors import require_extra

    require_extra()
    from forecast_platform.language.models import located
    from forecast_platform.language.packing import one_by_one, pack
    from forecast_platform.language.tokenizer import load_tokenizer
    from forecast_platform.language.tokens import tokenised

    folder, _ = located(config.model.name, config.model.revision)
    kept = Path(config.output.output_dir).expanduser() / "tokens"
    tokens = tokenised(corpus.mixed, load_tokenizer(folder)[0], kept)
    packed = (pack if config.training.packing else one_by_one)(tokens.lengths, config.training.max_seq_length)
    return {"tokens": packed.tokens, "rows": len(packed), "filled_percent": 100 * packed.filled}

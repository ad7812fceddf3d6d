"""A workflow's result as one MLflow model: routes, base models and meta-learner, with signature and input example."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform import __version__
from forecast_platform.ensembles.arrays import array_bytes
from forecast_platform.ensembles.bundles import Fitted
from forecast_platform.ensembles.catalog import base_named, distribution_of
from forecast_platform.ensembles.metrics import Scorer
from forecast_platform.ensembles.outcome import Outcome
from forecast_platform.ensembles.predictor import Predictor, bases_in
from forecast_platform.ensembles.reading import written
from forecast_platform.ensembles.routing import Router
from forecast_platform.ensembles.rows import kinds_of, prepared
from forecast_platform.ensembles.running import Run
from forecast_platform.ensembles.signed import Signer
from forecast_platform.models.saved import from_bytes, to_bytes

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.types import Schema

FORMATS = (1, 2)
"""Of models that are read; the last is written. 1 has trees and neighbours in other files, which are read too."""
LOADER = "forecast_platform.ensembles.flavor"
"""MLflow's loader of these models: its name stands in each of them."""
_DATA = "ensemble"
"""The folder within a model's that has its fits."""
_EXAMPLE_ROWS, _SIGNATURE_ROWS = 5, 500
"""Rows of the example; rows that a signature follows from: a column with gaps among them is optional."""


_LEAST_ALIKE = 20
"""Rows that all ends have predicted, from which on they are compared on those."""


class PackageError(ValueError):
    """A model's files are not those of its manifest, or it cannot be made."""


class LostFitError(PackageError):
    """A fit that finished tasks follow from is not in the store any more."""

    def __init__(self, key: str, split: int, base: str) -> None:
        super().__init__(f"the fit {key}/{split} of {base} is gone: run the workflow again, which makes it anew")
        self.key = key


def best_end(run: Run, outcomes: Mapping[str, Outcome]) -> Outcome:
    """The outcome that is deployed: of the tasks that nothing waits for the best one; the last of equal ones.

    They are compared on the rows that all have predicted. Raises PackageError: the workflow ends in routes alone.
    """
    models = [outcomes[name] for name in run.plan.order if outcomes[name].node is not None]
    ends = [one for one in models if one.task in run.plan.ends] or models[-1:]
    # A vote over all waits for every stack, which is an end beside it all the same.
    implied = [
        outcomes[name]
        for task in run.workflow.tasks
        if task.kind == "vote" and not task.waits_for
        for name in run.plan.needs[task.name]
        if outcomes[name] not in ends
    ]
    ends = [one for one in models if one in ends or one in implied]
    if not ends:
        raise PackageError("the workflow has routes only: add a stack, boost or vote task")
    scorer = run.rows.scorers(run.workflow.context)[0]
    order = scorer.best_first(_scores_alike(run.rows.y, scorer, ends[::-1]))
    return ends[::-1][order[0]]


def _scores_alike(y: NDArray[Any], scorer: Scorer, ends: Sequence[Outcome]) -> list[float]:
    """Each end's score, on the rows that all have predicted: a holdout's, or the newest ones of a series in order, may
    be easier than all rows. On its own rows where there are none that say it."""
    known = np.all([np.isfinite(one.predicted).all(axis=1) for one in ends if one.predicted is not None], axis=0)
    if known.sum() >= _LEAST_ALIKE and not all(one.scores["rows"] == known.sum() for one in ends):
        found = [scorer(y[known], one.predicted[known]) for one in ends if one.predicted is not None]
        if not np.isnan(found).any():
            return found
    return [one.scores[scorer.label] for one in ends]


def predictor_of(
    run: Run, outcomes: Mapping[str, Outcome], known: dict[tuple[str, int], Fitted] | None = None
) -> Predictor:
    """The predictor of a run's outcomes, from its store; it raises LostFitError where a fit is gone.

    known: fits that were loaded before, by key and split; those that are loaded now are added. Raises FoldError where a
    holdout leaves too few rows.
    """
    shop = run.workshop()
    for name in run.plan.order:
        if run.workflow.task(name).kind == "route":
            shop.route(run.workflow.task(name))
    known = {} if known is None else known

    def fits(key: str, base: str, split: int) -> Fitted:
        if (key, split) not in known:
            files = run.store.get(f"{key}/{split}")
            if files is None:
                raise LostFitError(key, split, base)
            signer = Signer(run.platform.settings)
            known[key, split] = Fitted.load(base_named(base), files, signer=signer, place=f"{key}/{split}")
        return known[key, split]

    _with_holdouts(run, shop, outcomes)
    deployed = {name: [i for i, one in enumerate(f.splits) if one.deployed] for name, f in shop.folds.items()}
    return Predictor(run.rows.n_classes, shop.routers, deployed, fits)


def _with_holdouts(run: Run, shop: Any, outcomes: Mapping[str, Outcome]) -> None:
    from forecast_platform.ensembles.tasks import blend_splits

    for name in outcomes:
        task = run.workflow.task(name)
        if task.task == "stack_blend":
            splits = blend_splits(shop, task.body().holdout)
            for above in run.plan.above(name):
                if run.workflow.task(above).kind == "route":
                    shop.route(run.workflow.task(above), splits)


def model_of(
    run: Run, outcomes: Mapping[str, Outcome], known: dict[tuple[str, int], Fitted]
) -> tuple[Outcome, str, dict[str, bytes]]:
    """What a finished workflow deploys, its hash, and its MLflow model: the files by their place in the model's folder.

    known: takes the fits as they were loaded from these files, by key and split. Raises PackageError, LostFitError,
    OSError, and FoldError as `predictor_of`.
    """
    from mlflow.models import Model, ModelSignature, infer_signature

    end = best_end(run, outcomes)
    assert end.node is not None  # noqa: S101 - of a model
    predictor = predictor_of(run, outcomes)
    fits: dict[str, str] = {}
    made: dict[str, bytes] = {}
    for key, node in sorted(bases_in(end.node).items()):
        for split in predictor.deployed[node["setup"]["splits"]]:
            files = run.store.get(f"{key}/{split}")
            if files is None:
                raise LostFitError(key, split, node["base"])
            # What it predicted of its own rows is no part of the model.
            packed = to_bytes({name: data_ for name, data_ in files.items() if name != "valid.npy"})
            name = f"{key}_{split}.zip"
            made[f"{_DATA}/fits/{name}"] = packed
            fits[name] = hashlib.sha256(packed).hexdigest()
    features = run.rows.features
    about: dict[str, Any] = {
        "format": FORMATS[-1],
        "workflow": run.workflow.context.name,
        "task": end.task,
        "code_version": __version__,
        "node": end.node,
        "classes": _plain(run.rows.classes),
        "columns": list(features.columns),
        "kinds": kinds_of(features),
        "routers": {
            splits: {name: [one.state for one in found] for name, found in routers.items()}
            for splits, routers in predictor.routers.items()
        },
        "deployed": predictor.deployed,
        "fits": fits,
    }
    text = json.dumps(about, sort_keys=True)
    made[f"{_DATA}/model.json"] = text.encode()
    made[f"{_DATA}/workflow.yaml"] = written(run.workflow).encode()
    digest = hashlib.sha256(text.encode()).hexdigest()
    loaded = Ensemble.of(made, known, Signer(run.platform.settings))
    loaded.open_fits(_one_split(run, predictor))
    example = run.frame.iloc[run.rows.source[:_EXAMPLE_ROWS]][loaded.inputs].reset_index(drop=True)
    # What is a text to the model is one here: bytes are nothing that JSON has.
    example = example.assign(
        **{
            name: [
                None if missing else str(one) for one, missing in zip(example[name], example[name].isna(), strict=True)
            ]
            for name in loaded.texts
        }
    )
    described = Model(metadata={"workflow": run.workflow.context.name, "task": end.task, "sha256": digest})
    described.add_flavor(
        "python_function",
        loader_module=LOADER,
        data=_DATA,
        python_version=python_version(),
        env="requirements.txt",
    )
    described.signature = ModelSignature(
        inputs=inputs_of(run.frame.iloc[run.rows.source[:_SIGNATURE_ROWS]][loaded.inputs], loaded.numeric),
        outputs=infer_signature(loaded.shape).inputs,
    )
    used = {distribution_of(base_named(node["base"]).requires) for node in bases_in(end.node).values()} - {None}
    needed = sorted(f"{name}=={version}" for name, version in used)  # type: ignore[misc]
    made["requirements.txt"] = "".join(f"{one}\n" for one in (f"forecast-platform=={__version__}", *needed)).encode()
    made["input_example.json"] = example.to_json(orient="split", index=False, date_format="iso").encode()
    described.saved_input_example_info = {
        "artifact_path": "input_example.json", "type": "dataframe", "pandas_orient": "split",
    }  # fmt: skip
    made["MLmodel"] = described.to_yaml().encode()
    return end, digest, made


def inputs_of(seen: pd.DataFrame, numeric: Collection[str]) -> Schema:
    """The inputs of a signature. Texts and times without a zone are what MLflow calls them. Numbers (`numeric`), and
    all else, may be `any`: its integers take no missing values and its doubles no integers, and new rows have a column
    of either kind as it happens, as the model takes it.

    A column with gaps among the rows seen is optional.
    """
    import pandas as pd
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    found: list[Any] = []
    for name in seen.columns:
        values = seen[name]
        kind: Any = AnyType()
        if name not in numeric and pd.api.types.infer_dtype(values, skipna=True) in ("string", "empty"):
            kind = DataType.string if values.dtype == object else kind
        elif pd.api.types.is_datetime64_dtype(values) and not values.max() > pd.Timestamp.max:
            kind = DataType.datetime
        found.append(ColSpec(kind, str(name), required=not values.isna().any()))
    return Schema(found)


def _one_split(run: Run, predictor: Predictor) -> int:
    """A split whose models are in the result; one that predicts rows where there is such a one: the report's
    importances are by its models."""
    held = [number for number, one in enumerate(run.folds["folds"].splits) if len(one.valid)]
    deployed = predictor.deployed["folds"]
    return next((number for number in held if number in deployed), deployed[-1])


class Ensemble:
    """A workflow's model: rows of the source's columns in, a prediction a row out."""

    def __init__(self, about: dict[str, Any], predictor: Predictor) -> None:
        self.about, self.predictor = about, predictor

    @property
    def inputs(self) -> list[str]:
        """The columns that it reads."""
        kinds = self.about["kinds"]
        names = [
            name if kinds[name] in ("number", "category") else name.rpartition("__")[0]
            for name in self.about["columns"]
        ]
        return list(dict.fromkeys(names))

    @property
    def numeric(self) -> list[str]:
        """Those of them that are numbers."""
        return [name for name in self.about["columns"] if self.about["kinds"][name] == "number"]

    @property
    def texts(self) -> list[str]:
        """Those of them that are categories."""
        return [name for name in self.about["columns"] if self.about["kinds"][name] == "category"]

    @classmethod
    def load(
        cls, folder: Path, known: dict[tuple[str, int], Fitted] | None = None, signer: Signer | None = None
    ) -> Ensemble:
        """The model of a folder; known: takes its fits, by key and split, once they are loaded.

        signer: whose pickles are opened, of a model that has some; those of this process' settings where none is given.
        Raises PackageError before a file is opened that its manifest does not name.
        """
        return cls._opened(folder, lambda name: (folder / name).read_bytes(), known, signer)

    @classmethod
    def of(
        cls,
        files: Mapping[str, bytes],
        known: dict[tuple[str, int], Fitted] | None = None,
        signer: Signer | None = None,
    ) -> Ensemble:
        """As `load`, of the files of a model by their place, as `model_of` gives them."""
        return cls._opened(Path(_DATA), lambda name: files[f"{_DATA}/{name}"], known, signer)

    @classmethod
    def _opened(
        cls,
        folder: Path,
        read: Callable[[str], bytes],
        known: dict[tuple[str, int], Fitted] | None,
        signer: Signer | None,
    ) -> Ensemble:
        about = json.loads(read("model.json"))
        if about["format"] not in FORMATS:
            readable = " and ".join(map(str, FORMATS))
            raise PackageError(f"the model has format {about['format']}, this version reads {readable}: upgrade it")
        fits: dict[tuple[str, int], Fitted] = {} if known is None else known

        def fit(key: str, base: str, split: int) -> Fitted:
            if (key, split) not in fits:
                name = f"{key}_{split}.zip"
                data = read(f"fits/{name}")
                if hashlib.sha256(data).hexdigest() != about["fits"].get(name):
                    raise PackageError(f"{folder / 'fits' / name} is not the file that the model was made with")
                files = {**from_bytes(data), "valid.npy": array_bytes(np.zeros((0, 1)))}
                own = Signer() if signer is None else signer
                fits[key, split] = Fitted.load(base_named(base), files, signer=own, place=f"{key}/{split}")
            return fits[key, split]

        routers = {
            splits: {name: [Router(state) for state in states] for name, states in found.items()}
            for splits, found in about["routers"].items()
        }
        return cls(about, Predictor(len(about["classes"] or ()), routers, about["deployed"], fit))

    def probabilities(self, frame: pd.DataFrame, split: int | None = None) -> NDArray[np.float64]:
        """Probabilities [n, classes], or numbers [n, 1]; split: by the models of this one alone.

        Raises RowsError: a column is missing.
        """
        features = prepared(frame, self.about["columns"], self.about["kinds"])
        if not len(features):
            return np.zeros((0, max(1, len(self.about["classes"] or ()))))
        return self.predictor.predict(self.about["node"], features, split)

    def predict(self, frame: pd.DataFrame, split: int | None = None) -> pd.DataFrame:
        """`prediction`, and of classes `probability_<class>` each, a row a row; split: by the models of this one alone.

        Raises RowsError: a column is missing.
        """
        return self._named(self.probabilities(frame, split))

    @property
    def shape(self) -> pd.DataFrame:
        """Rows as `predict` gives them, of every class one."""
        return self._named(np.eye(max(1, len(self.about["classes"] or ()))))

    def open_fits(self, split: int) -> None:
        """Open the fits of one split. Raises PackageError as `load`: they are not what the model was made with."""
        for key, node in bases_in(self.about["node"]).items():
            own = self.about["deployed"][node["setup"]["splits"]]
            self.predictor.fits(key, node["base"], split if split in own else own[0])

    def _named(self, found: NDArray[np.float64]) -> pd.DataFrame:
        import pandas as pd

        classes = self.about["classes"]
        if classes is None:
            return pd.DataFrame({"prediction": found[:, 0]})
        labels = [classes[code] for code in np.argmax(found, axis=1)]
        shares = {f"probability_{one}": found[:, code] for code, one in enumerate(classes)}
        return pd.DataFrame({"prediction": labels, **shares})


def _plain(classes: list[Any] | None) -> list[Any] | None:
    """Class labels as JSON has them: numbers, truth values and texts as they are, others as text."""
    if classes is None:
        return None
    return [one if isinstance(one, str | bool | int | float) else str(one) for one in classes]

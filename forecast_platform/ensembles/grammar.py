"""The `obsrv` grammar as typed values: context and tasks, every default in place. `reading` makes them from files."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, PlainSerializer, field_validator, model_validator

from forecast_platform.ensembles.grammar_forecasts import ORIGIN, OUTCOME, Forecasts, with_forecasts
from forecast_platform.ensembles.grammar_parts import Part, listed
from forecast_platform.ensembles.units import duration_text, seconds_of

ClassMetric = Literal["accuracy", "precision", "recall", "f1", "auc"]
Averaging = Literal["weighted", "macro", "micro", "binary"]
NumberMetric = Literal["rmse", "mae", "r2"]
SampleMethod = Literal["random", "stratified", "time_series"]
FoldType = Literal["kfold", "stratified", "time_series", "grouped"]
Transform = Literal["pre_scale", "scale", "post_scale"]
TaskType = Literal[
    "route_cluster", "route_feature", "route_external",
    "stack_top_any", "stack_top_alg", "stack_top_n_alg", "stack_blend", "stack_classwise",
    "boost", "vote_top_alg", "vote_mix", "vote_weight",
]  # fmt: skip
BoostMethod = Literal["gbm", "xgboost", "lightgbm", "catboost", "automl", "tf", "dl", "pytorch", "tabnet"]
Mix = Literal["majority", "mean", "geometric mean", "mean of ranks"]

TASK_TYPES: tuple[str, ...] = get_args(TaskType)
BODY_OF = {name: name.partition("_")[0] for name in TASK_TYPES}
"""The key that holds a task's parameters: route, stack, boost or vote."""

PARAMETERS: dict[str, tuple[str, ...]] = {
    "route_cluster": ("cluster",),
    "route_feature": ("feature", "bins"),
    "route_external": ("partition", "parts"),
    "stack_top_any": ("top_n", "meta"),
    "stack_top_alg": ("top_alg", "levels", "meta"),
    "stack_top_n_alg": ("top_n_alg", "levels", "meta"),
    "stack_blend": ("blend", "levels", "holdout", "meta"),
    "stack_classwise": ("classwise", "levels", "meta"),
    "boost": ("method",),
    "vote_top_alg": ("top_alg",),
    "vote_mix": ("mix",),
    "vote_weight": ("weight_col",),
}
"""The parameters that each type of task takes."""


class Compute(Part):
    """Where the tasks run."""

    existing_cluster_id: str | None = None
    serverless: Annotated[list[Literal["GPU", "no-GPU"]], BeforeValidator(listed)] = Field(default_factory=list)


class ClassMetricChoice(Part):
    """A metric of classes, with how it is averaged over them."""

    name: ClassMetric
    average: Averaging = "weighted"


def _class_metric(value: Any) -> Any:
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and len(value) == 1:
        [(name, average)] = value.items()
        if name not in ("name", "average"):
            return {"name": name, "average": average}
    return value


def _as_written(value: ClassMetricChoice) -> Any:
    return value.name if value.average == "weighted" else {value.name: value.average}


ClassMetricItem = Annotated[ClassMetricChoice, BeforeValidator(_class_metric), PlainSerializer(_as_written)]


class Metric(Part):
    """What models are ranked by: the first of the target's family; the others are reported."""

    classification: Annotated[list[ClassMetricItem] | None, BeforeValidator(listed)] = None
    regression: Annotated[list[NumberMetric] | None, BeforeValidator(listed)] = None

    @property
    def of_classes(self) -> list[ClassMetricChoice]:
        """Those of classes: auc, accuracy and f1 where the file names none."""
        return self.classification or [ClassMetricChoice(name=name) for name in ("auc", "accuracy", "f1")]

    @property
    def of_numbers(self) -> list[str]:
        """Those of numbers: rmse, mae and r2 where the file names none."""
        return list(self.regression or ("rmse", "mae", "r2"))


class Sample(Part):
    """Rows that are worked on: at most `size` of them (a count), chosen by the first method."""

    size: int = Field(ge=20)
    method: Annotated[list[SampleMethod], BeforeValidator(listed)] = Field(default=["random"], min_length=1)


class Include(Part):
    """A feature to use, and what is done to it before a model sees it."""

    feature: str
    transform: Annotated[list[Transform], BeforeValidator(listed)] = Field(default_factory=list)


def _included(value: Any) -> Any:
    return {"feature": value} if isinstance(value, str) else value


def _excluded(value: Any) -> Any:
    return value["feature"] if isinstance(value, dict) and set(value) == {"feature"} else value


class Features(Part):
    """Which columns are features: those included (all where none is named) without those excluded."""

    include: list[Annotated[Include, BeforeValidator(_included)]] = Field(default_factory=list)
    exclude: list[Annotated[str, BeforeValidator(_excluded)]] = Field(default_factory=list)


class Source(Part):
    """The table and its target: a table of the warehouse, a CSV or Parquet file (`path`), or the daily graph's
    forecasts."""

    forecasts: Forecasts | None = None
    catalog: str | None = None
    schema_: str | None = Field(default=None, alias="schema")
    table: str | None = None
    path: str | None = None
    target: str
    features: Features = Field(default_factory=Features)

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        named = [self.catalog, self.schema_, self.table]
        if self.forecasts is not None:
            if self.path is not None or any(named) or self.target != OUTCOME:
                raise ValueError(
                    f"forecasts are the whole source, and their target is {OUTCOME}: name nothing beside them"
                )
            return self
        if self.path is None and not all(named):
            lacking = [name for name, value in zip(("catalog", "schema", "table"), named, strict=True) if not value]
            raise ValueError(
                f"source lacks {', '.join(lacking)}: name catalog, schema and table, or a file with `path`"
            )
        return self

    @property
    def place(self) -> tuple[str, str, str]:
        """Catalog, schema and table that results are named after; of a file, `ensembles.files.<its name>`, of forecasts
        `ensembles.forecasts.point_forecasts`."""
        if self.forecasts is not None:
            return "ensembles", "forecasts", "point_forecasts"
        stem = re.sub(r"\W+", "_", re.split(r"[/\\]", self.path or "")[-1].partition(".")[0]).strip("_").lower()
        return self.catalog or "ensembles", self.schema_ or "files", self.table or stem or "table"


class Context(Part):
    """What all tasks share."""

    name: str
    source: Source
    compute: Compute = Field(default_factory=Compute)
    timeout: Annotated[float, BeforeValidator(seconds_of), PlainSerializer(duration_text)] = 600.0
    """Seconds that one task may take."""
    metric: Metric = Field(default_factory=Metric)
    sample: Sample | None = None
    fold_type: Annotated[list[FoldType], BeforeValidator(listed)] = Field(default=["kfold"], min_length=1)
    folds: int = Field(default=5, ge=2, le=20)
    seed: int = Field(default=42, ge=0, lt=2**31)
    time_col: str | None = None
    group_col: str | None = None
    calibrate: Literal["none", "sigmoid", "isotonic"] = "none"
    bases: list[str] = Field(default_factory=list)
    """Base models by name; those installed that suit the table where none is named."""
    register_: bool = Field(default=False, alias="register")

    @model_validator(mode="before")
    @classmethod
    def _of_forecasts(cls, values: Any) -> Any:
        return with_forecasts(values)

    @field_validator("name")
    @classmethod
    def _usable(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
            usable = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-")[:64] or "my_workflow"
            raise ValueError(f"{name!r} cannot name tables: at most 64 letters, digits, _ and -, such as {usable}")
        return name

    @model_validator(mode="after")
    def _columns(self) -> Context:
        if self.source.forecasts is not None:
            if self.fold_type != ["time_series"] or self.time_col != ORIGIN or self.group_col is not None:
                raise ValueError(
                    f"forecasts are scored in the order in which they were made (time_series by {ORIGIN}): leave out "
                    "fold_type, time_col and group_col"
                )
            if self.metric.classification or self.calibrate != "none" or self.bases:
                raise ValueError(
                    "of forecasts the target is a number and the members are models: leave out metric.classification, "
                    "calibrate and bases (name models in source.forecasts.of)"
                )
            if self.register_:
                raise ValueError("votes over forecasts serve no requests of their own: leave out register")
        needs = {"time_series": ("time_col", self.time_col)}
        wanted = [self.fold_type[0], *(self.sample.method[:1] if self.sample else ())]
        for kind in wanted:
            name, value = needs.get(kind, ("", "there"))
            if not value:
                raise ValueError(f"{kind} needs `{name}`: name the column, beside `fold_type`")
        return self

    @property
    def slug(self) -> str:
        """The name as tables, assets and jobs carry it."""
        return self.name.replace("-", "_")


class Clusters(Part):
    """How many clusters."""

    n_clusters: int = Field(default=5, ge=2, le=100)


class Mixture(Part):
    """How many components of a Gaussian mixture."""

    n_components: int = Field(default=5, ge=2, le=100)


class Cluster(Part):
    """One method of clustering: k-means where none is named."""

    kmeans: Clusters | None = None
    bisect: Clusters | None = None
    agglom: Clusters | None = None
    mixture: Mixture | None = None
    hierarch: Clusters | None = None

    @model_validator(mode="after")
    def _one(self) -> Cluster:
        if len(found := self._named()) > 1:
            raise ValueError(f"cluster names {' and '.join(found)}: keep one, and give the other a task of its own")
        return self

    def _named(self) -> list[str]:
        return [name for name in type(self).model_fields if getattr(self, name) is not None]

    @property
    def method(self) -> str:
        """The method's name."""
        return (self._named() or ["kmeans"])[0]

    @property
    def count(self) -> int:
        """Clusters that are looked for."""
        found = getattr(self, self.method)
        return 5 if found is None else found.n_components if isinstance(found, Mixture) else found.n_clusters


class Route(Part):
    """Parameters of the route tasks."""

    cluster: Cluster | None = None
    feature: str | None = None
    bins: int | None = Field(default=None, ge=2, le=50)
    partition: Literal["random", "sequence"] | None = None
    parts: int | None = Field(default=None, ge=2, le=50)


class Stack(Part):
    """Parameters of the stack tasks: counts, and `holdout`, the share of rows (0 to 0.9) that blends weigh on."""

    top_n: int | None = Field(default=None, ge=1, le=50)
    top_alg: int | None = Field(default=None, ge=1, le=20)
    top_n_alg: int | None = Field(default=None, ge=1, le=20)
    blend: int | None = Field(default=None, ge=1, le=50)
    classwise: int | None = Field(default=None, ge=1, le=50)
    levels: int | None = Field(default=None, ge=1, le=3)
    holdout: float | None = Field(default=None, gt=0.0, lt=0.9)
    meta: Literal["logistic", "ridge", "auto"] | None = None


class Boost(Part):
    """Parameters of the boost task."""

    method: BoostMethod | None = None


class Vote(Part):
    """Parameters of the vote tasks."""

    top_alg: int | None = Field(default=None, ge=1, le=50)
    mix: Mix | None = None
    weight_col: str | None = None


class Dependency(Part):
    """A task that must be done before."""

    task: str


def _dependency(value: Any) -> Any:
    return {"task": value} if isinstance(value, str) else value


class Task(Part):
    """One task: its type, its id where the type is used twice, what it waits for, its parameters."""

    task: TaskType
    id: str | None = Field(default=None, pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")
    depends_on: Annotated[list[Annotated[Dependency, BeforeValidator(_dependency)]], BeforeValidator(listed)] = Field(
        default_factory=list
    )
    per_route: bool = True
    route: Route | None = None
    stack: Stack | None = None
    boost: Boost | None = None
    vote: Vote | None = None

    @property
    def name(self) -> str:
        """What other tasks call it: its id, else its type."""
        return self.id or self.task

    @property
    def kind(self) -> str:
        """route, stack, boost or vote."""
        return BODY_OF[self.task]

    @property
    def waits_for(self) -> list[str]:
        """Names of the tasks that it depends on, as written."""
        return [one.task for one in self.depends_on]

    def body(self) -> Any:
        """Its parameters."""
        return getattr(self, self.kind)


class Obsrv(Part):
    """A workflow: its context, and its tasks in the order of the file."""

    context: Context
    job: list[Task] = Field(min_length=1)

    @model_validator(mode="after")
    def _groups(self) -> Obsrv:
        named = self.context.group_col or any(one.kind == "route" for one in self.job)
        if self.context.fold_type[0] == "grouped" and not named:
            raise ValueError("grouped needs `group_col`: name the column, or route: routes are the groups then")
        return self


class Workflow(Part):
    """A file in the grammar."""

    obsrv: Obsrv

    @property
    def context(self) -> Context:
        """What all tasks share."""
        return self.obsrv.context

    @property
    def tasks(self) -> list[Task]:
        """The tasks in the order of the file."""
        return self.obsrv.job

    def task(self, name: str) -> Task:
        """The task of this name. Raises KeyError."""
        for one in self.tasks:
            if one.name == name:
                return one
        raise KeyError(f"{self.context.name} has no task {name!r}; it has {', '.join(one.name for one in self.tasks)}")


DEFAULTS: dict[str, dict[str, Any]] = {
    "route_cluster": {"cluster": {"kmeans": {"n_clusters": 5}}},
    "route_feature": {"bins": 5},
    "route_external": {"partition": "random", "parts": 5},
    "stack_top_any": {"top_n": 3, "meta": "auto"},
    "stack_top_alg": {"top_alg": 3, "levels": 1, "meta": "auto"},
    "stack_top_n_alg": {"top_n_alg": 2, "levels": 2, "meta": "auto"},
    "stack_blend": {"blend": 5, "levels": 2, "holdout": 0.2, "meta": "auto"},
    "stack_classwise": {"classwise": 5, "levels": 1, "meta": "auto"},
    "boost": {"method": "gbm"},
    "vote_top_alg": {"top_alg": 3},
    "vote_mix": {"mix": "mean"},
    "vote_weight": {},
}
"""What a task's parameters are where the file does not say."""

"""Base models fitted split by split over one workflow's rows: each fit once, whichever task asks for it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles.bundles import Fitted, by_cell, extra_columns, rows_of, with_extra
from forecast_platform.ensembles.catalog import Base, distribution_of
from forecast_platform.ensembles.encoded import EncodedRows
from forecast_platform.ensembles.encoding import Encoder
from forecast_platform.ensembles.ending import FitEndedError, ends_at
from forecast_platform.ensembles.folds import Folds, of_rows
from forecast_platform.ensembles.gpu import CPU, GPU, NOT_HERE, asks_gpu, gpu_here
from forecast_platform.ensembles.grammar import Context, Task
from forecast_platform.ensembles.learners import Learner
from forecast_platform.ensembles.members import Member, Setup, Wanted
from forecast_platform.ensembles.memory import Memory
from forecast_platform.ensembles.metrics import Scorer, interval_of
from forecast_platform.ensembles.routing import Router, cells_of
from forecast_platform.ensembles.rows import Rows
from forecast_platform.ensembles.signed import SIGNATURE, Signer
from forecast_platform.ensembles.threads import one_thread_each, one_thread_here
from forecast_platform.host.memory import LARGE, give_back_memory

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ENGINE = 7
"""Raised by hand where the same fit would come out otherwise: what was made by another one is made again."""
FEWEST = 60
"""Training rows below which a route has no model of its own."""


class TaskTimeoutError(RuntimeError):
    """A task took longer than its workflow allows; its finished fits are kept."""


class Store(Protocol):
    """Files by key, each whole or not there."""

    def get(self, key: str) -> dict[str, bytes] | None:
        """The files of a key; None where there are none."""
        ...

    def put(self, key: str, files: dict[str, bytes]) -> None:
        """Keep the files of a key."""
        ...

    def lock(self, key: str) -> Any:
        """A context in which no other process makes this key."""
        ...


@dataclass
class Workshop:
    """One workflow's rows and folds, and everything that was fitted on them."""

    context: Context
    rows: Rows
    folds: dict[str, Folds]
    store: Store
    workers: int = 1
    deadline: float | None = None
    tell: Callable[[int, int, str], None] = lambda done, total, what: None
    memory: Memory = field(default_factory=Memory)
    signer: Signer | None = None
    """Of fits with pickles; without one none is opened again."""
    fitted: int = 0
    """Fits that were made here, and not found in the store."""
    cpu_seconds: float = 0.0
    _routes: dict[str, Task] = field(default_factory=dict)

    @property
    def routers(self) -> dict[str, dict[str, list[Router]]]:
        """By the splits' name and the route task, one router a split."""
        return self.memory.routers

    @property
    def transforms(self) -> dict[str, tuple[str, ...]]:
        """Of each included feature what is done to it."""
        return {one.feature: tuple(one.transform) for one in self.context.source.features.include if one.transform}

    @cached_property
    def _encoded(self) -> EncodedRows:
        # Rows in order, or of groups, meet cells of a pair that no training row was of.
        pairs = self.rows.time is None and self.folds["folds"].kind != "grouped"
        return EncodedRows(self.context.seed, self.transforms, pairs, self.memory)

    def route(self, task: Task, splits: str = "folds") -> list[Router]:
        """The routers of a task, one a split, each fitted on the split's training rows alone.

        Raises RouteError where its features do not allow it.
        """
        self._routes[task.name] = task
        known = self.routers.setdefault(splits, {})
        if task.name not in known:
            rows = self.rows.routable
            known[task.name] = [
                Router.fit(task, rows.iloc[split.train], self.context.seed, self.rows.source[split.train])
                for split in self.folds[splits].splits
            ]
        return known[task.name]

    def routers_of(self, setup: Setup) -> dict[str, list[Router]]:
        """The routers of a setup's routes, for its splits. Raises RouteError as `route`."""
        return {name: self.route(self._routes[name], setup.splits) for name in (*setup.routes, *setup.columns)}

    def key(self, wanted: Wanted) -> str:
        """What a base model's fits are known by: everything that they follow from. Raises RouteError as `route`."""
        base = wanted.base
        parts: dict[str, Any] = {
            "engine": ENGINE,
            "rows": self.rows.digest,
            "part": hashlib.sha256(self._folds(wanted.setup).part.tobytes()).hexdigest(),
            "base": [base.name, base.learner, base.encoding, base.params, base.for_numbers, base.log_target],
            "library": base.versions if base.within else (distribution_of(base.requires) or ("", ""))[1],
            "transforms": self.transforms,
            "seed": self.context.seed,
            "setup": wanted.setup.to_dict(),
            "routers": {name: [one.state for one in found] for name, found in self.routers_of(wanted.setup).items()},
            "extra": [one.node for one in wanted.extra],
            # A network of a GPU is another fit. Not which one, nor its PyTorch: a machine without one looks for it too.
            **({} if wanted.device == CPU else {"device": wanted.device}),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]

    def members(self, wanted: Sequence[Wanted]) -> list[Member]:
        """The base models, each fitted on every split that is not in the store yet. Raises TaskTimeoutError, and
        FoldError where too few rows have the predictions that are further features.

        One split after the other, and of each the models that encode alike, so that its encoded rows are held once and
        in one way; those models run at once.
        """
        wanted = [self._placed(one) for one in wanted]
        keys = [self.key(one) for one in wanted]
        predicted = [np.full((len(self.rows.y), self.rows.width), np.nan) for _ in wanted]
        seconds, notes = [0.0] * len(wanted), [[] for _ in wanted]  # type: ignore[var-annotated]
        able = [self._fitted(one) for one in wanted]
        jobs = sorted((number, place) for place, numbers in enumerate(able) for number in numbers)
        with self._at_once(f"{keys[place]}/{number}" for number, place in jobs) as at_once:
            done = 0
            groups = sorted({(number, wanted[place].base.encoding) for number, place in jobs})
            for split, encoding in groups:
                places = [place for number, place in jobs if (number, wanted[place].base.encoding) == (split, encoding)]
                runs = at_once(lambda place, split=split: self._made(wanted[place], keys[place], split), places)
                for place, found in zip(places, runs, strict=True):
                    part = self._folds(wanted[place].setup).splits[split]
                    if len(part.valid):
                        predicted[place][part.valid] = found.valid
                    seconds[place] += found.seconds
                    said = (*found.notes, *self._place_said(wanted[place], found.gpu))
                    notes[place] += [one for one in said if one not in notes[place]]
                    done += 1
                    self.tell(done, len(jobs), f"{wanted[place].base.name}, split {split + 1}")
                self._encoded.forget(means=(split, encoding) == max(one for one in groups if one[0] == split))
                if self.rows.features.size >= LARGE:
                    give_back_memory()
        return [
            Member(
                one.base.name,
                one.base.algorithm,
                {
                    "kind": "base",
                    "base": one.base.name,
                    "key": key,
                    "setup": one.setup.to_dict(),
                    "extra": [each.node for each in one.extra],
                },
                values,
                spent,
                tuple(said),
            )
            for one, key, values, spent, said in zip(wanted, keys, predicted, seconds, notes, strict=True)
        ]

    @contextmanager
    def _at_once(self, places: Iterable[str]) -> Iterator[Callable[..., Iterable[Fitted]]]:
        """A `map` whose calls run side by side; where the fits of all places are remembered there is nothing to run."""
        if all(place in self.memory.fits for place in places):
            yield map
            return
        with one_thread_each(), ThreadPoolExecutor(max(1, self.workers), initializer=one_thread_here) as pool:
            yield pool.map

    def _placed(self, wanted: Wanted) -> Wanted:
        """With the device that it is fitted on: the GPU, where the workflow asks for one and this machine has one.

        A machine without one takes what was fitted on one elsewhere, where all of it is kept.
        """
        if not (wanted.base.on_gpu and asks_gpu(self.context)):
            return wanted
        on_gpu = replace(wanted, device=GPU)
        if gpu_here():
            return on_gpu
        key = self.key(on_gpu)
        places = [f"{key}/{split}" for split in self._fitted(wanted)]
        kept = all(place in self.memory.fits or self.store.get(place) is not None for place in places)
        return on_gpu if kept else wanted

    def _place_said(self, wanted: Wanted, gpu: str) -> list[str]:
        """Where a network was fitted, where the workflow asks for a GPU."""
        if not (wanted.base.on_gpu and asks_gpu(self.context)):
            return []
        return [NOT_HERE if wanted.device == CPU else f"networks are fitted on {gpu}"]

    def _folds(self, setup: Setup) -> Folds:
        return self.folds[setup.splits]

    def _fitted(self, wanted: Wanted) -> list[int]:
        """The splits that it is fitted on. Raises FoldError as `members`."""
        return [number for number, split in enumerate(self._folds(wanted.setup).splits) if wanted.can_fit(split)]

    def _made(self, wanted: Wanted, key: str, split: int, *, whole: bool = False) -> Fitted:
        """The fit, made where it is not in the store; one that is comes without its models unless `whole`."""
        place = f"{key}/{split}"
        if not whole and (known := self.memory.fits.get(place)) is not None:
            return known
        if (files := self.store.get(place)) is not None:
            return self._loaded(wanted.base, place, files, whole=whole)
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise self._too_long()
        with self.store.lock(place):
            if (files := self.store.get(place)) is not None:
                return self._loaded(wanted.base, place, files, whole=whole)
            try:
                with ends_at(self.deadline):
                    found = self._fit(wanted, split)
            except FitEndedError:
                raise self._too_long() from None
            self.store.put(place, self._signed(wanted.base, place, found.files()))
        self.fitted += 1
        self.cpu_seconds += found.seconds
        return self.memory.remembered(place, found)

    def _loaded(self, base: Base, place: str, files: dict[str, bytes], *, whole: bool) -> Fitted:
        return self.memory.remembered(place, Fitted.load(base, files, whole=whole, signer=self.signer, place=place))

    def _signed(self, base: Base, place: str, files: dict[str, bytes]) -> dict[str, bytes]:
        if not base.pickled or self.signer is None:
            return files
        return {**files, SIGNATURE: self.signer.signature(place, files)}

    def _too_long(self) -> TaskTimeoutError:
        return TaskTimeoutError(
            f"over {self.context.timeout:g} s (context.timeout); {self.fitted} fits of this try are kept, and the "
            "next one goes on from there: raise the timeout, or run it again"
        )

    def scores_of(self, scorer: Scorer, members: Sequence[Member], rows: Ints) -> list[float]:
        """Each member's score on these rows, [n] places: made once, for tasks choose among the same models on the
        same rows."""
        return self._once(scorer.label, members, rows, lambda y, one: scorer(y, one))

    def intervals_of(
        self, scorer: Scorer, members: Sequence[Member], rows: Ints, blocks: Ints
    ) -> list[tuple[float, float]]:
        """Each member's interval of a metric on these rows, in its unit, as `interval_of` has it; made once.

        blocks: each of these rows' group, [n]; it follows from the rows.
        """
        return self._once(f"interval {scorer.label}", members, rows, lambda y, one: interval_of(scorer, y, one, blocks))

    def _once(
        self, what: str, members: Sequence[Member], rows: Ints, make: Callable[[NDArray[Any], Floats], Any]
    ) -> list[Any]:
        known, y = self.memory.scores, of_rows(self.rows.y, rows)
        which = hashlib.sha256(rows.tobytes()).hexdigest()
        for one in members:
            if (what, one.digest, which) not in known:
                known[what, one.digest, which] = make(y, of_rows(one.predicted, rows))
        return [known[what, one.digest, which] for one in members]

    def features(self, setup: Setup, split: int) -> pd.DataFrame:
        """The features, with the routes that a setup has as columns. Raises RouteError as `route`."""
        if not setup.columns:
            return self.rows.features
        found = {
            f"route_{name}": self._cells(setup, split, (name,)).astype(str).astype(object) for name in setup.columns
        }
        return self.rows.features.assign(**found)

    def _cells(self, setup: Setup, split: int, routes: Sequence[str]) -> Ints:
        known = self.routers_of(setup)
        return cells_of([known[name][split] for name in routes], self.rows.features, self.rows.source)

    def _fit(self, wanted: Wanted, number: int) -> Fitted:
        split = self._folds(wanted.setup).splits[number]
        base, setup, rows = wanted.base, wanted.setup, self.rows
        began = time.thread_time()
        train, known = split.train, np.arange(len(split.valid))
        extra: Floats | None = None
        if wanted.extra:
            extra = extra_columns([one.predicted for one in wanted.extra], rows.n_classes)
            train = wanted.with_extra(train)
            known = np.searchsorted(split.valid, wanted.with_extra(split.valid))
        encoder, x, x_valid = self._encode(base, setup, number, train, split.valid)
        y = rows.y[train]
        x = with_extra(x, None if extra is None else extra[train])
        x_valid = with_extra(x_valid, None if extra is None else extra[split.valid])
        seed = _seed(self.context.seed, base.name, number)
        learners: dict[int, Learner] = {}
        notes: list[str] = []
        cells = self._cells(setup, number, setup.routes) if setup.routes else None
        if cells is None:
            learners[-1] = Learner.fit(base, x, y, rows.n_classes, seed, wanted.device)
        else:
            own = cells[train]
            for cell in np.unique(own):
                inside = np.flatnonzero(own == cell)
                if len(inside) >= FEWEST and (not rows.n_classes or len(np.unique(y[inside])) > 1):
                    own_x, own_y = rows_of(x, inside), y[inside]
                    learners[int(cell)] = Learner.fit(base, own_x, own_y, rows.n_classes, seed, wanted.device)
                else:
                    notes.append(
                        f"{base.name}: a route of fewer than {FEWEST} rows or of one class uses the unrouted model"
                    )
            learners[-1] = self._unrouted(wanted, number)
        held = np.full((len(split.valid), rows.width), np.nan)
        if len(known):
            whole = len(known) == len(split.valid)
            routed = None if cells is None else cells[split.valid[known]]
            held[known] = by_cell(learners, x_valid if whole else rows_of(x_valid, known), routed)
        spent = time.thread_time() - began + sum(one.cpu_elsewhere for one in learners.values())
        gpu = gpu_here() if wanted.device == GPU else ""
        return Fitted(base, encoder, learners, held, spent, tuple(dict.fromkeys(notes)), gpu)

    def _unrouted(self, wanted: Wanted, number: int) -> Learner:
        """The same model over all routes, which the comparison has fitted too."""
        plain = replace(wanted, setup=replace(wanted.setup, routes=()))
        return self._made(plain, self.key(plain), number, whole=True).learners[-1]

    def _encode(self, base: Base, setup: Setup, number: int, train: Ints, valid: Ints) -> tuple[Encoder, Any, Any]:
        split, rows = (setup.columns, setup.splits, number), self.rows
        return self._encoded.of(
            base.encoding, split, lambda: self.features(setup, number), rows.y, rows.n_classes, train, valid
        )


def _seed(seed: int, name: str, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {name} {number}".encode()).digest()[:4], "big") % 2**31

"""The files of fits that are too large for their row: compared with what the row says, put back from a backup."""

from __future__ import annotations

import shutil
from pathlib import Path

from forecast_platform.host.files import sync_tree
from forecast_platform.models.saved import ArtifactError
from forecast_platform.settings import Settings
from forecast_platform.warehouse.damage import Damage
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import TRAINED_MODELS
from forecast_platform.work.fitted_store import text_of

_KEY = ("commodity", "model_name", "model_version")


def damaged_fits(settings: Settings, warehouse: DeltaWarehouse) -> list[Damage]:
    """The files and folders of current fits that are gone or are not what was written; every byte of them is read.

    Raises OSError, and WarehouseError where trained_models cannot be read.
    """
    columns = [*_KEY, "training_cutoff_date", "fitted_model_s3_path"]
    keys: dict[tuple[str, ...], list[object]] = {}
    for row in warehouse.read(TRAINED_MODELS, columns, {"is_active": True}).to_pylist():
        if row["fitted_model_s3_path"] is not None:
            keys.setdefault(tuple(row[name] for name in _KEY), []).append(row["training_cutoff_date"])
    found = []
    for key, cutoffs in sorted(keys.items()):
        where = {**dict(zip(_KEY, key, strict=True)), "training_cutoff_date": cutoffs, "is_active": True}
        for row in warehouse.read(TRAINED_MODELS, where=where).to_pylist():
            try:
                text_of(settings, row)
            except ArtifactError as error:
                what = (
                    f"is damaged: {error}; train it again with `forecast-platform train --commodity {key[0]} --models "
                    f"{key[1]} --model-version-tag {key[2]} --overwrite`"
                )
                day = row["training_cutoff_date"]
                partition = {"commodity": key[0], "model_name": key[1]}
                file = _relative(settings, Path(row["fitted_model_s3_path"]))
                found.append(Damage(TRAINED_MODELS, file, what, "fit", partition=partition, dates=(day, day)))
    return found


def put_back(settings: Settings, one: Damage, backup: Path, aside: Path) -> bool:
    """Take a damaged fit's file or folder from a backup folder, what was there goes aside; False where it has none.

    Whether it is what was written, another look says.
    """
    source, target = backup / "warehouse" / one.file, settings.warehouse / one.file
    if Path(one.file).is_absolute() or not source.exists():
        return False
    if target.exists():
        (aside / one.file).parent.mkdir(parents=True, exist_ok=True)
        target.rename(aside / one.file)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
    sync_tree(target.parent)
    return True


def _relative(settings: Settings, path: Path) -> str:
    inside = path.is_relative_to(settings.warehouse)
    return path.relative_to(settings.warehouse).as_posix() if inside else str(path)

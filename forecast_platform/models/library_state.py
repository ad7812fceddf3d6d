"""A library's fitted object as plain values and back, without pickle: what it holds, by the names of its fields.

Only plain values, arrays, frames of numbers and objects of classes of one module are taken, and only such objects are
made again: reading what was written can run none of its code.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np


def packed(value: Any, library: ModuleType) -> Any:
    """`value` as JSON takes it, to the bit. Raises TypeError, naming the field, for what is none of the above."""
    return _packed(value, library, "model")


def _packed(value: Any, library: ModuleType, where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"__float__": repr(value)}
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"__bits__": data, "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, np.ndarray):
        return {"__list__": _packed(value.tolist(), library, where)}
    if isinstance(value, Mapping):
        return {
            "__map__": [[_packed(k, library, where), _packed(v, library, f"{where}.{k}")] for k, v in value.items()]
        }
    if isinstance(value, list | tuple):
        items = [_packed(item, library, f"{where}[{place}]") for place, item in enumerate(value)]
        return {"__tuple__": items} if isinstance(value, tuple) else items
    kind = type(value)
    if kind.__module__.partition(".")[0] == "pandas" and kind.__name__ == "DataFrame":
        columns = {str(name): value[name].to_numpy() for name in value.columns}
        return {"__frame__": _packed(columns, library, where)}
    if getattr(library, kind.__name__, None) is kind:
        return {"__object__": kind.__name__, "fields": _packed(vars(value), library, where)}
    raise TypeError(f"{where} is a {kind.__module__}.{kind.__qualname__}, which cannot be kept without pickle")


def unpacked(value: Any, library: ModuleType) -> Any:
    """What `packed` wrote. Raises ValueError: an object of a class that `library` does not have."""
    if isinstance(value, list):
        return [unpacked(item, library) for item in value]
    if not isinstance(value, dict):
        return value
    if "__float__" in value:
        return float(value["__float__"])
    if "__bits__" in value:
        flat = np.frombuffer(base64.b64decode(value["__bits__"]), np.dtype(value["dtype"]))
        return flat.reshape(value["shape"]).copy()
    if "__list__" in value:
        return np.array(unpacked(value["__list__"], library), dtype=object)
    if "__map__" in value:
        return {unpacked(key, library): unpacked(item, library) for key, item in value["__map__"]}
    if "__tuple__" in value:
        return tuple(unpacked(value["__tuple__"], library))
    if "__frame__" in value:
        import pandas as pd

        return pd.DataFrame(unpacked(value["__frame__"], library))
    name = value["__object__"]
    kind = getattr(library, name, None)
    if not isinstance(kind, type) or kind.__module__ != library.__name__:
        raise ValueError(f"{library.__name__} has no class {name}: the fit is of another version of it, train it again")
    made: Any = object.__new__(kind)
    vars(made).update(unpacked(value["fields"], library))
    return made

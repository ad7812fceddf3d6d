"""Arrays as .npy files in memory, which run no code when they are read."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray


def array_bytes(values: NDArray[Any]) -> bytes:
    """An array, [...] of any shape, as a .npy file. Raises ValueError for one of Python objects."""
    if values.dtype.hasobject:
        raise ValueError(f"an array of {values.dtype} would be kept as a pickle")
    values = np.asarray(values, order="C")
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(values))
    # np.save copies an array piece by piece into a file that is in memory, which takes several times as long.
    return b"".join((head.getvalue(), values.reshape(-1).view(np.uint8).data))


def array_from(data: bytes) -> NDArray[Any]:
    """The array of a .npy file, [...] of the shape and type that it was saved with."""
    return np.load(io.BytesIO(data), allow_pickle=False)

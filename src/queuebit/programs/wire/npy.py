"""Arrays in .npy form: what they say of themselves, before NumPy reads them."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np


def check(content: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array in .npy form, without reading it; ValueError if it is not sound.

    Only numbers are let through: an array of objects would be unpickled.
    """
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    readers: dict[tuple[int, int], Callable[..., Any]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of the array format is not supported")
    try:
        shape, _, dtype = readers[version](file)
    except Exception as error:  # noqa: BLE001 - it is parsed as Python and fails in as many ways
        raise ValueError(f"its header cannot be read: {str(error)[:200]}") from None
    if dtype.kind not in "biufc":
        raise ValueError(f"arrays of type {dtype} are not accepted, only numbers")
    size = dtype.itemsize
    for length in shape:
        size *= length
    if len(content) - file.tell() != size:
        raise ValueError(f"{len(content) - file.tell()} bytes of data where {size} are announced")
    return shape, dtype

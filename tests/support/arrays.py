"""Arrays to MXNet's process and back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def ask(
    oracle: Callable[..., Any], call: str, arrays: Mapping[str, npt.ArrayLike], *arguments: Any
) -> dict[str, Array]:
    """The arrays that MXNet's ``call`` answers: it takes ``arguments``, then the files of the
    question's arrays and of the answer's."""
    with tempfile.TemporaryDirectory() as folder:
        question, answer = (os.path.join(folder, name) for name in ("q.npz", "a.npz"))
        np.savez(question, **{name: np.asarray(value) for name, value in arrays.items()})
        oracle(call, *arguments, question, answer)
        with np.load(answer) as file:
            return dict(file)

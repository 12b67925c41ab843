"""The same calls for ``mxnet.recordio`` and ``recpack.mxrecordio``, as JSON, and what they did.

Run by the tests, and by MXNet's process, where nothing of recpack or of the tests can be imported.
"""

from __future__ import annotations

import os
import pickle
import struct
from typing import Any

import numpy as np


def play(recordio: Any, folder: str, calls: list[list[Any]]) -> list[Any]:
    """The outcome of each call: ``[object, attribute, *arguments]``, where the object is the name
    of one that an earlier call made, or "" for the module. A made one is kept under ``name`` by
    ``[name + "=", class, *arguments]``. ``{"path": …}`` is in ``folder``, ``{"hex": …}`` bytes,
    ``{"floats": …}`` float32, ``{"pixels": …}`` an image of that shape."""
    objects: dict[str, Any] = {"": recordio}
    outcomes: list[Any] = []
    for name, attribute, *arguments in calls:
        values = [_value(argument, folder) for argument in arguments]
        try:
            if name.endswith("="):
                objects[name[:-1]] = getattr(recordio, attribute)(*values)
                outcomes.append(None)
            elif attribute == "pickled":
                objects[name] = pickle.loads(pickle.dumps(objects[name]))
                outcomes.append(None)
            elif attribute == "in a child":
                outcomes.append(_in_a_child(objects[name], *values))
            else:
                found = getattr(objects[name], attribute)
                outcomes.append(_plain(found(*values) if callable(found) else found))
        except Exception as error:
            outcomes.append(_kind(error))
    for one in objects.values():
        if one is not recordio:
            one.close()
    return outcomes


def _in_a_child(one: Any, method: str, *arguments: Any) -> Any:
    """The kind of error, or the result, of a call in a forked process."""
    import json

    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            try:
                outcome = _plain(getattr(one, method)(*arguments))
            except Exception as error:
                outcome = _kind(error)
            os.write(writing, json.dumps(outcome).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as file:
        text = file.read()
    os.waitpid(child, 0)
    return json.loads(text)


def _kind(error: Exception) -> Any:
    """The first of its classes that is no library's own."""
    known = next(kind for kind in type(error).__mro__ if kind.__module__ in ("builtins", "struct"))
    return {"error": "struct.error" if issubclass(known, struct.error) else known.__name__}


def _value(argument: Any, folder: str) -> Any:
    if isinstance(argument, list):
        return [_value(one, folder) for one in argument]
    if not isinstance(argument, dict):
        return argument
    ((kind, value),) = argument.items()
    if kind == "path":
        return os.path.join(folder, value)
    if kind == "hex":
        return bytes.fromhex(value)
    if kind == "floats":
        return np.array(value, np.float32)
    if kind == "type":
        return {"str": str, "int": int}[value]
    return np.random.RandomState(0).randint(0, 255, value, np.uint8)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.shape, value.flags.writeable, value.tobytes().hex()]
    if isinstance(value, tuple):
        return [repr(type(value).__name__), *map(_plain, value)]
    if isinstance(value, dict):
        return [[_plain(key), _plain(one)] for key, one in value.items()]
    return value

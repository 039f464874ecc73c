"""What goes out as JSON. Pure.

Newest readings and bodies of the desk come as they are, from drivers of whoever wrote them: one number or letter that
JSON has no form for must not cost all the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson


def to_json(body: Any) -> bytes:
    """JSON; whole numbers beyond 64 bits and what else has no form in it (a time, an exception) as text."""
    try:
        return _written(body)
    except TypeError:
        return _written(_tamed(body))


def _written(body: Any) -> bytes:
    return orjson.dumps(body, default=str, option=orjson.OPT_NON_STR_KEYS)


def _tamed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_tamed(key): _tamed(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_tamed(each) for each in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return str(value)
    return value

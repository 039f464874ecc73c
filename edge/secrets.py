"""Secrets stand in files or in the environment, never in the site file, and are never printed.

`${file:NAME}` is the content of NAME in systemd's credentials directory, else in `secrets/` beside the site
file; `${env:NAME}` is an environment variable. Trailing white space of a file is dropped.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from drivers.document import Document, Where

_REFERENCE = re.compile(r"\$\{(file|env):([A-Za-z0-9._-]+)\}")


class Secret(str):
    """Text that came from a secret: shown as `***` by whatever shows values by their repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


def reveal(document: Document, folder: Path) -> None:
    """Put the secrets in the place of their references; each that cannot be had is a placed fault."""
    document.data = _walk(document.data, (), document, folder)


def _walk(node: Any, where: Where, document: Document, folder: Path) -> Any:
    if isinstance(node, dict):
        return {key: _walk(value, (*where, key), document, folder) for key, value in node.items()}
    if isinstance(node, list):
        return [_walk(value, (*where, index), document, folder) for index, value in enumerate(node)]
    if not isinstance(node, str) or "${" not in node:
        return node
    if not _REFERENCE.search(node):
        document.add(where, "has ${ without a secret's name; write ${file:NAME} or ${env:NAME}")
        return node

    def put(match: re.Match[str]) -> str:
        value = _lookup(match[1], match[2], folder)
        if value is None:
            document.add(where, _advice(match[1], match[2], folder))
        return value or ""

    return Secret(_REFERENCE.sub(put, node))


def _candidates(name: str, folder: Path) -> list[Path]:
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    found = [folder / "secrets" / name]
    if credentials:
        # LoadCredential= of a directory names each file ID_FILE.
        found[:0] = [Path(credentials) / name, Path(credentials) / f"secrets_{name}"]
    return found


def _lookup(kind: str, name: str, folder: Path) -> str | None:
    if kind == "env":
        return os.environ.get(name)
    for path in _candidates(name, folder):
        try:
            return path.read_text(encoding="utf-8").rstrip()
        except (OSError, UnicodeDecodeError):
            continue
    return None


def _advice(kind: str, name: str, folder: Path) -> str:
    if kind == "env":
        return f"environment variable {name} is not set; set it, or use ${{file:{name}}}"
    return f"secret {name} cannot be read; put it in {_candidates(name, folder)[-1]} (mode 600)"

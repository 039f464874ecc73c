"""A YAML file with the place of every key and value kept, so that a mistake can be shown where it stands.

YAML 1.2 core schema: `on`, `off`, `yes`, `no` and `08:00` are text; only `true`, `false`, `null` and
numbers are not. A key that stands twice is a mistake, not a silent overwrite.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)

Where = tuple[str | int, ...]
"""The way from the top of a document to a value: keys and list indices."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?[0-9]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, Any] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One mistake in one file, for the person who wrote the file."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.path + ': ' if self.path else ''}{self.message}"


class Faulty(Exception):
    """Files with mistakes: all of them at once."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = sorted(set(faults))
        super().__init__("\n".join(map(str, self.faults)))


@dataclass(slots=True)
class Document:
    """One loaded file: plain data, and where each part of it stands."""

    file: str
    data: Any = None
    places: dict[Where, tuple[int, int]] = field(default_factory=dict)
    """Line and column, from 1, of each key (for mappings) or item (for lists)."""
    faults: list[Fault] = field(default_factory=list)
    """Mistakes found so far, those of reading first; `add` and `validate` append."""

    def add(self, where: Where, message: str) -> None:
        """Note a mistake at `where`, or at the nearest part above it that stands in the file."""
        near = where
        while near not in self.places and near:
            near = near[:-1]
        line, column = self.places.get(near, (1, 1))
        self.faults.append(Fault(self.file, line, column, ".".join(map(str, where)), message))

    def get(self, *where: str | int) -> Any:
        """The data at a path, None where there is none."""
        node = self.data
        for key in where:
            try:
                node = node[key]
            except (KeyError, IndexError, TypeError):
                return None
        return node

    def mapping(self, *where: str | int) -> dict[str, Any]:
        """The mapping at a path; empty where it is absent, and a fault where it is something else."""
        node = self.get(*where)
        if node is None:
            return {}
        if isinstance(node, dict):
            return node
        self.add(where, f"is {_kind(node)}; write a mapping of names to entries")
        return {}

    def validate(self, model: type[M], data: Any, where: Where, *, known: Iterable[str] = ()) -> M | None:
        """`data` as `model`, or None with every mistake noted.

        `known` are further names to propose for an unknown key, where several models share one mapping.
        """
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for item in error.errors(include_url=False, include_context=True):
                self._note(model, where, item, known)
            return None

    def unknown_key(self, where: Where, names: Iterable[str]) -> None:
        """Note a key that nobody knows, with the nearest right name."""
        self.add(where, f"unknown key{nearest(str(where[-1]), names)}")

    def _note(self, model: type[BaseModel], where: Where, item: Any, known: Iterable[str]) -> None:
        inside = self._in_file(where, item["loc"])
        if item["type"] == "extra_forbidden":
            owner = _model_at(model, item["loc"][:-1])
            names = set(known) | (keys_of(owner) if owner else set())
            self.unknown_key(inside if inside[-1:] == item["loc"][-1:] else (*inside, item["loc"][-1]), names)
        elif item["type"] == "missing":
            self.add((*inside, str(item["loc"][-1])), "is missing; add it")
        else:
            self.add(inside, _plain(item))

    def _in_file(self, where: Where, loc: Iterable[str | int]) -> Where:
        """pydantic's path without the steps that do not stand in the file (names of union members)."""
        path = where
        for step in loc:
            if (*path, step) in self.places:
                path = (*path, step)
        return path


def keys_of(model: type[BaseModel]) -> set[str]:
    """The keys of a model as they are written in a file."""
    return {field.alias or name for name, field in model.model_fields.items()}


def _model_at(model: type[BaseModel], loc: Iterable[str | int]) -> type[BaseModel] | None:
    """The model that pydantic's path leads to; None where it is not plain to say."""
    current: type[BaseModel] | None = model
    union: list[type[BaseModel]] = []
    for step in loc:
        if current is None:
            return None
        info = current.model_fields.get(str(step))
        annotation = info.annotation if info else _entries(current)
        if annotation is None:  # the key of a mapping, or the `type` that chose a member of the union
            current = next((member for member in union if _has_type(member, step)), current)
            continue
        union = [kind for kind in _kinds(annotation) if _is_model(kind)]
        current = next(iter(union), None)
    return current


def _has_type(model: type[BaseModel], name: str | int) -> bool:
    info = model.model_fields.get("type")
    return info is not None and name in getattr(info.annotation, "__args__", ())


def _entries(model: type[BaseModel]) -> Any:
    """What a model whose keys are free names, like `messages`, has under them; None for all other models."""
    if model.model_config.get("extra") != "allow":
        return None
    return get_type_hints(model).get("__pydantic_extra__")


def _kinds(annotation: Any) -> Iterable[Any]:
    yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _kinds(inner)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _plain(item: Any) -> str:
    """pydantic's message as one that says what was found and what is allowed."""
    message = str(item["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    found = item.get("input")
    if item["type"] == "literal_error":
        wanted = [word.strip("' ") for word in re.split(r",| or ", item["ctx"]["expected"])]
        message = f"is {found!r}; write one of {', '.join(wanted)}"
        return message + (nearest(found, wanted) if isinstance(found, str) else "")
    if item["type"] == "value_error":
        return message
    shown = repr(found) if isinstance(found, str | int | float | bool | None) else _kind(found)
    return f"is {shown}; {message[0].lower()}{message[1:]}"


def nearest(wrong: str, names: Iterable[str]) -> str:
    """`; did you mean NAME?` for the nearest of `names`, or nothing where none is near."""
    close = difflib.get_close_matches(wrong, sorted(names), n=1, cutoff=0.55)
    return f"; did you mean {close[0]}?" if close else ""


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", type(None): "empty", bool: "true or false"}
    return names.get(type(value), f"the number {value!r}" if isinstance(value, int | float) else repr(value))


def load(path: Path) -> Document:
    """Read one file. A file that cannot be read or is no YAML gives a document with that fault and no data."""
    document = Document(str(path))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        document.add((), f"cannot be read: {reason}; check the path and its permissions")
        return document
    return parse(text, document)


def parse(text: str, document: Document) -> Document:
    """Fill `document` from YAML text."""
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = _inside(text, mark.line, mark.column) if mark else (1, 1)
        document.faults.append(Fault(document.file, *place, "", f"is not YAML: {error.problem or error.context}"))
        return document
    except yaml.YAMLError as error:
        document.add((), f"is not YAML: {error}")
        return document
    if root is not None:
        document.places[()] = (root.start_mark.line + 1, root.start_mark.column + 1)
        document.data = _build(root, (), document, ())
    return document


def _inside(text: str, line: int, column: int) -> tuple[int, int]:
    """A place of the reader as line and column from 1, inside the text: what is missing at its end is told there."""
    lines = text.splitlines() or [""]
    if line >= len(lines):
        return len(lines), len(lines[-1]) + 1
    return line + 1, min(column, len(lines[line])) + 1


def _build(node: yaml.Node, where: Where, document: Document, above: tuple[yaml.Node, ...]) -> Any:
    if node in above:
        document.add(where, "refers to itself")
        return None
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(node, where, document, (*above, node))
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, child in enumerate(node.value):
            document.places[(*where, index)] = (child.start_mark.line + 1, child.start_mark.column + 1)
            items.append(_build(child, (*where, index), document, (*above, node)))
        return items
    return _scalar(node)


def _build_mapping(
    node: yaml.MappingNode, where: Where, document: Document, above: tuple[yaml.Node, ...]
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else repr(key_node.value)
        place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        if key in result:
            first = document.places[(*where, key)][0]
            document.faults.append(
                Fault(document.file, *place, ".".join(map(str, (*where, key))),
                      f"stands twice (first in line {first}); keep one")
            )  # fmt: skip
            continue
        document.places[(*where, key)] = place
        result[key] = _build(value_node, (*where, key), document, above)
    return result


def _scalar(node: yaml.Node) -> Any:
    text = str(node.value)
    if getattr(node, "style", None) not in (None, ""):  # quoted or block: text as it stands
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text)
    if _HEX.match(text):
        return int(text, 16)
    return float(text) if _FLOAT.match(text) else text


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid on it, mapping by mapping."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return result

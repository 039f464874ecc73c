"""Mutated site files and profiles: whatever a file holds, it gives a `Site` or faults with a place inside the file.

What comes in: a seed and a number of mutants. What goes out: how many were still right and how many faults the
others had, or an AssertionError that carries the mutant.
"""

from __future__ import annotations

import random
import re
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from drivers.document import Document, Fault, Faulty
from drivers.profile import load_profile
from edge.data import CONFIG, PROFILES
from edge.site_file import load_site

_SCALARS = (
    "", "0", "-1", "1", "65536", "1e999", "-1e999", "0x1F", "1_000", "true", "null", "~", "[]", "{}", "[1, [2]]",
    "{a: {b: c}}", "'", '"\\0"', "%", "99999999999999999999999999", "1e-320", ".5", "P1Y", "5s", "-5s", "1e30s",
    "ABCD", "holding", "uint64", "string", "${file:x}", "${env:HOME}", "${", "&a [*a]", "*b", "!!python/object:x",
    "!!binary ////", "2026-02-30", "12:60", "\u4e2d\u6587", "\U0001f525", "a" * 300, "<<", "? x", "- - -", "|", ">",
)  # fmt: skip
_TOKEN = re.compile(r"[A-Za-z0-9_.+-]+|[{}\[\],:]")


def mutate(text: str, rng: random.Random) -> str:
    """The text with one to three things done to it that tired people and editors do."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        text = rng.choice(_WAYS)(text, rng)
    return text


def _other_value(text: str, rng: random.Random) -> str:
    found = list(re.finditer(r": *([^,{}\[\]\n#]+)", text))
    if not found:
        return text
    match = rng.choice(found)
    return text[: match.start(1)] + rng.choice(_SCALARS) + text[match.end(1) :]


def _other_token(text: str, rng: random.Random) -> str:
    found = list(_TOKEN.finditer(text))
    if not found:
        return text
    one, other = rng.choice(found), rng.choice(found)
    return text[: one.start()] + other[0] + text[one.end() :]


def _lines(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    at, to = rng.randrange(len(lines)), rng.randrange(len(lines))
    way = rng.randrange(4)
    if way == 0:
        del lines[at]
    elif way == 1:
        lines.insert(to, lines[at])
    elif way == 2:
        lines[at] = " " * rng.randint(1, 6) + lines[at]
    else:
        lines[at] = lines[at].lstrip()
    return "\n".join(lines)


def _characters(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    if rng.random() < 0.3:
        return text[:at]
    word = rng.choice(
        ("\t", "\x00", "\ufeff", "\u3000", "\uff1a", ":", "-", "#", "'", '"', "}", "{", "*", "&", "\x85", "\ud7ff")
    )
    return text[:at] + word + text[at + rng.randint(0, 2) :]


_WAYS: Sequence[Callable[[str, random.Random], str]] = (
    _other_value, _other_value, _other_value, _other_token, _other_token, _lines, _characters,
)  # fmt: skip


def fuzz_files(mutants: int, seed: int, folder: Path) -> Counter[str]:
    """So many mutants of the site file and of every profile, written to `folder`."""
    rng = random.Random(seed)
    told: Counter[str] = Counter()
    profiles = sorted(PROFILES.glob("*/*.yaml"))
    for path in profiles:
        (folder / path.parent.name).mkdir(exist_ok=True)
    for number in range(mutants):
        original = (CONFIG / "site.yaml") if number % 3 == 0 else rng.choice(profiles)
        text = mutate(original.read_text(encoding="utf-8"), rng)
        path = folder / ("site.yaml" if original.name == "site.yaml" else original.relative_to(PROFILES))
        path.write_text(text, encoding="utf-8")
        faults = _faults(path, text)
        told["right" if not faults else "refused"] += 1
        told["faults"] += len(faults)
    return told


def _faults(path: Path, text: str) -> list[Fault]:
    try:
        if path.name == "site.yaml":
            load_site(path)
            return []
        profile, document = load_profile(path)
        faults = document.faults
        assert (profile is None) == bool(faults), f"neither a profile nor a fault:\n{text}"
    except Faulty as error:
        faults = error.faults
        assert faults, f"faulty without a fault:\n{text}"
    except Exception as error:
        raise AssertionError(f"{traceback.format_exc()[-1500:]}\nof the mutant of {path.name}:\n{text}") from error
    for fault in faults:
        _placed(fault, path, text)
    return faults


def _placed(fault: Fault, path: Path, text: str) -> None:
    """Whether the fault has a place inside its file, and a message."""
    own = text if fault.file == str(path) else Path(fault.file).read_text(encoding="utf-8")
    lines = own.splitlines() or [""]
    assert 1 <= fault.line <= len(lines), f"{fault} lies outside its {len(lines)} lines:\n{own}"
    assert 1 <= fault.column <= len(lines[fault.line - 1]) + 1, f"{fault} lies outside its line:\n{own}"
    assert fault.message, f"{fault} says nothing"


def parse_anything(text: str) -> None:
    """One text through the reader alone."""
    from drivers.document import parse

    document = parse(text, Document("fuzz.yaml"))
    for fault in document.faults:
        _placed(fault, Path("fuzz.yaml"), text)

"""What all commands share: their common options, how they end, how they print.

Exit codes: 0 done, 1 the thing checked is wrong or the daemon refuses, 2 bad usage (an id that there is not
included), 3 cannot reach the daemon or the device. What goes wrong is one line on standard error.
"""

from __future__ import annotations

import argparse
import functools
import getpass
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from drivers.point import Language

OK, WRONG, USAGE, UNREACHABLE = 0, 1, 2, 3
DEFAULT_URL = "http://127.0.0.1:8080"

Subparsers = Any
"""What argparse's `add_subparsers` returns; it has no public name."""
Act = Callable[[argparse.Namespace], int]
T = TypeVar("T")


class Ended(Exception):
    """A command cannot go on; the message is for the person at the terminal."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def command(act: Act) -> Act:
    """The act of a command: whatever ends it early is one line and an exit code."""

    @functools.wraps(act)
    def guarded(arguments: argparse.Namespace) -> int:
        try:
            return act(arguments)
        except Ended as ended:
            print(f"courtyard: {clean(str(ended))}", file=sys.stderr)
            return ended.code

    return guarded


def options(parser: argparse.ArgumentParser, *, remote: bool = True) -> None:
    """The options that every command has, also after a sub-command's name."""
    # SUPPRESS, so that what stands before a sub-command is not overwritten by the sub-command's own default.
    none = argparse.SUPPRESS
    if remote:
        text = f"the daemon's console (default: $COURTYARD_URL, else {DEFAULT_URL}); its token in $COURTYARD_TOKEN"
        parser.add_argument("--url", default=none, help=text)
    parser.add_argument("--json", action="store_true", default=none, help="print JSON")
    parser.add_argument(
        "--lang", choices=("zh", "en"), default=none, help="language of names (default: of this shell)"
    )


def span(parser: argparse.ArgumentParser, since: str, until: str = "now") -> None:
    """The options that say from when to when; what they are where nobody says."""
    for name, where, default in (("--from", "start", since), ("--to", "end", until)):
        parser.add_argument(name, dest=where, default=None, metavar="T", help=f"ISO 8601 or Unix time ({default})")


def times(arguments: argparse.Namespace, zone: str) -> tuple[int | None, int | None]:
    """What `span` was given, in Unix ns; None where nobody says. A time without an offset is in `zone`."""
    from edge.console.timespan import parse_time_ns

    found: list[int | None] = []
    for name, text in (("--from", arguments.start), ("--to", arguments.end)):
        try:
            found.append(parse_time_ns(text, zone) if text else None)
        except ValueError as error:
            raise Ended(USAGE, f"{name}: {error}") from None
    return found[0], found[1]


def signature(parser: argparse.ArgumentParser) -> None:
    """The option that says who acts."""
    parser.add_argument(
        "--who", default=None, metavar="NAME", help="who does it, for the journal (default: your login)"
    )


def who(arguments: argparse.Namespace) -> str:
    """The name under which an act is journalled."""
    if arguments.who:
        return str(arguments.who)
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise Ended(USAGE, "this login has no name; say who you are with --who NAME") from None


def as_json(arguments: argparse.Namespace) -> bool:
    """Whether JSON is wanted."""
    return bool(getattr(arguments, "json", False))


def language(arguments: argparse.Namespace) -> Language:
    """The language asked for, else that of the shell."""
    asked = getattr(arguments, "lang", None)
    if asked is None:
        shell = next((os.environ[key] for key in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(key)), "")
        asked = "zh" if shell.lower().startswith("zh") else "en"
    return cast("Language", asked)


def clean(text: object) -> str:
    """Text of elsewhere without the control characters that a terminal would obey."""
    return "".join(each if each.isprintable() else " " for each in str(text))


def say(text: object, language: Language) -> str:
    """A text that may stand in both languages, on one line."""
    if isinstance(text, dict):
        text = text.get(language) or text.get("zh") or text.get("en") or ""
    return "" if text is None else clean(text)


def print_json(data: object) -> None:
    """A result for programs."""
    print(json.dumps(data, ensure_ascii=False, indent=2))


def result(arguments: argparse.Namespace, data: T, people: Callable[[T, Language], None]) -> int:
    """Print what a command has found: for programs where JSON is wanted, else for people. It is done."""
    if as_json(arguments):
        print_json(data)
    else:
        people(data, language(arguments))
    return OK


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A result for people; where nobody watches, tab-separated lines under a head line."""
    lines = [["" if cell is None else clean(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        print("\t".join(head))
        for line in lines:
            print("\t".join(line))
        return
    table = Table(*head, title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for line in lines:
        # Text, not markup: a name with brackets in it is a name.
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in line))
    Console().print(table)


_STYLES = {
    "critical": "bold white on red", "high": "bold red", "medium": "yellow", "low": "cyan",
    "紧急": "bold white on red", "高": "bold red", "中": "yellow", "低": "cyan",
    "down": "bold red", "断开": "bold red", "unacknowledged": "bold", "未确认": "bold",
}  # fmt: skip

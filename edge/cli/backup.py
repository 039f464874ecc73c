"""`courtyard backup` and `courtyard restore`: the state directory as one file, and back."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drivers.document import Faulty
from edge.cli.client import NoDaemon, connect
from edge.cli.command import OK, USAGE, WRONG, Ended, Subparsers, as_json, command, options, print_json
from edge.cli.progress import progress


def register(subparsers: Subparsers) -> None:
    """Add both commands."""
    made = subparsers.add_parser(
        "backup", help="the state directory as one consistent file, while the daemon runs or not",
        description="Writes both databases as they stand at one moment, the other files of the state directory, the "
        "site file and the site's own profiles into one archive (tar, zstandard), which is there at once when it is "
        "whole. Secrets in files of their own are not in it.",
    )  # fmt: skip
    made.add_argument("file", type=Path, metavar="FILE", help="e.g. maple.tar.zst; an existing one is replaced")
    made.add_argument("--no-readings", action="store_true", help="without the log of readings")
    made.add_argument("--gently", action="store_true", help="with what others leave of the processor")
    state_options(made)
    options(made)
    made.set_defaults(act=_backup)
    back = subparsers.add_parser(
        "restore", help="a backup as a state directory again",
        description="Checks the whole backup, then exchanges the files in the state directory for those of the "
        "backup. What was there is kept in before-restore-... beside them. Stop the daemon first.",
    )  # fmt: skip
    back.add_argument("file", type=Path, metavar="FILE", help="what courtyard backup wrote")
    back.add_argument("--state", type=Path, required=True, metavar="DIR", help="state directory")
    options(back, remote=False)
    back.set_defaults(act=_restore)


def state_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which box."""
    parser.add_argument(
        "--state", type=Path, default=None, metavar="DIR", help="state directory (that of the running daemon)"
    )
    parser.add_argument(
        "--config", type=Path, default=None, metavar="SITE.yaml", help="site file (that of the running daemon)"
    )


def place_of(arguments: argparse.Namespace) -> tuple[Path, Path | None]:
    """State directory and site file: as the arguments say, else as the running daemon says."""
    if arguments.state is not None:
        return arguments.state, arguments.config
    try:
        with connect(arguments) as daemon:
            place = daemon.get("/api/v1/place")
    except NoDaemon as none:
        raise Ended(none.code, f"{none}; or say which state directory with --state") from None
    state = Path(place["state"])
    if not state.is_dir():
        raise Ended(WRONG, f"the daemon at {daemon.url} works on another box, in {state}; run this command there")
    config = arguments.config or (Path(place["config"]) if place.get("config") else None)
    return state, config


@contextmanager
def store_errors() -> Iterator[None]:
    """What goes wrong with files is one line."""
    from edge.store.database import StoreError

    try:
        yield
    except StoreError as error:
        raise Ended(WRONG, str(error)) from None


@command
def _backup(arguments: argparse.Namespace) -> int:
    from edge.site_file import load_site
    from edge.store.backup import back_up

    if arguments.gently:
        os.nice(15)
    state, config = place_of(arguments)
    if arguments.file.is_dir():
        raise Ended(USAGE, f"{arguments.file} is a folder; name a file in it")
    name = ""
    files: tuple[tuple[str, Path], ...] = ()
    if config is not None:
        try:
            site = load_site(config)
            name, files = site.info.id, tuple(site.files)
        except Faulty as faulty:  # a backup is wanted most when things are broken
            files = ((config.name, config),) if config.is_file() else ()
            print_note(f"{config} has {len(faulty.faults)} mistakes; the file is taken along without its profiles")
    with store_errors(), progress("backup") as told:
        manifest = back_up(
            state, arguments.file, site=name, files=files, readings=not arguments.no_readings, told=told
        )
    size = arguments.file.stat().st_size
    if as_json(arguments):
        print_json({"file": str(arguments.file), "bytes": size, "files": [each.name for each in manifest.files]})
    else:
        whole = sum(each.size for each in manifest.files)
        print(f"{arguments.file}: {len(manifest.files)} files, {whole / 1e6:.1f} MB as {size / 1e6:.1f} MB")
    return OK


@command
def _restore(arguments: argparse.Namespace) -> int:
    from edge.store.restore import restore

    if not arguments.file.is_file():
        raise Ended(USAGE, f"there is no file {arguments.file}")
    with store_errors(), progress("restore") as told:
        done = restore(arguments.file, arguments.state, told=told)
    if done.damage:
        print_note(f"{done.damage}; older readings are in an older backup, if in any")
    if as_json(arguments):
        kept = {"aside": str(done.aside) if done.aside else None, "site": str(done.site) if done.site else None}
        print_json({"state": str(arguments.state), "backup": done.manifest.time, **kept})
        return OK
    print(f"{arguments.state} is as it was at {done.manifest.time} (Courtyard {done.manifest.version})")
    if done.aside:
        print(f"what was there: {done.aside}; remove it when all is well")
    if done.site:
        print(f"the site file and its profiles of then: {done.site}")
    return OK


def print_note(text: str) -> None:
    """A line for the person at the terminal that is no result."""
    print(f"courtyard: {text}", file=sys.stderr)

"""One daemon for each state folder."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.store.database import StoreError
from edge.store.lock import StateBusy, holder, state_lock

HOLDER = """
import sys, time
from pathlib import Path
from edge.store.lock import state_lock
with state_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_folder_is_made_and_the_lock_names_its_holder(tmp_path: Path) -> None:
    with state_lock(tmp_path / "state"):
        assert (tmp_path / "state" / "lock").read_text() == f"{os.getpid()}\n"
    assert (tmp_path / "state" / "lock").read_text() == ""


def test_a_second_daemon_is_told_who_holds_the_folder_and_a_killed_one_holds_it_no_longer(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(StateBusy, match=f"in use by process {holder.pid}; stop it") as busy, state_lock(tmp_path):
            pass
        assert busy.value.pid == holder.pid
        holder.kill()
    with state_lock(tmp_path):
        pass


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(
            StoreError, match=r"state folder .*file/state cannot be made: Not a directory; .* another with --state"
        ),
        state_lock(tmp_path / "file/state"),
    ):
        pass


def test_who_looks_whether_a_daemon_runs_is_never_in_the_way_of_one_that_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every call that looking makes, a daemon can take the folder."""
    with state_lock(tmp_path):
        pass
    starts = 0

    def watched(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            nonlocal starts
            result = function(*arguments)
            with monkeypatch.context() as real:
                for name, its in originals.items():
                    real.setattr(fcntl, name, its)
                with state_lock(tmp_path):
                    starts += 1
            return result

        return call

    originals = {name: getattr(fcntl, name) for name in ("flock", "fcntl", "lockf")}
    for name, its in originals.items():
        monkeypatch.setattr(fcntl, name, watched(its))
    assert holder(tmp_path) is None
    assert starts > 0


def test_who_holds_the_folder_is_seen_from_outside_until_it_ends_however_it_ends(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        daemon.stdout.readline()
        assert holder(tmp_path) == daemon.pid
        daemon.kill()
    assert holder(tmp_path) is None

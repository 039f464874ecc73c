"""One daemon for each state folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.store.database import StoreError
from edge.store.lock import StateBusy, state_lock

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
        pytest.raises(StoreError, match=r"state folder .*file/state cannot be used"),
        state_lock(tmp_path / "file/state"),
    ):
        pass

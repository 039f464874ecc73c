"""What the disk under the log fails to do: how staff are told of it, and how long to wait before the next try.

What comes in: commits that did not succeed, and those that did. What goes out: one line for staff, and a pause.
"""

from __future__ import annotations

import logging
from pathlib import Path

LONGEST_PAUSE_S = 30.0

log = logging.getLogger(__name__)


class Mishap:
    """Of one file; logged when it begins and when it is over, not in between."""

    def __init__(self, path: Path, commit_s: float) -> None:
        self.pause_s = commit_s
        """How long to wait before the next commit: longer and longer, as long as none succeeds."""
        self._path = path
        self._commit_s = commit_s
        self._failing: str | None = None
        self._damage: str | None = None

    @property
    def failing(self) -> bool:
        """Whether the last commit did not succeed."""
        return self._failing is not None

    def text(self, rotten: int) -> str | None:
        """What staff should know; None where all is well. `rotten`: parts of the file that cannot be read."""
        found = f"{rotten} parts of {self._path.name} cannot be read any more, and are left out"
        return self._failing or self._damage or (found if rotten else None)

    def failed(self, what: str, waiting: int, lost: int) -> None:
        """A commit did not succeed; so many batches wait in memory, so many are lost."""
        first = self._failing is None
        self._failing = (
            f"{self._path} {what}: free space on, or check, the disk under {self._path.parent}; "
            f"{waiting} batches wait in memory, {lost} are lost"
        )
        self.pause_s = min(self.pause_s * 2, max(LONGEST_PAUSE_S, self._commit_s))
        if first:
            log.error("%s", self._failing)

    def over(self, lost: int) -> None:
        """A commit has succeeded."""
        if self._failing is not None:
            log.warning("%s is written again; %d batches were lost", self._path, lost)
        self._failing = None
        self.pause_s = self._commit_s

    def replaced(self, error: Exception, aside: Path) -> None:
        """The file was damaged, and has given way to a new one."""
        self._damage = f"{self._path.name} was damaged ({error}), set aside as {aside.name}; a new one was begun"
        log.error("%s", self._damage)

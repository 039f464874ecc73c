"""The commands that talk to a running daemon, to a line, or look into files: one module for each group."""

from __future__ import annotations

from edge.cli import alarms, backup, check, doctor, export, importing, orders, points, probe, profile, scan, status
from edge.cli.command import Subparsers


def register_all(subparsers: Subparsers) -> None:
    """Give the command line all commands of this folder. Each sets `act(arguments) -> exit code`."""
    for group in (check, status, points, alarms, orders, export, importing, backup, doctor, profile, scan, probe):
        group.register(subparsers)

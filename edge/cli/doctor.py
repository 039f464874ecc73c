"""`courtyard doctor`: what is wrong with this box, line by line, and what to do about it."""

from __future__ import annotations

import argparse
from collections.abc import Generator, Iterator
from pathlib import Path

from drivers.document import Faulty
from drivers.point import Language
from edge.checkup.box import look_at_box
from edge.checkup.files import look_at_secrets, look_at_state
from edge.checkup.finding import Finding, Verdict, doubtful, well, wrong
from edge.checkup.reach import look_at_far_ends, look_at_ports
from edge.cli.backup import place_of, state_options
from edge.cli.client import NoDaemon, connect
from edge.cli.command import (
    OK,
    WRONG,
    Ended,
    Subparsers,
    as_json,
    command,
    language,
    options,
    print_json,
    print_table,
)
from edge.site import Site

_WORDS: dict[Verdict, tuple[str, str]] = {"ok": ("正常", "ok"), "warn": ("注意", "warn"), "fail": ("故障", "fail")}
_HEAD = {"zh": ("状态", "检查项", "情况", "处理"), "en": ("state", "what", "found", "what to do")}


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "doctor", help="what is wrong with this box: clock, disk, ports, permissions, broker, uplinks",
        description="Looks at everything the daemon needs and says what to do where something is missing. Of a "
        "running daemon it is asked where its files are. exit code: 0 nothing fails, 1 something does",
    )  # fmt: skip
    state_options(parser)
    options(parser)
    parser.set_defaults(act=_doctor)


@command
def _doctor(arguments: argparse.Namespace) -> int:
    findings = list(_findings(arguments))
    lang = language(arguments)
    if as_json(arguments):
        print_json([_row(finding) for finding in findings])
    else:
        print_table("", _HEAD[lang], (_line(finding, lang) for finding in findings))
    return WRONG if any(finding.verdict == "fail" for finding in findings) else OK


def _line(finding: Finding, lang: Language) -> tuple[str, str, str, str]:
    zh, en = _WORDS[finding.verdict]
    todo = finding.todo.get(lang) if finding.todo else ""
    return zh if lang == "zh" else en, finding.what, finding.found.get(lang), todo


def _row(finding: Finding) -> dict[str, object]:
    todo = finding.todo.to_body() if finding.todo else None
    found = finding.found.to_body()
    return {"what": finding.what, "verdict": finding.verdict, "found": found, "todo": todo}


def _findings(arguments: argparse.Namespace) -> Iterator[Finding]:
    yield from look_at_box()
    try:
        state, config = place_of(arguments)
    except Ended as ended:
        config = arguments.config
        yield doubtful(
            "daemon", (str(ended), str(ended)),
            ("用 --state 和 --config 指明文件位置", "say where its files are with --state and --config"),
        )  # fmt: skip
        state = None
    site = None
    if config is not None:
        site = yield from _site(config)
    if state is not None:
        yield from look_at_state(state, getattr(site.storage, "budget", None) if site else None)
    if site is None:
        return
    running = yield from _health(arguments)
    yield from look_at_ports(site)
    yield from look_at_far_ends(site, devices=not running)


def _site(config: Path) -> Generator[Finding, None, Site | None]:
    from edge.site_file import load_site

    yield from look_at_secrets(config)
    try:
        site = load_site(config)
    except Faulty as faulty:
        first, count, todo = str(faulty.faults[0]), len(faulty.faults), f"courtyard check --config {config}"
        yield wrong(
            "config", (f"{count} 处错误，第一处：{first}", f"{count} mistakes, the first: {first}"), (todo, todo)
        )
        return None
    yield well("config", f"{config}：{len(site.equipment)} 台设备", f"{config}: {len(site.equipment)} equipment")
    return site


def _health(arguments: argparse.Namespace) -> Generator[Finding, None, bool]:
    """What the daemon says of itself; returns whether there is one."""
    try:
        with connect(arguments) as daemon:
            if arguments.state and Path(daemon.get("/api/v1/place")["state"]).resolve() != arguments.state.resolve():
                return True  # its health is another's; it may have the devices all the same
            reasons = [str(each) for each in daemon.health().get("reasons", ())]
    except NoDaemon:
        return False
    except Ended as ended:
        yield wrong("console", (str(ended), str(ended)), ("检查令牌", "check the token"))
        return True
    for reason in reasons:
        yield wrong("health", (reason, reason), ("见 courtyard status", "see courtyard status"))
    if not reasons:
        yield well("health", "守护进程报告一切正常", "the daemon says that all is well")
    return True

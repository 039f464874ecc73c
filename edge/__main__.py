"""The command line, thin: reads arguments, calls what does the work, turns outcomes into exit codes.

Exit codes: 0 done, 1 the thing checked is wrong, 2 bad usage, 3 cannot reach the daemon or the device.
Errors go to standard error in one line, without a traceback.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from drivers.document import Faulty
from drivers.units import parse_seconds
from edge import __version__, loop

OK, WRONG, USAGE, UNREACHABLE = 0, 1, 2, 3


class Stopped(Exception):
    """A command ends here; the message is for the person at the terminal."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def duration(text: str) -> float:
    """An argument like `60s` or `10m`."""
    try:
        return parse_seconds(int(text) if text.isdigit() else text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def speed(text: str) -> float:
    """A speed factor above 0 and up to 10 000."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no speed factor; use a number above 0, up to 10000")
    return value


def port(text: str) -> int:
    """A TCP port; 0 lets the system choose."""
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; use 0 to 65535")
    return int(text)


def _site_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, metavar="SITE.yaml", help="the site file")


def parser(asked: str | None = None) -> argparse.ArgumentParser:
    """All commands; where one of those below was `asked` for, only these: the rest takes long to load."""
    top = argparse.ArgumentParser(prog="courtyard", description="Edge gateway for a community's equipment room.")
    top.add_argument("--version", action="version", version=f"courtyard {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="a simulated community on real protocols, and the daemon on it")
    demo.add_argument("--speed", type=speed, default=1.0, help="behaviour faster than life by this factor")
    demo.add_argument(
        "--state", type=Path, default=None, metavar="DIR", help="state directory; kept for the next run"
    )
    demo.add_argument(
        "--port", type=port, default=None, help="port of the console (8080, or a free one where it is taken)"
    )
    demo.add_argument(
        "--for", type=duration, default=None, dest="for_s", metavar="DURATION", help="end after this time"
    )
    demo.add_argument("--scenario", type=Path, default=None, metavar="FILE", help="what goes wrong, and when")
    demo.add_argument("--seed", type=int, default=1, help="same seed, same history")
    demo.set_defaults(act=_demo)

    run = commands.add_parser("run", help="the daemon")
    _site_argument(run)
    run.add_argument("--state", type=Path, required=True, metavar="DIR", help="state directory")
    run.set_defaults(act=_run)

    simulate = commands.add_parser("simulate", help="only the simulated devices of a site")
    _site_argument(simulate)
    simulate.add_argument("--scenario", type=Path, default=None, metavar="FILE", help="what goes wrong, and when")
    simulate.add_argument("--speed", type=speed, default=1.0, help="behaviour faster than life by this factor")
    simulate.add_argument("--seed", type=int, default=1, help="same seed, same history")
    simulate.add_argument(
        "--for", type=duration, default=None, dest="for_s", metavar="DURATION", help="end after this"
    )
    simulate.set_defaults(act=_simulate)

    if asked not in commands.choices:
        from edge.cli import register_all

        register_all(commands)
    return top


def _demo(arguments: argparse.Namespace) -> int:
    from edge.demo import demo

    return loop.run(demo(arguments))


def _simulate(arguments: argparse.Namespace) -> int:
    from edge.demo import simulate

    return loop.run(simulate(arguments))


def _run(arguments: argparse.Namespace) -> int:
    from edge.app import serve

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return loop.run(serve(arguments.config, arguments.state))


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `courtyard`."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = parser(given[0] if given else None).parse_args(given)
    try:
        return int(arguments.act(arguments))
    except Stopped as stopped:
        print(f"courtyard: {stopped}", file=sys.stderr)
        return stopped.code
    except Faulty as faulty:
        for fault in faulty.faults:
            print(fault, file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return OK


if __name__ == "__main__":
    sys.exit(main())

"""The section `duty` of a site file: who is told, on which channels, and who is called next.

    duty:
      channels:   {group: {type: wecom, key: "${file:wecom-key}"}}
      recipients: {desk: {name: 监控中心值班员, channels: [group]}}
      ladders:    {critical: [{after: 0s, to: [desk]}, {after: 3m, to: [lead]}], orders: [{after: 0s, to: [desk]}]}

A priority without a ladder is pushed to nobody; it still stands on the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from drivers.document import Document, Where, nearest
from drivers.profile import Strict
from drivers.units import Seconds
from edge.response.channels import AnySettings
from edge.response.ladder import Step
from edge.response.notice import Notice

LadderName = Literal["critical", "high", "medium", "low", "orders"]
_MOBILE = re.compile(r"\+?\d{5,15}\Z")
_USER = re.compile(r"[A-Za-z0-9._@-]{1,64}\Z")


def _mobile(number: SecretStr) -> SecretStr:
    if not _MOBILE.match(number.get_secret_value()):
        raise ValueError("is no phone number; write digits only")
    return number


def _digits(number: object) -> object:
    return str(number) if type(number) is int else number  # YAML takes a bare phone number for a number


def _user(name: str) -> str:
    if not _USER.match(name):
        raise ValueError(f"{name!r} is no account; write the id that the service shows, letters, digits and ._@-")
    return name


class RecipientSpec(Strict):
    """Somebody who can be told."""

    name: str = Field(min_length=1)
    channels: list[str] = Field(min_length=1)
    """A push goes out on all of them."""
    mobile: Annotated[SecretStr, AfterValidator(_mobile), BeforeValidator(_digits)] | None = None
    """Mentioned by this number where the channel can. Personal data: better `${file:NAME}`."""
    user: Annotated[str, AfterValidator(_user)] | None = None
    """The account on the channel to mention: WeCom userid, DingTalk userid, Feishu open_id."""


class StepSpec(Strict):
    """One rung of a ladder."""

    after: Seconds
    """After the notice."""
    to: list[str] = Field(min_length=1)


class DutySpec(Strict):
    """The section as a whole. Names that lead nowhere are found by `check`."""

    channels: dict[str, AnySettings] = {}
    recipients: dict[str, RecipientSpec] = {}
    ladders: dict[LadderName, list[StepSpec]] = {}

    def check(self, document: Document, where: Where) -> None:
        """Note every name that leads nowhere, at its place in the file.

        Where the section itself did not validate, call it on an empty one: there is nothing to follow then.
        """
        for path, message in self.faults():
            document.add((*where, *path), message)

    def faults(self) -> Iterator[tuple[Where, str]]:
        """Names that lead nowhere and steps out of order: where, and what to do."""
        for name, recipient in self.recipients.items():
            for index, channel in enumerate(recipient.channels):
                path = ("recipients", name, "channels", index)
                yield from _follow(path, "channel", channel, self.channels, recipient.channels[:index])
        for ladder, steps in self.ladders.items():
            before = 0.0
            for number, step in enumerate(steps):
                at: Where = ("ladders", ladder, number)
                if step.after < before:
                    yield (*at, "after"), f"comes before the step above it ({before:g} s); order the steps by time"
                before = step.after
                for index, recipient_name in enumerate(step.to):
                    yield from _follow(
                        (*at, "to", index), "recipient", recipient_name, self.recipients, step.to[:index]
                    )

    def ladder(self, notice: Notice) -> tuple[Step, ...]:
        """The steps for a notice; none where its kind has no ladder."""
        name = "orders" if notice.kind == "order" else notice.priority
        steps = next((each for key, each in self.ladders.items() if key == name), [])
        return tuple(Step(step.after, tuple(step.to)) for step in steps)

    def first(self, priority: str) -> tuple[str, ...]:
        """Who is told first of alarms of a priority."""
        steps = next((each for key, each in self.ladders.items() if key == priority), [])
        return tuple(steps[0].to) if steps else ()


def _follow(
    path: Where, kind: str, name: str, known: Mapping[str, object], before: list[str]
) -> Iterator[tuple[Where, str]]:
    if name not in known:
        yield path, f"no {kind} {name!r} in duty.{kind}s{nearest(name, known)}"
    elif name in before:
        yield path, f"{name} stands twice; keep one"

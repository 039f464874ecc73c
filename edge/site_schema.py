"""The JSON Schema of the site file, so that an editor completes and checks it while it is written.

What comes in: the models that `check` uses, of every installed connection type and uplink, and the names of the
profiles. What goes out: one schema (draft 2020-12). It knows less than `check`: not whether names lead somewhere,
and not what a connection can carry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from drivers.driver import drivers
from drivers.profile import Library
from drivers.units import parse_seconds
from edge.alarms.spec import SiteRuleSpec
from edge.data import PROFILES
from edge.response.duty import DutySpec
from edge.site import BackupSpec, ConsoleSpec, EquipmentSpec, SiteInfo, StorageSpec, TimeSpec
from edge.uplinks import UPLINKS

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_DURATION = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^(\d+(\.\d+)?\s*(ms|min|s|m|h|d))+$"},
    ],
    "description": "a duration: 500ms, 10s, 5m, 2h, 1d, or seconds",
}
_NAMES = {"pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"}


class _Schema(GenerateJsonSchema):
    """As the file is written: durations as text, too."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        if schema["function"]["function"] is parse_seconds:
            return dict(_DURATION)
        return super().function_before_schema(schema)


def site_schema() -> dict[str, Any]:
    """The schema of a whole site file."""
    lines = {name: driver.settings for name, driver in drivers().items()}
    devices = {driver.device for driver in drivers().values()}
    own: list[type[BaseModel]] = [
        SiteInfo,
        EquipmentSpec,
        SiteRuleSpec,
        DutySpec,
        ConsoleSpec,
        StorageSpec,
        BackupSpec,
        TimeSpec,
    ]
    models = [*own, *lines.values(), *devices, *UPLINKS.values()]
    refs, shared = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)], by_alias=True, schema_generator=_Schema
    )
    definitions = cast(dict[str, dict[str, Any]], shared["$defs"])

    def ref(model: type[BaseModel]) -> dict[str, Any]:
        return dict(refs[model, "validation"])

    def named(model: type[BaseModel]) -> dict[str, Any]:
        return definitions[ref(model)["$ref"].removeprefix("#/$defs/")]

    definitions["equipment"] = _equipment(named(EquipmentSpec), [named(each) for each in devices])
    definitions["rule"] = _rule(named(SiteRuleSpec))
    return {
        "$schema": DRAFT,
        "title": "Courtyard site file",
        "type": "object",
        "additionalProperties": False,
        "required": ["site"],
        "properties": {
            "site": ref(SiteInfo),
            "connections": _by_name(_by_type(lines, ref)),
            "equipment": _by_name({"$ref": "#/$defs/equipment"}),
            "rules": _by_name({"$ref": "#/$defs/rule"}),
            "uplinks": _by_name(_by_type(UPLINKS, ref)),
            "duty": ref(DutySpec),
            "console": ref(ConsoleSpec),
            "storage": ref(StorageSpec),
            "backup": ref(BackupSpec),
            "time": ref(TimeSpec),
            "profiles": {"type": "string", "description": "a folder of profiles of your own, beside this file"},
        },
        "$defs": definitions,
    }


def _by_name(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "propertyNames": _NAMES, "additionalProperties": schema}


def _by_type(models: Mapping[str, type[BaseModel]], ref: Any) -> dict[str, Any]:
    """Which model holds is said by `type`; an editor shows the mistakes of that one only."""
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": list(models)}},
        "allOf": [
            {"if": {"properties": {"type": {"const": name}}}, "then": ref(model)} for name, model in models.items()
        ],
    }


def _rule(whole: Mapping[str, Any]) -> dict[str, Any]:
    """A rule, whose keys may stand in its steps as well: then none of them is required beside these."""
    steps = {"type": "object", "additionalProperties": {"type": "object", "properties": whole["properties"]}}
    return {**whole, "properties": {**whole["properties"], "steps": steps}, "required": ["equipment"]}


def _equipment(common: Mapping[str, Any], own: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The keys that all equipment have, and those of every protocol: which of them, the connection decides."""
    properties = {key: value for each in own for key, value in each["properties"].items()}
    properties |= common["properties"]
    properties["profile"] = {"type": "string", "examples": Library([PROFILES]).ids()}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(common.get("required", ())),
        "properties": properties,
    }

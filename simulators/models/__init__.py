"""The models of equipment, by the name that `simulate: {model: ...}` of a profile gives."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from drivers.document import Document, Where, nearest
from simulators.model import Model, SimEquipment
from simulators.models.bin import Bin
from simulators.models.booster import BoosterPump
from simulators.models.elevator import Elevator
from simulators.models.fixed import Fixed
from simulators.models.light import DimmableLight, LightCircuit
from simulators.models.meter import EnergyMeter
from simulators.models.perimeter import PerimeterPanel, PerimeterZone
from simulators.models.sump import Sump

MODELS: Mapping[str, type[Model]] = {
    "bin": Bin,
    "booster-pump": BoosterPump,
    "elevator": Elevator,
    "energy-meter": EnergyMeter,
    "fixed": Fixed,
    "light-circuit": LightCircuit,
    "light-dimmable": DimmableLight,
    "perimeter-panel": PerimeterPanel,
    "perimeter-zone": PerimeterZone,
    "sump": Sump,
}


def model_of(params: Mapping[str, Any]) -> type[Model] | None:
    """The model that a `simulate:` section names; without `model` it gives plain values of points."""
    return MODELS.get(str(params.get("model", "fixed")))


def own(params: Mapping[str, Any]) -> dict[str, Any]:
    """The model's own keys of a `simulate:` section."""
    return {key: value for key, value in params.items() if key != "model"}


def check(params: Mapping[str, Any], document: Document, where: Where) -> None:
    """Note every mistake of a `simulate:` section at its place in the file."""
    model = model_of(params)
    if model is None:
        document.add((*where, "model"), f"no model {params['model']!r}{nearest(str(params['model']), MODELS)}")
    else:
        document.validate(model.PARAMS, own(params), where, known=("model",))


def build(equipment: SimEquipment, rng: random.Random) -> Model:
    """The model of one equipment. Raises ValueError with the equipment and what is wrong with its `simulate:`."""
    model = model_of(equipment.params)
    if model is None:
        name = str(equipment.params["model"])
        raise ValueError(f"{equipment.id}: simulate.model {name!r} is unknown{nearest(name, MODELS)}")
    try:
        return model(equipment.id, own(equipment.params), rng)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise ValueError(f"{equipment.id}: simulate.{key}: {first['msg']}") from error

"""The synthetic street: a rendered scene that knows the exact mask of everything in it.

`scene.StreetScene` is the way in. `traffic` says who is where at a time, `figures` and `vehicles`
draw them, `backdrop` draws what stands still, `pen` is the brush all of them share.
"""

from collections.abc import Mapping
from types import MappingProxyType

LABELS: Mapping[int, str] = MappingProxyType(
    {1: "person", 2: "cyclist", 3: "car", 4: "bus", 5: "truck", 6: "dog"}
)
"""Class ids of the street and their names."""

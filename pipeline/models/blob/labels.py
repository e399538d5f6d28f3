"""Names by class id."""

from collections.abc import Mapping
from types import MappingProxyType

LABELS: Mapping[int, str] = MappingProxyType(
    {1: "red", 2: "green", 3: "blue", 4: "yellow", 5: "magenta", 6: "cyan"}
)

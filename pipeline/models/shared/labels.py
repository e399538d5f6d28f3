"""Names by class id: the categories of COCO as in the data set, 1..90 with gaps; flat colours."""

from collections.abc import Mapping
from types import MappingProxyType

_TABLE = """
person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant - stop_sign
parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe - backpack umbrella - -
handbag tie suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove skateboard
surfboard tennis_racket bottle - wine_glass cup fork knife spoon bowl banana apple sandwich orange
broccoli carrot hot_dog pizza donut cake chair couch potted_plant bed - dining_table - - toilet - tv
laptop mouse remote keyboard cell_phone microwave oven toaster sink refrigerator - book clock vase
scissors teddy_bear hair_drier toothbrush
"""

COCO_LABELS: Mapping[int, str] = MappingProxyType(
    {i: name.replace("_", " ") for i, name in enumerate(_TABLE.split(), start=1) if name != "-"}
)
"""80 names by category id; what torchvision's COCO weights put out."""

COCO_CLASSES = 91
"""Rows of the class head of such weights: background, 80 categories and 10 unused ids."""

"""`maskstream serve`: a run that goes on for months, steered over HTTP.

`desired` keeps which streams there are to be, on the disk; `service` makes the run be so, through
`RunControl` alone; `api` is what programs ask, built on FastAPI, `access` who may;
`listening` is the server.
"""

from pipeline.service.access import Door, new_token
from pipeline.service.api import build_api, build_health
from pipeline.service.desired import Desired
from pipeline.service.listening import listening
from pipeline.service.model import first_plan
from pipeline.service.service import Service

__all__ = [
    "Desired",
    "Door",
    "Service",
    "build_api",
    "build_health",
    "first_plan",
    "listening",
    "new_token",
]

"""Another model for all streams: who may name which, what is kept of it, what a failure leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline.errors import ConfigError, ModelError
from pipeline.plan.resolve import resolve
from pipeline.runtime.changes import NotNow
from pipeline.service import build_api, first_plan
from pipeline.service.desired import Desired, DesiredModel

CAMERA = {"id": "a", "url": "rtsp://10.0.0.7/gate"}
FPN = "maskrcnn_resnet50_fpn"
NO_WEIGHTS = {"name": "blob", "weights": None}


@pytest.fixture
def client(house) -> Any:
    house.begin()
    house.service.add(CAMERA)
    with TestClient(build_api(house.service), raise_server_exceptions=False) as client:
        yield client


def test_another_model_is_named_with_the_first_frame_of_every_stream(client, house) -> None:
    assert client.get("/v1/model").json() == {
        **{"name": "blob", "weights": None, "recorded_as": "blob", "sha256": ""},
        **{"classes": ["red", "green"], "loading": None},
    }
    answer = client.put("/v1/model", json={"name": FPN})
    assert (answer.status_code, answer.json()) == (
        200,
        {
            **{"name": FPN, "weights": "COCO_V1", "recorded_as": f"{FPN}@0123456789ab"},
            **{"sha256": "0123456789ab" + 52 * "0", "classes": ["red"], "loading": None},
            "first_frames": {"a": {"epoch": 0, "frame": 7}},
        },
    )
    assert [(plan.name, plan.weights) for plan in house.run.swapped] == [(FPN, "COCO_V1")]


def asked(client: TestClient, **model: Any) -> tuple[int, str]:
    answer = client.put("/v1/model", json=model)
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["detail"]


def test_what_cannot_be_is_a_problem_of_one_line_and_changes_nothing(client, house) -> None:
    assert asked(client)[0] == 422
    status, detail = asked(client, name="blub")
    assert (status, detail.partition(";")[0]) == (
        *(422,),
        "model 'blub' is not known, did you mean 'blob'?",
    )
    assert asked(client, name="blob", weights="COCO_V1")[0] == 422
    house.run.refuse_model = ModelError("other.safetensors: cannot be read: it is damaged")
    assert asked(client, name=FPN) == (422, "other.safetensors: cannot be read: it is damaged")
    house.run.refuse_model = NotNow("stream a is a file that is being read, and its results ...")
    assert asked(client, name=FPN)[0] == 409
    assert client.get("/v1/model").json()["name"] == "blob"
    assert Desired(str(house.folder / "state")).model() is None


def test_weights_of_this_machine_are_taken_from_the_folders_that_are_named(house) -> None:
    folder = house.folder / "models"
    folder.mkdir()
    secret = house.folder / "secret.safetensors"
    secret.write_bytes(b"no weights")
    (folder / "link.safetensors").symlink_to(secret)
    (folder / "mine.safetensors").write_bytes(b"no weights either")
    house.serve = {"allow_models": [f"file:{folder}"]}
    house.begin()
    client = TestClient(build_api(house.service), raise_server_exceptions=False)
    for path in (secret, folder / "link.safetensors", folder / ".." / "secret.safetensors"):
        assert asked(client, name=FPN, weights=str(path)) == (
            403,
            f"weights {path}: files of this machine are not taken over the API; name them in the "
            "configuration, or their folder in serve.allow_models as file:FOLDER",
        )
    in_the_name = asked(client, name=f"mask2former:{secret}")
    assert (in_the_name[0], str(secret) in in_the_name[1]) == (403, True)
    assert asked(client, name="mask2former:facebook/mask2former")[0] == 403  # nor is any fetched
    taken = client.put("/v1/model", json={"name": FPN, "weights": str(folder / "mine.safetensors")})
    assert taken.status_code == 200, taken.text


def test_weights_the_configuration_names_may_be_gone_back_to(house) -> None:
    weights = str(house.folder / "ours.safetensors")
    Path(weights).write_bytes(b"no weights")
    house.model = {"name": FPN, "weights": weights}
    house.begin()
    client = TestClient(build_api(house.service), raise_server_exceptions=False)
    assert client.put("/v1/model", json=NO_WEIGHTS).status_code == 200
    assert client.put("/v1/model", json=house.model).status_code == 200


def test_a_restart_begins_with_the_model_it_had_and_records_say_which(client, house) -> None:
    client.put("/v1/model", json={"name": FPN})
    house.begin()
    plan = resolve(house.settings().model_copy(update={"sources": (), "sinks": ()}))
    desired = Desired(str(house.folder / "state"))
    model = first_plan(plan, house.settings(), desired).model
    assert (model.name, model.weights, model.signed) == (FPN, "COCO_V1", True)
    assert (plan.model.name, plan.model.signed) == ("blob", False)


def test_a_file_that_names_another_model_than_before_is_followed(client, house) -> None:
    client.put("/v1/model", json={"name": FPN})
    house.service.reload()  # which says what it said
    assert len(house.run.swapped) == 1
    house.model = {"name": "maskrcnn_resnet50_fpn_v2"}
    house.service.reload()
    assert house.run.swapped[-1].name == "maskrcnn_resnet50_fpn_v2"
    assert Desired(str(house.folder / "state")).model() is None
    assert client.get("/v1/model").json()["name"] == "maskrcnn_resnet50_fpn_v2"
    house.model = {"name": "blob"}  # and so it is where it has changed while the service was down
    house.begin()
    assert house.service._settings.model.name == "blob"


def test_a_file_whose_model_cannot_be_loaded_changes_nothing(client, house) -> None:
    house.run.refuse_model = ModelError("other.safetensors: cannot be read: it is damaged")
    house.model = {"name": FPN}
    house.sources = [{"id": "b", "url": "rtsp://10.0.0.8/yard"}]
    with pytest.raises(ModelError):
        house.service.reload()
    assert list(house.service._desired.streams()) == ["a"]
    assert client.get("/v1/model").json()["name"] == "blob"


def test_streams_that_come_later_are_checked_by_the_classes_of_the_new_model(client, house) -> None:
    client.put("/v1/model", json={"name": FPN})
    house.service.add({**CAMERA, "id": "b", "classes": ["person"]})
    with pytest.raises(ConfigError, match="has no class 'red'"):
        house.service.add({**CAMERA, "id": "c", "classes": ["red"]})


def test_what_is_wanted_is_kept_beside_what_the_file_says(tmp_path: Path) -> None:
    desired = Desired(str(tmp_path))
    blob, other = DesiredModel("blob", None), DesiredModel(None, "/srv/models/a.safetensors")
    desired.follow_model(blob)
    desired.put_model(other)
    desired.close()
    again = Desired(str(tmp_path))
    again.follow_model(blob)
    assert (again.model(), again.model_or(blob)) == (other, other)
    again.follow_model(DesiredModel("blob", "x"))
    assert (again.model(), again.model_or(blob)) == (None, blob)

"""A Ray that runs already: joined by its address, with its token where it asks for one."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Sequence

from pipeline.errors import ConfigError
from pipeline.reading import read_small
from workers.aside import raw_lines_aside
from workers.leftovers import REASON
from workers.private import PrivateFolder
from workers.signals import handlers_kept
from workers.surroundings import (
    NO_FOLDER_OF_UV,
    ONLY_LOOPBACK,
    be_quiet,
    constants,
    environment,
    job_config,
    nameless,
)

ANSWER_WITHIN_S = 5.0
_MAX_TOKEN_BYTES = 4096
ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
PUT_IT = "put it in RAY_AUTH_TOKEN, in the file RAY_AUTH_TOKEN_PATH names, or in ~/.ray/auth_token"


def join_ray(address: str, folder: PrivateFolder) -> None:
    """Join it.

    Args:
        address: of its head.
        folder: of this run.

    Raises:
        ConfigError: there is none, or it does not let us in.
    """
    be_quiet()
    import ray

    address = _resolve(address)
    wants_token = knock(address)

    token = _token_for(address) if wants_token else {}
    here = ONLY_LOOPBACK if _only_on_loopback(address) else {}
    try:
        with (
            raw_lines_aside(folder, f"maskstream: {_cannot_join(address, REASON)}"),
            environment(token),
            constants(**here, **NO_FOLDER_OF_UV),
            nameless(),
            handlers_kept(),
        ):
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.CRITICAL,  # it raises what it logs below that
                job_config=job_config(),
            )
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = _other_versions(str(error)) or str(error).partition("\n")[0]
        raise ConfigError(_cannot_join(address, reason)) from error


def _cannot_join(address: str, reason: str) -> str:
    return f"--address {address}: cannot join Ray there: {reason}"


def _other_versions(told: str) -> str | None:
    """What Ray tells of versions that differ, in one line; None: it told something else."""
    found = re.findall(r"Ray: (\S+)\s+Python: (\S+)", told)
    if len(found) != 2:
        return None
    there, here = (f"Ray {ray} on Python {python}" for ray, python in found)
    return f"it is {there}, this is {here}; install the same on both"


def knock(address: str) -> bool:
    """Whether it asks for a token; Ray itself would try for minutes where nobody answers.

    Raises:
        ConfigError: nobody listens there, or it is not Ray.
    """
    host, port = _parts(address)
    try:
        socket.create_connection((host, int(port)), ANSWER_WITHIN_S).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"--address {address}: nobody answers there: {reason}; "
            "start Ray with `ray start --head`, or leave the option out"
        ) from error
    if address.startswith("ray://") or os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return False  # Ray asks these in its own way
    return _lets_in(address, None) is False


def find_token() -> tuple[str, str] | None:
    """The token Ray would take here, and where it is from."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token, "RAY_AUTH_TOKEN"
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or os.path.expanduser("~/.ray/auth_token")
    try:
        token = read_small(path, max_bytes=_MAX_TOKEN_BYTES).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return (token, path) if token else None


def _resolve(address: str) -> str:
    """What `auto` stands for; Ray would start a Ray of its own, open to all, for `local`.

    Raises:
        ConfigError: no Ray is found, or it is no address.
    """
    from ray._private.services import get_ray_address_from_environment

    found = address
    try:
        if address == "auto":
            found = get_ray_address_from_environment("auto", None)
    except ConnectionError as error:
        raise ConfigError(f"--address auto: {str(error).partition('.')[0]}") from error
    if ":" not in found:
        raise ConfigError(
            f"--address {found}: must be HOST:PORT, ray://HOST:PORT or auto; "
            "leave the option out to have a Ray started"
        )
    return found


def _parts(address: str) -> tuple[str, str]:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return host.strip("[]"), port


def _only_on_loopback(address: str) -> bool:
    """Whether this address means the loopback one; Ray takes it for that of the machine."""
    import ray

    host, port = _parts(address)
    if host not in ("localhost", "127.0.0.1", "::1"):
        return False
    try:
        machine: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        socket.create_connection((machine, int(port)), ANSWER_WITHIN_S).close()
    except OSError:
        return True
    return False


def _token_for(address: str) -> dict[str, str | None]:
    """The variables that let us in.

    Raises:
        ConfigError: there is no token, or it is not the right one.
    """
    found = find_token()
    if found is None:
        raise ConfigError(f"--address {address}: this Ray asks for a token; {PUT_IT}")
    token, where = found
    if not _lets_in(address, token):
        raise ConfigError(
            f"--address {address}: the token from {where} is not that of this Ray; {PUT_IT}"
        )
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}


def _lets_in(address: str, token: str | None) -> bool:
    """Ask the control store of Ray whether it is alive, as Ray itself does.

    Raises:
        ConfigError: what answers is not Ray.
    """
    import grpc

    bearer: Sequence[tuple[str, str]] = [("authorization", f"Bearer {token}")] if token else []
    channel = grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)])
    try:
        channel.unary_unary(ALIVE)(b"", timeout=ANSWER_WITHIN_S, metadata=bearer)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            return False
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise ConfigError(
                f"--address {address}: it takes connections and does not answer within "
                f"{ANSWER_WITHIN_S:.0f} s: it is stopped, or not the head of a Ray"
            ) from error
        raise ConfigError(
            f"--address {address}: what answers there is not the head of a Ray "
            f"({error.code().name}); its port is 6379 unless `ray start --head` was told another"
        ) from error
    finally:
        channel.close()
    return True

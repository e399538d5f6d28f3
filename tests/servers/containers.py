"""Images that are built and containers that run, all in one folder that is gone afterwards.

Nothing is fetched from a registry of images: the base is made of Debian's packages, and Python
packages come from this environment, mounted where the image would have installed its own. pip
resolves every line of the Dockerfile against them. Images of others are stood in for by programs
of this machine.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BASE = "docker.io/library/debian:bookworm-slim"
IMAGE = "localhost/maskstream"
SITE = f"/opt/maskstream/lib/python3.{sys.version_info.minor}/site-packages"
PROGRAMS = ("podman", "buildah", "runc", "mmdebstrap", "iptables", "prometheus", "ffmpeg", "caddy")
BASE_PACKAGES = "python3,python3-venv,ca-certificates,libgl1,libglib2.0-0,tini,wget"
NOT_UNPACKED = ("share/doc/*", "share/man/*", "share/locale/*", "lib/*/libLLVM*", "lib/*/dri/*")
"""What makes the base half as large and is never opened: libgl1 asks for drivers of screens."""
BUILD_TOOLS = ("hatchling>=1.25", "async-timeout")
"""What builds the wheel, and what Debian's Python needs more than this one."""
NOBODY = 65534
OF_THIS_MACHINE = ("/usr", "/etc/alternatives", "/etc/ld.so.cache")
"""What a program of this machine needs in a container."""


UNPRIVILEGED = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--tmpfs=/tmp")


class Containers:
    """A podman with storage, networks and settings of its own.

    Args:
        folder: an empty one; `close` removes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        most = min(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        settings = folder / "containers.conf"
        settings.write_text(
            f'[engine]\nruntime = "runc"\ntmp_dir = "{folder}/libpod"\n'
            f'[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "{folder}/networks"\n'
            f'[containers]\ndefault_ulimits = ["nofile={most}:{most}", "nproc=4096:4096"]\n'
        )
        storage = folder / "storage.conf"
        storage.write_text(
            f'[storage]\ndriver = "overlay"\n'
            f'graphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n'
        )
        self.environ = {
            **os.environ,
            "CONTAINERS_CONF": str(settings),
            "CONTAINERS_STORAGE_CONF": str(storage),
        }
        (folder / "at_hand.pth").write_text("/packages\n")
        torch = importlib.util.find_spec("torch")
        assert torch is not None
        assert torch.origin is not None
        self.packages = (
            f"{Path(torch.origin).parents[1]}:/packages:ro",
            f"{folder}/at_hand.pth:{SITE}/at_hand.pth:ro",
        )

    def command(self, *words: str, timeout_s: float = 150, **environ: str) -> str:
        """What a command prints.

        Raises:
            RuntimeError: it failed; with its last lines.
        """
        done = subprocess.run(
            words,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            told = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
            raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}:\n{told}")
        return done.stdout

    def podman(self, *words: str, timeout_s: float = 150) -> str:
        """What one command of podman prints."""
        return self.command("podman", *words, timeout_s=timeout_s)

    def run(self, *words: str, timeout_s: float = 150) -> str:
        """Run a container of the image to its end; `words` follow `podman run`."""
        options = ("--rm", "--shm-size=512m", *self.volumes())
        return self.podman("run", *options, *words, timeout_s=timeout_s)

    def volumes(self) -> list[str]:
        """Options that mount the packages."""
        return [f"--volume={one}" for one in self.packages]

    def build(self) -> None:
        """The base of Debian's packages, and upon it the image of the Dockerfile."""
        tar = self.folder / "base.tar"
        excluded = [f"--dpkgopt=path-exclude=/usr/{path}" for path in NOT_UNPACKED]
        self.command(
            *("mmdebstrap", "--variant=apt", "--dpkgopt=force-unsafe-io", *excluded),
            *(f"--include={BASE_PACKAGES}", "bookworm", str(tar)),
            timeout_s=300,
        )
        self.podman("import", "--quiet", str(tar), BASE)
        tar.unlink()
        wheels = self.folder / "wheels"
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels))
        self.command(*pip, *BUILD_TOOLS, timeout_s=120)
        offline = self.folder / "pip.conf"
        offline.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        self.command(
            *("buildah", "bud", "--isolation=chroot", "--network=host", "--format=docker"),
            *(f"--volume={wheels}:/wheels:ro", f"--volume={offline}:/etc/pip.conf:ro"),
            *(*self.volumes(), f"--tag={IMAGE}"),
            *(f"--file={ROOT / 'deploy' / 'Dockerfile'}", str(ROOT)),
            timeout_s=200,
        )

    def layer(self, dockerfile: str, image: str) -> None:
        """Another image upon one that is there."""
        file = self.folder / "layer"
        file.write_text(dockerfile)
        build = ("buildah", "bud", "--quiet", "--isolation=chroot", "--format=docker")
        self.command(*build, f"--tag={image}", f"--file={file}", str(self.folder / "wheels"))

    def stand_in(self, image: str, *entrypoint: str) -> None:
        """An image that runs a program of this machine; needs `OF_THIS_MACHINE` mounted."""
        tar = self.folder / "stand-in.tar"
        with tarfile.open(tar, "w") as archive:
            for name in ("usr", "etc", "tmp", "var", "prometheus"):
                folder = tarfile.TarInfo(name)
                folder.type, folder.mode, folder.gid = tarfile.DIRTYPE, 0o775, NOBODY
                archive.addfile(folder)
            for name in ("bin", "sbin", "lib", "lib64"):
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
                archive.addfile(link)
            users = b"root:x:0:0::/:/bin/sh\n"
            passwd = tarfile.TarInfo("etc/passwd")
            passwd.size = len(users)
            archive.addfile(passwd, io.BytesIO(users))
        change = f"--change=ENTRYPOINT {json.dumps(entrypoint)}"
        self.podman("import", "--quiet", change, str(tar), image)

    def close(self) -> None:
        """End every container and remove the folder."""
        if left := self.podman("ps", "--all", "--quiet").split():
            self.podman("rm", "--force", "--depend", "--ignore", "--time=0", *left)
        self.podman("network", "prune", "--force")
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        places = [
            line.split()[1] for line in mounts if line.split()[1].startswith(f"{self.folder}/")
        ]
        for place in sorted(places, reverse=True):
            subprocess.run(["umount", "--lazy", place], check=False)
        shutil.rmtree(self.folder)


def free_ports(count: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in taken]
    for one in taken:
        one.close()
    return ports


def until(look: Callable[[], Any], *, within_s: float = 100) -> Any:
    """What `look` gives once that is true; what it cannot see yet counts as not."""
    end_s = time.monotonic() + within_s
    while True:
        try:
            if seen := look():
                return seen
        except RuntimeError:
            if time.monotonic() > end_s:
                raise
        assert time.monotonic() < end_s, "it did not come to that"
        time.sleep(0.1)

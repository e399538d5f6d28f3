#!/usr/bin/env bash
# Is this machine ready to install maskstream? Says what is missing and the command that mends it.
set -u
python=${1:-python3}
if ! command -v "$python" >/dev/null; then
    echo "maskstream: no '$python' on PATH; install Python 3.11, 3.12 or 3.13, or name one: make demo PYTHON=/path/to/python3.12" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; then
    echo "maskstream: $("$python" --version) is not supported; use Python 3.11, 3.12 or 3.13: make demo PYTHON=/path/to/python3.12" >&2
    exit 1
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "maskstream: this Python cannot make virtual environments; on Debian or Ubuntu: sudo apt-get install -y python3-venv" >&2
    exit 1
fi
# opencv-python links these two; slim machines and containers lack them.
missing=$("$python" - <<'PY'
import ctypes
for library, package in (("libGL.so.1", "libgl1"), ("libglib-2.0.so.0", "libglib2.0-0")):
    try:
        ctypes.CDLL(library)
    except OSError:
        print(package, end=" ")
PY
)
if [ -n "$missing" ]; then
    echo "maskstream: OpenCV needs system libraries that are missing here; on Debian or Ubuntu: sudo apt-get install -y --no-install-recommends $missing" >&2
    exit 1
fi
free=$(df -Pk . | awk 'NR==2 {print int($4 / 1048576)}')
if [ "$free" -lt 8 ] && [ ! -e .venv/.ready ]; then
    echo "maskstream: only $free GiB free here; torch and the rest need about 8 GiB" >&2
    exit 1
fi

#!/usr/bin/env bash
# Installs the servers the tests marked `servers` talk to (Debian, Ubuntu). Does nothing when they
# are there. They are never needed to run maskstream itself.
set -euo pipefail

packages=(
  chromium
  ffmpeg
  redis-server
  mosquitto
  postgresql
  rabbitmq-server
  python3-gi
  gir1.2-gst-rtsp-server-1.0
  gstreamer1.0-plugins-base
  gstreamer1.0-plugins-good
  gstreamer1.0-plugins-bad
  aardvark-dns
  buildah
  caddy
  iptables
  mmdebstrap
  netavark
  podman
  prometheus
  runc
  systemd
)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
run=()
if [ "$(id -u)" -ne 0 ]; then
  run=(sudo)
fi

# A store of objects that speaks Azure's language; Debian has none.
azurite() {
  command -v azurite-blob >/dev/null && return
  command -v npm >/dev/null || "${run[@]}" apt-get install -y -qq --no-install-recommends npm
  "${run[@]}" npm install --global --silent --no-fund --no-audit azurite@3
}

if [ ${#missing[@]} -eq 0 ]; then
  azurite
  exit 0
fi

# Debian starts a service as soon as it is installed; the tests start their own, on loopback.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap '"${run[@]}" rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${run[@]}" tee "$policy" >/dev/null
  "${run[@]}" chmod +x "$policy"
fi
"${run[@]}" apt-get update -qq
"${run[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends "${missing[@]}"
azurite

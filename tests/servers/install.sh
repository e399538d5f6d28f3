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
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi

run=()
if [ "$(id -u)" -ne 0 ]; then
  run=(sudo)
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

#!/bin/bash
# setup.sh: install what build.sh and lab.sh need on the host (Debian), if it is missing.
set -euo pipefail
need=(qemu-system-x86_64 mksquashfs cpio modprobe xz)
PATH=$PATH:/usr/sbin:/sbin
missing=0
for tool in "${need[@]}"; do command -v "$tool" >/dev/null || missing=1; done
lists=$(find /var/lib/apt/lists -name '*Packages*' -print -quit)
[ $missing = 0 ] && [ -n "$lists" ] && exit 0
sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo)
[ -n "$lists" ] || "${sudo[@]}" apt-get update -qq
"${sudo[@]}" apt-get install -y -qq --no-install-recommends qemu-system-x86 squashfs-tools cpio kmod xz-utils

#!/bin/bash
# build.sh [DIR]: build the guest image (vmlinux, initrd.gz, root.sqfs) and print the directory that holds it.
# DIR is the cache (default $GATEWAYD_LAB, else $XDG_CACHE_HOME/gatewayd-lab); an image is kept under the hash of
# everything it is made of, so a second call only prints. Needs no root; leaves the host's packages and kernel alone.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
cache=${1:-${GATEWAYD_LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/gatewayd-lab}}
for tool in mksquashfs cpio modprobe xz; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: run lab/setup.sh" >&2; exit 1; }
done

kernel=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-/{print $2; exit}')
release=$(apt-cache policy "${kernel:-none}" | awk '/Candidate:/{print $2}')
[ -n "$release" ] || { echo "apt knows no linux-image-amd64: run lab/setup.sh" >&2; exit 1; }
version=${kernel#linux-image-}
words() { sed 's/#.*//' "$here/$1" | tr '\n' ' '; }
key=$( (cd "$here" && cat packages.txt modules.txt build.sh boot/stage1; echo "$kernel $release") | sha256sum | cut -c1-16)
image=$cache/$key
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
[ -d "$image" ] && { touch "$image"; echo "$image"; exit 0; }
find "$cache" -mindepth 1 -maxdepth 1 -type d -mtime +30 -exec rm -rf {} + # images nobody uses any more

w=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$w"' EXIT
stale() { echo "Debian's mirror did not give the packages: apt-get update, if the lists are old" >&2; exit 1; }
step() { echo "lab image: $* (${SECONDS}s)" >&2; }
mkdir -p "$w/archives/partial" "$w/state" "$w/k" "$w/out" "$w/ir"/{bin,m,proc,sys,dev,ro,rw,new}
root=$w/root
mkdir -p "$root/usr"/{bin,sbin,lib,lib64,lib32,libx32} "$root"/{proc,sys,dev,run,tmp,root,lab,etc,var}
: > "$w/state/status"

# An empty dpkg status makes apt resolve the guest's packages as for a bare machine.
# shellcheck disable=SC2046
apt-get -y -qq --download-only -o Dir::State::Status="$w/state/status" -o Dir::Cache::Archives="$w/archives" \
  -o APT::Install-Recommends=false -o APT::Sandbox::User=root -o Debug::NoLocking=1 install $(words packages.txt) >"$w/apt.log" 2>&1 ||
  { tail "$w/apt.log" >&2; stale; }
(cd "$w" && apt-get -qq -o APT::Sandbox::User=root download "$kernel" >&2) || stale
step "downloaded $kernel $release and $(find "$w/archives" -name '*.deb' | wc -l) packages"

dpkg-deb -x "$w"/linux-image-*.deb "$w/k"
for d in bin sbin lib lib64 lib32 libx32; do ln -s usr/$d "$root/$d"; done
for deb in "$w"/archives/*.deb; do
  dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --keep-directory-symlink --exclude='./usr/share/doc' --exclude='./usr/share/man' \
    --exclude='./usr/share/locale' --exclude='./usr/share/info' --exclude='./usr/share/perl*' --exclude='./usr/lib/udev/hwdb.d'
done
rm -rf "$root/var/run" "$root/var/lock"
ln -s /run "$root/var/run"
ln -s /run/lock "$root/var/lock"
cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
echo '127.0.0.1 localhost' > "$root/etc/hosts"
for applet in $("$root/usr/bin/busybox" --list); do
  [ -e "$root/usr/bin/$applet" ] || [ -e "$root/usr/sbin/$applet" ] || ln -s busybox "$root/usr/bin/$applet"
done

depmod -b "$w/k" "$version"
files() { modprobe -d "$w/k" -S "$version" --show-depends "$1" | awk '/^insmod/{print $2}'; }
lib=lib/modules/$version
for m in $(words modules.txt); do files "$m"; done | sort -u | while read -r f; do
  mkdir -p "$root/$lib/$(dirname "${f#*/"$lib"/}")"
  cp "$f" "$root/$lib/${f#*/"$lib"/}"
done
cp "$w/k/$lib"/modules.{builtin,builtin.modinfo,order} "$root/$lib/"
depmod -b "$root" "$version"

cp "$root/usr/bin/busybox" "$w/ir/bin/"
install -m 755 "$here/boot/stage1" "$w/ir/init"
for m in virtio_pci virtio_blk squashfs overlay 9p 9pnet_virtio; do files "$m"; done | awk '!seen[$0]++' | while read -r f; do
  cp "$f" "$w/ir/m/"
  basename "$f" >> "$w/ir/m/order"
done
(cd "$w/ir" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -9) > "$w/out/initrd.gz"

# Unpacked here: under TCG the guest's own unpacker costs about 3 s a boot. xz complains about what follows the stream.
vmlinuz=$w/k/boot/vmlinuz-$version
at=$(grep -abo $'\xfd7zXZ' "$vmlinuz" | head -n 1 | cut -d: -f1)
tail -c "+$((at + 1))" "$vmlinuz" | xz -dc > "$w/out/vmlinux" 2>/dev/null || true
[ "$(head -c 4 "$w/out/vmlinux")" = $'\x7fELF' ] || { echo "no kernel found in $vmlinuz" >&2; exit 1; }
mksquashfs "$root" "$w/out/root.sqfs" -comp lz4 -all-root -noappend -quiet -no-progress >&2
mv "$w/out" "$image"
step "$(du -sh "$image" | cut -f1) in $image"
echo "$image"

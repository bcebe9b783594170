#!/bin/bash
# lab.sh [options] -- COMMAND [ARGS...]   run a command in the guest; the exit code is the command's
#   -i DIR   image (default: what build.sh prints, built first if need be)
#   -b FILE  copy FILE (or folder) to /lab/ in the guest, repeatable; COMMAND may then be ./NAME
#   -M LIST  kernel modules to load first, comma separated
#   -o DIR   the folder shared with the guest as /lab, kept; DIR/out gets log, rc, console and qemu as they are written
#   -r       a guest reset boots again (LAB_BOOT=2, 3 ...) instead of ending the run
#   -q ARGS  more QEMU arguments, repeatable
#   -t SEC   time limit (default 120)   -m MB memory (default 256)
# exit: the command's code; 124 time limit; 125 the guest ended without a code, e.g. a watchdog reset without -r
set -u
here=$(cd "$(dirname "$0")" && pwd)
image='' limit=120 mem=256 share='' modules='' once=-no-reboot qemu=() files=()
while getopts i:b:M:o:rq:t:m: o; do
  case $o in
    i) image=$OPTARG ;;
    b) files+=("$OPTARG") ;;
    M) modules=${OPTARG//,/ } ;;
    o) share=$OPTARG ;;
    r) once= ;;
    q) read -ra x <<<"$OPTARG"; qemu+=("${x[@]}") ;;
    t) limit=$OPTARG ;;
    m) mem=$OPTARG ;;
    *) exit 125 ;;
  esac
done
shift $((OPTIND - 1))
command -v qemu-system-x86_64 >/dev/null || { echo "qemu-system-x86_64 is missing: run lab/setup.sh" >&2; exit 125; }
[ -n "$image" ] || image=$("$here/build.sh") || exit 125
if [ -z "$share" ]; then
  share=$(mktemp -d)
  trap 'rm -rf "$share"' EXIT
fi
out=$share/out
mkdir -p "$out" && cp "$here/boot/stage2" ${files[@]+"${files[@]}"} -r "$share/" || exit 125
rm -f "$out"/{log,rc,boots,console}
echo "$modules" > "$share/modules"
if [ $# = 1 ]; then echo "$1"; else printf '%q ' "$@"; fi > "$share/run"
# /dev/kvm alone is not enough: without vmx or svm it cannot run this kernel.
accel=(-accel tcg)
grep -qwE 'vmx|svm' /proc/cpuinfo && [ -w /dev/kvm ] && accel=(-accel kvm -cpu host)
timeout "$limit" qemu-system-x86_64 -M q35 "${accel[@]}" -m "$mem" -display none $once -nodefaults -monitor none \
  -serial "file:$out/console" -kernel "$image/vmlinux" -initrd "$image/initrd.gz" \
  -append "console=ttyS0 panic=-1 loglevel=5 mitigations=off tsc=reliable no_timer_check" \
  -drive "if=virtio,format=raw,readonly=on,file=$image/root.sqfs" \
  -virtfs "local,path=$share,mount_tag=lab,security_model=none,id=lab" \
  ${qemu[@]+"${qemu[@]}"} </dev/null >"$out/qemu" 2>&1 &
machine=$!
trap 'kill $machine; wait $machine' INT TERM
wait $machine
code=$?
[ -f "$out/log" ] && cat "$out/log"
[ -f "$out/rc" ] && exit "$(cat "$out/rc")"
[ $code = 124 ] && exit 124
tail -n 5 "$out/console" "$out/qemu" >&2
exit 125

# First boot: starve the watchdog in /lab/guest. Second boot: what the hardware and the record say about the first.
[ "$LAB_BOOT" = 1 ] && exec ./guest starve /dev/watchdog out/boot-cause
echo "bootstatus $(cat /sys/class/watchdog/watchdog0/bootstatus)"
echo "record $(cat out/boot-cause)"

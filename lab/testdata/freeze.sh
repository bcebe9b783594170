# First boot: a petting guest is stopped in its tracks. Second boot: what the next life makes of it.
if [ "$LAB_BOOT" = 1 ]; then
  ./guest keep /dev/watchdog out/data > out/first &
  until grep -q armed out/first; do usleep 50000; done
  kill -STOP $!
  wait
fi
exec ./guest keep /dev/watchdog out/data

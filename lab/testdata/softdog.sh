# softdog.sh SIGNAL [again]: end a petting guest with SIGNAL, start another life if told so, and stay up for longer than
# the watchdog's 5 s.
./guest keep /dev/watchdog out/data > out/first &
until grep -q armed out/first; do usleep 50000; done
kill "-$1" $!
wait $!
echo "ended $?"
[ -z "$2" ] || ./guest keep /dev/watchdog out/data &
sleep 8
echo survived

# softdog.sh SIGNAL: end a petting guest with SIGNAL, then stay up for longer than the watchdog's 3 s.
./guest pet /dev/watchdog > out/pet &
until grep -q petting out/pet; do usleep 50000; done
kill "-$1" $!
wait $!
echo "ended $?"
sleep 5
echo survived

# gateway.sh SIGNAL: end a petting gateway with SIGNAL, then stay up for longer than the watchdog's 5 s.
./gatewayd run --config quiet.toml --data out/data 2> out/first &
until [ "$(cat /sys/class/watchdog/watchdog0/state)" = active ]; do usleep 50000; done
kill "-$1" $!
wait $!
echo "ended $?"
sleep 8
echo survived

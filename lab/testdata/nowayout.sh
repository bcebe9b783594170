# A card that cannot be disarmed: a clean stop has to say so, and the machine is reset.
modprobe softdog nowayout=1
./guest keep /dev/watchdog out/data > out/first &
until grep -q armed out/first; do usleep 50000; done
kill -TERM $!
wait $!
echo "ended $?"
cat out/first
sleep 8
echo survived

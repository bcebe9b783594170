# gateway.sh: functions for the stories, which source it.
data=out/data
card=/sys/class/watchdog/watchdog0

# gateway CONFIG: start the daemon; its process is $!.
gateway() {
  rm -f $data/bus.url
  ./gatewayd run --data $data --config "$1" &
}

# armed SECONDS: wait until the card has the configured countdown; after it is opened it first has its own default.
armed() { until [ "$(cat $card/state $card/timeout | xargs)" = "active $1" ]; do usleep 50000; done; }
listening() { until [ -s $data/bus.url ]; do usleep 50000; done; }

# ask COMMAND [ARGS...]: run the command line as an operator would.
ask() {
  command=$1
  shift
  ./gatewayd "$command" --data $data --gateway lab "$@"
}

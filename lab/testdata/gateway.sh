# gateway.sh: what the stories are told with; they dot it.
data=out/data
card=/sys/class/watchdog/watchdog0

# gateway CONFIG: start the daemon; its process is $!.
gateway() {
  rm -f $data/bus.url
  ./gatewayd run --data $data --config "$1" &
}

# armed SECONDS: wait until the card counts what the config says; between its opening and that it counts its own default.
armed() { until [ "$(cat $card/state $card/timeout | xargs)" = "active $1" ]; do usleep 50000; done; }
listening() { until [ -s $data/bus.url ]; do usleep 50000; done; }

# ask COMMAND [ARGS...]: the command line, as an operator would use it.
ask() {
  command=$1
  shift
  ./gatewayd "$command" --data $data --gateway lab "$@"
}

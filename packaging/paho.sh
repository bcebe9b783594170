#!/bin/sh
# paho.sh DIRECTORY: runs Eclipse's interoperability suite for MQTT brokers, unmodified, against the broker. DIRECTORY is
# a clone of https://github.com/eclipse/paho.mqtt.testing. The suite needs port 1883 and no other traffic, so it runs in
# its own network namespace (requires root).
set -eu
suite=${1:?"where is a clone of https://github.com/eclipse/paho.mqtt.testing?"}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/gatewayd" ./cmd/gatewayd
cat >"$dir/gateway.toml" <<END
gateway = "paho"

[bus]
kind   = "bus"
listen = "127.0.0.1:4222"

[mqtt]
kind           = "mqtt-broker"
access         = "access"
max-keep-alive = "60s" # the suite asks for more, and expects to be told the limit

[access]
kind      = "access-control"
anonymous = ["suite"]

[[access.roles]]
name  = "suite"
allow = ["#"]
deny  = ["data/#", "event/#", "state/#", "test/nosubscribe"] # the gateway's own messages, and the topic that the suite expects to be refused
END
cat >"$dir/run.sh" <<'END'
ip link set lo up
"$1/gatewayd" run --config "$1/gateway.toml" --data "$1/data" 2>"$1/log" &
gateway=$!
trap 'kill $gateway; wait $gateway || true' EXIT
until "$1/gatewayd" tree --data "$1/data" 2>/dev/null | grep -q 'mqtt-broker.*ok'; do
	kill -0 $gateway || { cat "$1/log"; exit 1; }
	sleep 0.2
done
failed=0
for version in client_test.py client_test5.py; do
	timeout 600 python3 $version >"$1/out" 2>&1 || true
	grep '^Ran' "$1/out" || { tail "$1/out"; exit 1; }
	for name in $(sed -n 's/^\(FAIL\|ERROR\): \(test[A-Za-z_0-9]*\) .*/\2/p' "$1/out"); do
		case $version/$name in
		client_test5.py/test_subscribe_failure) # a refused subscription is answered by 0x87 (MQTT 5 3.9.3), which the suite does not expect
			echo "$version $name: as expected" ;;
		*)
			echo "$version $name: failed"
			failed=1 ;;
		esac
	done
done
exit $failed
END
cd "$suite/interoperability"
unshare -n sh "$dir/run.sh" "$dir"

#!/bin/sh
# Runs testssl.sh on every encrypted port of a claimed gateway (the bus, MQTT, MQTT over WebSocket, HTTP, Modbus/TCP
# Security of both kinds that support it), on that of mdi-sink, and on the claim-door of an unclaimed gateway. It fails
# on any finding above "info" except those listed below.
set -eu
command -v testssl >/dev/null || { echo "testssl is missing: apt-get install -y testssl.sh"; exit 1; }
dir=$(mktemp -d)
gateway=
sink=
nobodys=
trap 'for p in $gateway $sink $nobodys; do kill $p; wait $p || true; done; rm -rf "$dir"' EXIT
go build -o "$dir/gatewayd" ./cmd/gatewayd
cat >"$dir/gateway.toml" <<END
gateway = "scanned"

[bus]
kind   = "bus"
listen = "127.0.0.1:24222"

[mqtt]
kind   = "mqtt-broker"
listen = "127.0.0.1:28883"
doors  = [{ listen = "127.0.0.1:28884", websocket = true }]

[http]
kind   = "http-server"
listen = "127.0.0.1:28443"
END
echo "a password of the scan" | "$dir/gatewayd" claim --config "$dir/gateway.toml" --data "$dir/data" --host localhost,127.0.0.1 >/dev/null
modbus="tls = { cert-file = '$dir/data/pki/gateway.pem', key-file = '$dir/data/pki/gateway.pem', ca-file = '$dir/data/pki/ca.crt' }"
cat >>"$dir/gateway.toml" <<END

[plc.link]
kind    = "tcp-link"
address = "127.0.0.1:28801" # no listener: no master gets this far

[plc.meter]
kind   = "modbus-unit"
link   = "plc/link"
unit   = 1
points = [{ name = "power", address = 0 }]

[server]
kind   = "modbus-server"
access = "access"
points = [{ from = "plc/meter", point = "power", address = 0 }]

[[server.tcp]]
listen = "127.0.0.1:28802"
$modbus

[shared]
kind   = "modbus-gateway"
access = "access"
routes = [{ first = 1, link = "plc/link" }]

[[shared.tcp]]
listen = "127.0.0.1:28803"
$modbus
END
"$dir/gatewayd" run --config "$dir/gateway.toml" --data "$dir/data" 2>"$dir/log" &
gateway=$!
until "$dir/gatewayd" tree --data "$dir/data" 2>/dev/null | grep -c ' \(mqtt-broker\|http-server\|modbus-server\|modbus-gateway\) .*ok' | grep -q 4; do
	kill -0 $gateway || { cat "$dir/log"; exit 1; }
	sleep 0.2
done
"$dir/gatewayd" mdi-sink --listen 127.0.0.1:28804 --tls --cert "$dir/data/pki/gateway.crt" --key "$dir/data/pki/gateway.pem" --ca "$dir/data/pki/ca.crt" >/dev/null 2>"$dir/sink.log" &
sink=$!
until grep -q 28804 "$dir/sink.log"; do
	kill -0 $sink || { cat "$dir/sink.log"; exit 1; }
	sleep 0.2
done
cat >"$dir/nobodys.toml" <<END
gateway = "unclaimed"

[bus]
kind   = "bus"
listen = "127.0.0.1:24223"

[claim]
kind   = "claim-door"
listen = "127.0.0.1:28805"
END
"$dir/gatewayd" run --config "$dir/nobodys.toml" --data "$dir/nobodys" 2>"$dir/nobodys.log" &
nobodys=$!
until "$dir/gatewayd" tree --data "$dir/nobodys" 2>/dev/null | grep -q ' claim-door .*ok'; do
	kill -0 $nobodys || { cat "$dir/nobodys.log"; exit 1; }
	sleep 0.2
done
found=0
for port in ${*:-24222 28883 28884 28443 28802 28803 28804 28805}; do
	testssl --quiet --color 0 --warnings off --add-ca "$dir/data/pki/ca.crt" -p -s -f -P -S -h -U \
		--severity LOW --jsonfile "$dir/$port.json" localhost:$port >"$dir/$port.txt" 2>&1 || true
	python3 - "$dir/$port.json" $port <<'END' || found=1
import json, sys

# Findings that do not concern the gateway: its authority is private and has no revocation server (the list of revoked
# certificates is a file that every door reads), localhost is not in DNS, and messages of the scanner about itself. HSTS
# would make browsers refuse other services without TLS under the name of the machine, on any port.
others = {"cert_revocation", "DNS_CAArecord", "HSTS", "engine_problem", "service", "scanTime", "clientProblem1"}
if sys.argv[2] == "24222":
    others.add("pre_128cipher") # the bus sends the plain NATS greeting to a client that is silent for 50 ms, and this test is slower than that
if sys.argv[2] == "28805":
    others |= {"cert_trust", "cert_chain_of_trust"} # the certificate is not trusted: the gateway is authenticated by the code
unasked = "client x509-based authentication prevents this from being tested" # Modbus masters must have a certificate, and there is no renegotiation or HTTP
all = json.load(open(sys.argv[1]))
bad = [f for f in all if f["severity"] not in ("OK", "INFO", "DEBUG") and f["id"] not in others and f["finding"] != unasked]
for f in bad:
    print("port", sys.argv[2], f["severity"], f["id"], f["finding"])
if not any(f["id"] == "cert_revocation" for f in all):
    print("port", sys.argv[2], "was not scanned: no word on a thing that is always found")
    bad.append(None)
print("port", sys.argv[2], "scanned:", len(bad), "findings")
sys.exit(bool(bad))
END
done
exit $found

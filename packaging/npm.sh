#!/bin/sh
# npm.sh [check]: installs the node libraries that tests use as peers, in the versions of their lock files, unless they
# are installed already. With check it only reports whether they are.
set -eu
cd "$(dirname "$0")/.."
for dir in protocols/modbus/testdata/npm protocols/sparkplug/testdata/npm protocols/web/testdata/npm cmd/gatewayd/testdata/clients/npm; do
	have=$dir/node_modules/.installed
	if command -v node >/dev/null && cmp -s "$dir/package-lock.json" "$have"; then continue; fi
	[ "${1:-install}" = check ] && exit 1
	command -v npm >/dev/null || sh packaging/peers.sh install nodejs npm
	(cd "$dir" && npm ci --ignore-scripts)
	cp "$dir/package-lock.json" "$have"
done

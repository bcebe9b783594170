#!/bin/sh
# npm.sh [check]: the libraries of node that tests use as peers, in the versions of their lock file. What is there already is left alone; check
# only tells.
set -eu
cd "$(dirname "$0")/../protocols/modbus/testdata/npm"
have=node_modules/.installed
if command -v node >/dev/null && cmp -s package-lock.json "$have"; then exit 0; fi
[ "${1:-install}" = check ] && exit 1
command -v npm >/dev/null || sh ../../../../packaging/peers.sh install nodejs npm
npm ci
cp package-lock.json "$have"

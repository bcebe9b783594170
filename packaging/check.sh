#!/bin/sh
# Checks that must pass before any test is run.
set -eu

unformatted=$(gofmt -l $(git ls-files '*.go' | grep -v '\.pb\.go$'))
[ -z "$unformatted" ] || { echo "not gofmt-ed:"; echo "$unformatted"; exit 1; }

go vet ./...
go mod tidy -diff
go tool -modfile=tools/go.mod golangci-lint run ./...

tool="go tool -modfile=../tools/go.mod"
(cd schemas && $tool buf lint && $tool buf format -d --exit-code)

# Generated code must be up to date with the schemas.
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
(cd schemas && $tool buf generate -o "$tmp")
for f in $(cd "$tmp" && find . -name '*.pb.go'); do
	cmp -s "$tmp/$f" "schemas/$f" || { echo "schemas/$f is not up to date: run task generate"; exit 1; }
done

# Schemas must be compatible with those of the last release.
release=$(git describe --tags --abbrev=0 2>/dev/null || true)
if [ -n "$release" ]; then
	(cd schemas && $tool buf breaking --against "../.git#tag=$release,subdir=schemas")
fi

# Text templates and methods looked up by name would keep 4 MB of dead code in the binary.
if CGO_ENABLED=0 go build -ldflags=-dumpdep -o /dev/null ./cmd/gatewayd 2>&1 | grep -a '<ReflectMethod>'; then
	echo "the daemon looks methods up by reflection: see above"
	exit 1
fi

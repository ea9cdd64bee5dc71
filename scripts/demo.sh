#!/usr/bin/env bash
# ./dev demo, once everything is built: a registry, Ravel, a microVM that serves a page, and away with it all.
# Runs as root.
set -euo pipefail
ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
cd -- "$ROOT"
# shellcheck source=scripts/say.sh
. scripts/say.sh

TOOLS=$ROOT/artifacts/dotnet/bin/Bench/release_linux-x64/Ravel.Bench.dll
WORK=$(mktemp -d /tmp/ravel-demo.XXXXXX)
UP=no REGISTRY='' TO_REGISTRY=9
PATH=$ROOT/artifacts/bin:$PATH
# A Ravel of its own, beside whatever this user has up; commands then find it without flags.
export RAVEL_DATA=$WORK/data XDG_CONFIG_HOME=$WORK/config RAVEL_KERNEL=$ROOT/artifacts/kernel
unset RAVEL_SERVER RAVEL_TOKEN

clean_up() {
    local status=$?
    trap - EXIT
    trap '' INT TERM
    set +e
    if [ $UP = yes ]; then
        if [ $status != 0 ] && [ -r "$RAVEL_DATA/raveld.log" ]; then
            step "The end of raveld's log"
            tail -n 20 "$RAVEL_DATA/raveld.log"
        fi
        step "Cleaning up"
        show down || status=1
    fi
    if [ -n "$REGISTRY" ]; then
        exec {TO_REGISTRY}>&-
        wait "$REGISTRY"
    fi
    rm -rf -- "$WORK/data" "$WORK/config" "$WORK/registry" "$WORK/references"
    if [ -e "$WORK/before" ]; then
        if dotnet "$TOOLS" leaks compare "$WORK/before"; then
            note "nothing is left behind"
        elif [ "${RAVEL_SHARED_HOST:-}" != 1 ]; then
            status=1
        fi
    fi
    rm -rf -- "$WORK"
    exit $status
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Shows a command of ravel's and runs it; what it starts shall not hold the registry's input.
show() {
    printf '%s$ ravel %s%s\n' "$BOLD" "$*" "$PLAIN"
    ravel "$@" {TO_REGISTRY}>&-
}

# A port nobody listens on.
free_port() {
    local port
    for port in {8080..8180}; do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    fail "every port from 8080 to 8180 is taken"
}

dotnet "$TOOLS" leaks snapshot "$WORK/before"

step "Serving an nginx image, made of Debian's packages, from a local registry"
mkfifo "$WORK/registry" "$WORK/references"
dotnet "$TOOLS" registry nginx <"$WORK/registry" >"$WORK/references" &
REGISTRY=$!
exec {TO_REGISTRY}>"$WORK/registry"
IMAGE=''
read -r IMAGE <"$WORK/references" || true
[ -n "$IMAGE" ] || fail "the registry did not start"
note "$IMAGE"

step "Bringing Ravel up"
UP=yes
show up --detach --data "$RAVEL_DATA"

step "Running the image as a microVM"
PORT=$(free_port)
show run --detach --name web --publish "$PORT:80" "$IMAGE"

step "Fetching a page from it"
printf '%s$ curl http://127.0.0.1:%s/%s\n' "$BOLD" "$PORT" "$PLAIN"
curl --fail --silent --show-error --noproxy '*' --max-time 10 \
    --retry 60 --retry-connrefused --retry-all-errors --retry-delay 1 "http://127.0.0.1:$PORT/" 2>"$WORK/curl.err" ||
    fail "no page came: $(tail -n 1 "$WORK/curl.err")"

step "What runs, and what it printed"
show ps
show logs web
show exec web uname -a

# shellcheck shell=bash
# ./dev cluster. Sourced.

readonly CLUSTER=$ROOT/artifacts/cluster

cluster() {
    case ${1:-} in
        up) cluster_up "${2:-3}" ;;
        down)
            [ $# = 1 ] || refuse "cluster down takes no argument"
            cluster_down
            ;;
        *) refuse "cluster takes up [HOSTS] or down, not '${1:-}'" ;;
    esac
}

# Whoever holds the cluster: what it made ends with it.
cluster_holder() {
    local pid
    pid=$(cat "$CLUSTER.pid" 2>/dev/null) || return 1
    grep -qs Ravel.Bench "/proc/$pid/cmdline" || return 1
    echo "$pid"
}

cluster_up() {
    if cluster_holder >/dev/null; then fail "a cluster is up; end it with: ./dev cluster down"; fi
    build tools
    step "Bringing up two servers, PostgreSQL and $1 hosts"
    mkdir -p "$ROOT/artifacts"
    as_root rm -rf -- "$CLUSTER"
    : >"$CLUSTER.log"
    # In a session of its own: it stays when this terminal goes. The pid is that of the inner shell, and then of dotnet.
    # shellcheck disable=SC2016
    as_root env RAVEL_BIN="$BIN" setsid sh -c 'echo $$ >"$1"; shift; exec "$@"' sh "$CLUSTER.pid" \
        dotnet "$ROOT/artifacts/dotnet/bin/Bench/release_linux-x64/Ravel.Bench.dll" cluster "$CLUSTER" "$1" \
        >"$CLUSTER.log" 2>&1 </dev/null &
    local holder=$!
    until grep -q '^an image' "$CLUSTER.log"; do
        if ! kill -0 $holder 2>/dev/null; then
            cat "$CLUSTER.log" >&2
            fail "the cluster did not come up"
        fi
        sleep 0.2
    done
    cat "$CLUSTER.log"
    note "try: artifacts/bin/ravel --data artifacts/cluster/server1 node ls"
    note "in $SECONDS s; end it with: ./dev cluster down"
}

cluster_down() {
    local holder
    if ! holder=$(cluster_holder); then
        note "no cluster is up"
        return
    fi
    step "Ending the cluster with its machines"
    as_root kill -TERM "$holder"
    while [ -d "/proc/$holder" ]; do sleep 0.2; done
    as_root rm -f "$CLUSTER.pid"
    if ! grep -qx 'nothing is left' "$CLUSTER.log"; then
        cat "$CLUSTER.log" >&2
        fail "something would not end"
    fi
    rm -f "$CLUSTER.log"
    note "in $SECONDS s"
}

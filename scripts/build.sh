# shellcheck shell=bash
# ./dev build and ./dev bench. Sourced.

readonly BIN=$ROOT/artifacts/bin

# One line that changes whenever something below the given paths does, committed or not.
fingerprint() {
    # -c safe.directory: a checkout of another user's, as under sudo or in a container.
    git -c safe.directory='*' ls-files -z --cached --others --exclude-standard -- "$@" |
        sort -z | xargs -0 sha256sum 2>/dev/null | sha256sum
}

sources_of_executables() {
    {
        dotnet --version
        fingerprint src scripts/Publish.proj scripts/build.sh 'Directory.*' global.json BannedSymbols.txt .editorconfig || true
    } | sha256sum | cut -d ' ' -f 1
}

run_msbuild() {
    local log=$ROOT/artifacts/build.log
    mkdir -p "$ROOT/artifacts"
    if ! dotnet "$@" -nologo -verbosity:quiet -consoleLoggerParameters:NoSummary >"$log" 2>&1; then
        cat "$log" >&2
        fail "dotnet $1 failed"
    fi
}

# With `tools`, also the program of the benchmarks and the developer's tools.
build() {
    ensure_setup
    local stamp=$BIN/.sources now began=$SECONDS with_tools=false
    if [ "${1:-}" = tools ]; then with_tools=true; fi
    now=$(sources_of_executables)
    if [ -x "$BIN/ravel" ] && [ -x "$BIN/raveld" ] && [ -x "$BIN/ravel-init" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$now" ]; then
        note "artifacts/bin is up to date"
        if [ $with_tools = true ]; then run_msbuild build bench -c Release; fi
        return
    fi
    step "Building ravel, raveld and ravel-init"
    rm -f "$stamp"
    run_msbuild msbuild scripts/Publish.proj -t:Restore -p:WithTools=$with_tools
    run_msbuild msbuild scripts/Publish.proj -t:Publish -maxCpuCount -p:WithTools=$with_tools
    install_executable Cli ravel
    install_executable Daemon raveld
    install_executable GuestInit ravel-init
    echo "$now" >"$stamp"
    local name
    for name in ravel raveld ravel-init; do
        note "$(printf 'artifacts/bin/%-12s %5d KiB' "$name" "$(($(stat -c %s "$BIN/$name") / 1024))")"
    done
    note "in $((SECONDS - began)) s"
}

# Copies a published executable, and the native libraries it loads, by renaming: the old one may be running.
install_executable() {
    local project=$1 name=$2 file target
    local from=$ROOT/artifacts/dotnet/publish/$project
    from=$(find "$from" -mindepth 1 -maxdepth 1 -type d -name 'release*' | sort | tail -n 1)
    [ -x "$from/$name" ] || fail "publishing $project left no $name"
    mkdir -p "$BIN"
    for file in "$from/$name" "$from"/*.so; do
        [ -e "$file" ] || continue
        target=$BIN/${file##*/}
        cp -- "$file" "$target.new"
        mv -f -- "$target.new" "$target"
    done
}

# Builds every project for the tests and benchmarks.
build_tests() {
    run_msbuild restore Ravel.slnx
    run_msbuild build Ravel.slnx --no-restore -c Release -maxCpuCount
}

# The program with the benchmarks and the developer's tools, built before.
tool() {
    RAVEL_BIN=$BIN as_root dotnet "$ROOT/artifacts/dotnet/bin/Bench/release_linux-x64/Ravel.Bench.dll" "$@"
}

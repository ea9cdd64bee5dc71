# shellcheck shell=bash
# ./dev test. Sourced.

readonly RESULTS=$ROOT/artifacts/test-results
PASSED=0 FAILED=0 SKIPPED=0

run_tests() {
    local suites=(unit integration e2e)
    case ${1:-} in
        unit | integration | e2e)
            suites=("$1")
            shift
            ;;
        soak)
            suites=(soak-unit soak-integration soak-e2e)
            shift
            ;;
    esac
    [ $# -le 1 ] || refuse "test takes a suite and a filter, not '$*'"
    local filter=${1:-} before=$RESULTS/host-before.json began=$SECONDS suite

    # The end-to-end tests drive the published programs; nobody else needs them.
    case ${suites[*]} in
        *e2e*) build ;;
        *) ensure_setup ;;
    esac
    step "Building the tests"
    build_tests
    note "in $((SECONDS - began)) s"

    export RAVEL_BIN=$BIN
    mkdir -p "$RESULTS"
    rm -f "$RESULTS"/*.xml
    tool leaks snapshot "$before"
    for suite in "${suites[@]}"; do
        run_suite "$suite" "$filter"
    done
    check_leaks "$before"
    give_back_results

    if [ $((PASSED + FAILED + SKIPPED)) = 0 ]; then
        fail "no test has '$filter' in its full name"
    fi
    local summary="$PASSED passed, $FAILED failed"
    [ $SKIPPED = 0 ] || summary+=", $SKIPPED skipped"
    echo
    echo "$summary"
    [ $FAILED = 0 ]
}

# Runs one suite's program and adds up its report. A suite that dies without a report counts as a failed test.
run_suite() {
    local suite=$1 filter=$2 project prefix=as_root arguments=()
    case $suite in
        *unit) project=Unit prefix='' ;;
        *integration) project=Integration ;;
        *e2e) project=EndToEnd ;;
    esac
    case $suite in
        soak-*) arguments=(-trait Kind=Soak -explicit on) ;;
        *) arguments=(-trait- Kind=Soak) ;;
    esac
    if [ -n "$filter" ]; then arguments+=(-method "*$filter*"); fi
    if [ "${CI:-}" = true ]; then arguments+=(-failSkips); fi

    step "Running the $suite tests"
    local report=$RESULTS/$suite.xml status=0 began=$SECONDS counts
    $prefix "$ROOT/artifacts/dotnet/bin/$project/release/Ravel.$project" \
        -noLogo -noColor -longRunning 120 -result-xml "$report" "${arguments[@]}" </dev/null || status=$?
    # The report's counts stand in <assembly … passed="3" failed="0" skipped="0" errors="0" …>.
    counts=$(grep -o -m 1 '<assembly [^>]*' "$report" 2>/dev/null || true)
    local passed failed skipped errors
    passed=$(count passed "$counts") failed=$(count failed "$counts")
    skipped=$(count skipped "$counts") errors=$(count errors "$counts")
    failed=$((failed + errors))
    if [ "$status" != 0 ] && [ $failed = 0 ] && { [ -n "$counts" ] || [ -z "$filter" ]; }; then
        note "the $suite tests ended with exit code $status"
        failed=1
    fi
    PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed)) SKIPPED=$((SKIPPED + skipped))
    note "$suite: $passed of $((passed + failed + skipped)) in $((SECONDS - began)) s"
}

# The number in NAME="number" of an XML element; 0 when it has none.
count() {
    if [[ $2 =~ [[:space:]]$1=\"([0-9]+)\" ]]; then echo "${BASH_REMATCH[1]}"; else echo 0; fi
}

# Whatever the tests left on the host is a failed test.
check_leaks() {
    local status=0
    tool leaks compare "$1" || status=$?
    if [ $status = 0 ]; then
        return
    elif [ "${RAVEL_SHARED_HOST:-}" = 1 ]; then
        note "not counted: RAVEL_SHARED_HOST=1"
    else
        FAILED=$((FAILED + 1))
    fi
}

# Suites that ran under sudo leave files of root's.
give_back_results() {
    [ "$(id -u)" = 0 ] || as_root chown -R "$(id -u):$(id -g)" "$ROOT/artifacts"
}

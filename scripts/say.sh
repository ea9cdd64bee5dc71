# shellcheck shell=bash
# What ./dev says, and how it becomes root. Sourced.

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    BOLD=$'\e[1m' RED=$'\e[31m' DIM=$'\e[2m' PLAIN=$'\e[0m'
else
    BOLD='' RED='' DIM='' PLAIN=''
fi
readonly BOLD RED DIM PLAIN

# A step that begins.
step() { printf '%s==> %s%s\n' "$BOLD" "$*" "$PLAIN"; }

# A detail of it.
note() { printf '    %s%s%s\n' "$DIM" "$*" "$PLAIN"; }

# A wrong use or a missing need: one line, exit code 64 (EX_USAGE).
refuse() {
    printf '%s./dev: %s%s\n' "$RED" "$*" "$PLAIN" >&2
    exit 64
}

# A step that failed.
fail() {
    printf '%s./dev: %s%s\n' "$RED" "$*" "$PLAIN" >&2
    exit 1
}

# Runs a command as root, with the variables that .NET and the tests look at.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo --preserve-env=CI,PATH,HOME,DOTNET_ROOT,DOTNET_NOLOGO,DOTNET_CLI_TELEMETRY_OPTOUT,TESTINGPLATFORM_TELEMETRY_OPTOUT,RAVEL_BIN,RAVEL_VMM,RAVEL_FIRECRACKER,RAVEL_JAILER "$@"
    else
        refuse "'$1' has to run as root: run ./dev as root, or install sudo"
    fi
}

# shellcheck shell=bash
# What Ravel needs from the system, and ./dev setup. Sourced.

readonly KERNEL_DIR=$ROOT/artifacts/kernel

# One need a line: a command, or a file, that shows it is there; its Debian package; what it is for.
needs() {
    cat <<'NEEDS'
qemu-system-x86_64                  qemu-system-x86  runs the microVMs where Firecracker or KVM is missing
nft                                 nftables         the machines' network
ip                                  iproute2         the machines' network
mkfs.ext4                           e2fsprogs        the template of the writable disk
gcc                                 gcc              links ravel and ravel-init (NativeAOT)
/usr/include/stdlib.h               libc6-dev        links ravel and ravel-init (NativeAOT)
/usr/include/zlib.h                 zlib1g-dev       links ravel (NativeAOT)
objcopy                             binutils         strips ravel and ravel-init
ld.lld                              lld              links ravel-init: GNU ld fails on a static-pie
curl                                curl             fetches the page in the demo
docker-registry                     docker-registry  tests and demo: a real registry
skopeo                              skopeo           tests: an oracle for pulling
umoci                               umoci            tests and demo: builds images; an oracle for unpacking
buildah                             buildah          tests: builds images the other way, and indexes
fsck.erofs                          erofs-utils      tests: the oracle for the rootfs
bsdtar                              libarchive-tools tests: archives of the other tar
python3                             python3          tests: archives of a third
setcap                              libcap2-bin      tests: images with capabilities
setfacl                             acl              tests: images with access lists
setfattr                            attr             tests: images with extended attributes
podman                              podman           tests: the oracle for what is done with an image
runc                                runc             tests: what podman runs containers with
psql                                postgresql-client tests: writes to a database in a machine
busybox                             busybox-static   tests: a guest's programs in one file
/usr/lib/postgresql                 postgresql       tests: the database of many hosts
flex                                flex             ravel kernel build, ./dev bench kernel
bison                               bison            ravel kernel build, ./dev bench kernel
bc                                  bc               ravel kernel build, ./dev bench kernel
/usr/include/gelf.h                 libelf-dev       ravel kernel build, ./dev bench kernel
make                                make             ravel kernel build, its tests
xz                                  xz-utils         unpacks the modules of the guest kernel
NEEDS
}

# Prints the packages (or, with `commands`, the commands) that are missing. /usr/sbin is not in everybody's PATH.
missing() {
    local probe package
    while read -r probe package _; do
        case $probe in
            /*) [ -e "$probe" ] && continue ;;
            *) PATH=$PATH:/usr/sbin:/sbin command -v "$probe" >/dev/null && continue ;;
        esac
        if [ "${1:-}" = commands ]; then echo "$probe"; else echo "$package"; fi
    done < <(needs)
}

kernel_present() { [ -n "$(find "$KERNEL_DIR" -maxdepth 2 -name 'vmlinuz*' -size +1M 2>/dev/null)" ]; }

is_debian_12() {
    [ -r /etc/os-release ] || return 1
    (
        # shellcheck source=/dev/null
        . /etc/os-release
        [ "${ID:-}" = debian ] && [ "${VERSION_ID:-99}" -ge 12 ]
    )
}

setup() {
    [ "$(uname -s)/$(uname -m)" = Linux/x86_64 ] || refuse "Ravel is built and run on Linux on x86-64; this is $(uname -sm)"
    command -v git >/dev/null || refuse "git is missing"
    command -v dotnet >/dev/null || refuse "the .NET 10 SDK is missing: https://dotnet.microsoft.com/download"
    dotnet --version >/dev/null 2>&1 || refuse "the .NET SDK that global.json asks for is missing: $(dotnet --version 2>&1 | tail -n 1)"

    local packages
    packages=$(missing | sort -u | tr '\n' ' ')
    if [ -z "$packages" ]; then
        note "system packages: all there"
    elif is_debian_12; then
        step "Installing $packages"
        install_packages "$packages"
    else
        refuse "this is not Debian 12 or newer, so install these yourself: $(missing commands | tr '\n' ' ')"
    fi

    # A fresh container has no package lists; the kernel and the test images are downloaded by them.
    if is_debian_12 && ! apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1; then
        step "Reading the package lists"
        update_package_lists
    fi
    if kernel_present; then
        note "guest kernel: there"
    else
        step "Fetching the guest kernel"
        scripts/fetch-guest-kernel "$KERNEL_DIR"
    fi
}

update_package_lists() {
    local log=$ROOT/artifacts/setup.log
    mkdir -p "$ROOT/artifacts"
    as_root apt-get update >"$log" 2>&1 || fail "apt-get update failed: $(tail -n 1 "$log") (all of it: $log)"
}

install_packages() {
    local log=$ROOT/artifacts/setup.log had_registry=yes
    command -v docker-registry >/dev/null || had_registry=no
    # Old lists name versions that are gone.
    update_package_lists
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $1 >>"$log" 2>&1 ||
        fail "apt-get install failed: $(grep -m 1 '^E:' "$log" || tail -n 1 "$log") (all of it: $log)"
    # Debian starts a registry on port 5000 as soon as the package is there; the tests start their own.
    if [ $had_registry = no ] && [ -d /run/systemd/system ]; then
        as_root systemctl disable --quiet --now docker-registry.service >>"$log" 2>&1 || true
    fi
    [ -z "$(missing)" ] || fail "still missing after installing: $(missing | tr '\n' ' ')(see $log)"
    note "installed: $1"
}

# Runs setup when something is missing, and says nothing when nothing is.
ensure_setup() {
    if [ -n "$(missing)" ] || ! kernel_present || ! command -v dotnet >/dev/null; then
        setup
    fi
}

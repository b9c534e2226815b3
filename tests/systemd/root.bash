# Sourced by tests/systemd/run: a Debian with systemd as a directory, made once and kept.

# The host's own release where that is Debian: what was built here must find its C library there.
debian_suite() {
    local ID='' VERSION_CODENAME=''
    # shellcheck source=/dev/null
    [[ ! -r /etc/os-release ]] || source /etc/os-release
    if [[ -n ${WAYLEAVE_DEBIAN_SUITE:-} ]]; then echo "$WAYLEAVE_DEBIAN_SUITE"; return; fi
    if [[ $ID == debian && -n $VERSION_CODENAME ]]; then echo "$VERSION_CODENAME"; else echo bookworm; fi
}

# Prints the directory, or why there is none (and returns 1).
debian_root() {
    local cache=$1 suite packages=systemd,dbus,iproute2 root lock
    suite=$(debian_suite)
    root=$cache/debian-$suite-${packages//,/-}
    mkdir -p "$cache"
    # Two runs at once make one root.
    exec {lock}>"$cache/.debian-root.lock"
    flock "$lock"
    if [[ ! -d $root ]]; then
        if ! command -v debootstrap >/dev/null; then
            echo "debootstrap is missing (package debootstrap), and $root was not made before"
            return 1
        fi
        echo "making $root once (two minutes)" >&2
        rm -rf "$root.new"
        if ! timeout 900 debootstrap --variant=minbase --include=$packages "$suite" "$root.new" \
            ${WAYLEAVE_DEBIAN_MIRROR:+"$WAYLEAVE_DEBIAN_MIRROR"} >"$cache/debootstrap.log" 2>&1; then
            rm -rf "$root.new"
            echo "debootstrap failed: $(tail -n 1 "$cache/debootstrap.log") (all of it: $cache/debootstrap.log)"
            return 1
        fi
        rm -rf "$root.new"/var/cache/apt/archives/*.deb "$root.new"/var/lib/apt/lists/*
        mv -T "$root.new" "$root"
    fi
    exec {lock}>&-
    echo "$root"
}

#!/usr/bin/env bash
# Installs Wayleave on this host, or below a directory for a package. `--help` says more.
set -euo pipefail

source_dir=$(dirname "$(dirname "$(readlink -f "$0")")")

usage() {
    cat <<'TEXT'
Usage: packaging/install.sh [--destdir DIR] [--prefix DIR] [--bin-dir DIR] [--cni-dir DIR] [--uninstall]

Installs the programs built by `cargo build --release`, the systemd unit with its user, and the
settings by which networkd, NetworkManager and iproute2 know what is Wayleave's. Says what it did;
a second run changes nothing. It starts nothing: the last lines say how.

  --prefix DIR   where to install (/usr/local); configuration is in /etc all the same
  --destdir DIR  put before every path: for building a package; then nothing is told to systemd
  --bin-dir DIR  where the built programs are ($WAYLEAVE_BIN_DIR, else target/release)
  --cni-dir DIR  where container runtimes look for CNI plugins (/opt/cni/bin)
  --uninstall    removes what was installed; /etc/wayleave, /var/lib/wayleave and the user stay
TEXT
}

die() {
    echo "install.sh: $1" >&2
    exit 1
}

prefix=/usr/local
destdir=''
bin_dir=${WAYLEAVE_BIN_DIR:-${CARGO_TARGET_DIR:-$source_dir/target}/release}
cni_dir=/opt/cni/bin
uninstall=false
while (($#)); do
    case $1 in
        --destdir | --prefix | --bin-dir | --cni-dir)
            [[ -n ${2:-} ]] || die "$1 wants a directory"
            case $1 in
                --destdir) destdir=$(realpath -m -- "$2") ;;
                --prefix) prefix=$2 ;;
                --bin-dir) bin_dir=$2 ;;
                --cni-dir) cni_dir=$2 ;;
            esac
            shift
            ;;
        --uninstall) uninstall=true ;;
        --help | -h) usage; exit 0 ;;
        *) die "unknown argument $1 (see --help)" ;;
    esac
    shift
done
[[ $prefix == /* ]] || die "--prefix wants an absolute path, not $prefix"
[[ $cni_dir == /* ]] || die "--cni-dir wants an absolute path, not $cni_dir"
# They are written into the unit, where blanks, quotes and % have a meaning.
[[ $prefix =~ ^[A-Za-z0-9/._+-]+$ ]] || die "--prefix $prefix: only letters, digits and / . _ + - are possible"
prefix=${prefix%/}
if [[ -z $destdir ]] && ((EUID != 0)); then
    die "not root: run it by sudo, or give --destdir"
fi

# NetworkManager looks below /usr and /etc only.
if [[ $prefix == /usr ]]; then networkmanager=/usr/lib; else networkmanager=/etc; fi
doc=$prefix/share/doc/wayleave

packaging=$source_dir/packaging

# What goes where: modes, sources, destinations.
modes=() sources=() destinations=()
file() {
    modes+=("$1") sources+=("$2") destinations+=("$3")
}
file 755 "$bin_dir/wayleaved" "$prefix/bin/wayleaved"
file 755 "$bin_dir/wayleave" "$prefix/bin/wayleave"
file 755 "$bin_dir/wayleave-cni" "$cni_dir/wayleave-cni"
file 644 unit "$prefix/lib/systemd/system/wayleaved.service"
file 644 "$packaging/sysusers.d/wayleave.conf" "$prefix/lib/sysusers.d/wayleave.conf"
file 644 "$packaging/networkd/10-wayleave.conf" "$prefix/lib/systemd/networkd.conf.d/10-wayleave.conf"
file 644 "$packaging/networkd/10-wayleave.network" "$prefix/lib/systemd/network/10-wayleave.network"
file 644 "$packaging/networkmanager/10-wayleave.conf" "$networkmanager/NetworkManager/conf.d/10-wayleave.conf"
file 644 "$packaging/iproute2/wayleave.conf" /etc/iproute2/rt_protos.d/wayleave.conf
for document in LICENSE-MIT LICENSE-APACHE docs/first-steps.md docs/configuration.md \
    docs/cli.md docs/policy.md docs/rfcs.md docs/services.md docs/cni.md docs/systemd.md; do
    # A manual of a later version may have more pages; one of an earlier has fewer.
    [[ ! -e $source_dir/$document ]] || file 644 "$source_dir/$document" "$doc/${document##*/}"
done
for example in "$source_dir"/examples/*.toml; do
    [[ ! -e $example ]] || file 644 "$example" "$doc/examples/${example##*/}"
done
# Empty at first: the agent starts without configuration and says what to set.
directories=(/etc/wayleave /etc/wayleave/conf.d /etc/wayleave/services.d)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

unit() {
    sed "s|/usr/|$prefix/|g" "$source_dir/packaging/systemd/wayleaved.service"
}

# Is systemd running here, and are we installing for it?
live() {
    [[ -z $destdir && -d /run/systemd/system ]]
}

install_file() {
    local mode=$1 from=$2 to=$destdir$3 word=installed
    if [[ $from == unit ]]; then
        from=$scratch/unit
        unit >"$from"
    fi
    [[ -r $from ]] || die "$from is missing: run cargo build --release -p wayleave-agent -p wayleave-cni, or give --bin-dir"
    if [[ -f $to && ! -L $to ]] && cmp -s "$from" "$to" && [[ $(stat -c %a "$to") == "$mode" ]]; then
        echo "unchanged  $to"
        return
    fi
    [[ ! -e $to ]] || word=updated
    mkdir -p "$(dirname "$to")"
    # Beside it first: whoever starts the program meanwhile gets the old one or the new one.
    install -m "$mode" "$from" "$to.new"
    mv -fT "$to.new" "$to"
    printf '%-10s %s\n' "$word" "$to"
    changed=true
}

do_install() {
    local i directory
    changed=false
    umask 022
    for i in "${!modes[@]}"; do
        install_file "${modes[i]}" "${sources[i]}" "${destinations[i]}"
    done
    for directory in "${directories[@]}"; do
        [[ -d $destdir$directory ]] && continue
        install -d -m 755 "$destdir$directory"
        echo "created    $destdir$directory"
        changed=true
    done
    [[ -z $destdir ]] || return 0
    if ! getent passwd wayleave >/dev/null; then
        if command -v systemd-sysusers >/dev/null; then
            systemd-sysusers "$prefix/lib/sysusers.d/wayleave.conf" >/dev/null
        else
            useradd --system --user-group --no-create-home --home-dir /var/lib/wayleave \
                --shell /usr/sbin/nologin wayleave
        fi
        echo "created    user and group wayleave"
        changed=true
    fi
    if live; then
        ! $changed || systemctl daemon-reload
        echo
        if systemctl --quiet is-active wayleaved.service; then
            $changed && echo "wayleaved runs as it was: systemctl restart wayleaved (routes in the kernel stay)"
        else
            echo "next: systemctl enable --now wayleaved && wayleave status"
        fi
        if $changed && systemctl --quiet is-active systemd-networkd.service; then
            echo "networkd reads its new settings at its next start: systemctl restart systemd-networkd"
        fi
        if $changed && systemctl --quiet is-active NetworkManager.service; then
            echo "NetworkManager reads its new settings by: nmcli general reload conf"
        fi
    fi
    return 0
}

do_uninstall() {
    local to directory
    if live && [[ -e $prefix/lib/systemd/system/wayleaved.service ]]; then
        systemctl --quiet disable --now wayleaved.service
        echo "stopped    wayleaved.service"
    fi
    for to in "${destinations[@]}"; do
        if [[ -e $destdir$to || -L $destdir$to ]]; then
            rm -f "$destdir$to"
            echo "removed    $destdir$to"
        fi
    done
    for directory in "$doc/examples" "$doc" /etc/wayleave/services.d /etc/wayleave/conf.d /etc/wayleave \
        /etc/iproute2/rt_protos.d; do
        # What others put there stays, and so does the directory.
        rmdir "$destdir$directory" 2>/dev/null && echo "removed    $destdir$directory"
    done
    if live; then
        systemctl daemon-reload
        rm -rf /run/wayleave
    fi
    for directory in /etc/wayleave /var/lib/wayleave; do
        [[ ! -e $destdir$directory ]] || echo "kept       $destdir$directory"
    done
    return 0
}

if $uninstall; then do_uninstall; else do_install; fi

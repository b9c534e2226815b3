# Sourced by tests/systemd/run: boots the Debian, runs commands in it, powers it off.
#
# The root is the kept directory below an overlay in memory: a run starts from the same state and
# leaves nothing. However this script ends, `unshare` dies with it (a parent-death signal),
# systemd-nspawn with that, the container with the process namespace whose first process
# systemd-nspawn is, and the mounts with the mount namespace.

outer=''
leader=''
cgroups=()

# systemd-nspawn, told to ask no systemd for one, puts the container into the control group it runs
# in itself: that has to be one of its own, which can be removed.
own_cgroups() {
    local kind mount options directory
    while read -r _ mount kind options _; do
        [[ $kind == cgroup2 || ($kind == cgroup && ,$options, == *,name=systemd,*) ]] || continue
        for directory in "$mount"/wayleave-systemd-test.*; do
            ! is_stale "$directory" || remove_cgroup "$directory" || true
        done
        directory=$mount/wayleave-systemd-test.$$
        mkdir "$directory" 2>/dev/null || continue
        cgroups+=("$directory")
    done </proc/mounts
}

remove_cgroups() {
    local directory
    for directory in "${cgroups[@]}"; do
        # Empty once the last process is gone, which is a moment after its end.
        wait_for 5 remove_cgroup "$directory" || true
    done
    cgroups=()
}

# Of a control group only the directories can be removed, the innermost first.
remove_cgroup() {
    find "$1" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    [[ ! -d $1 ]]
}

# What a test that was killed could not remove any more is named after its process.
is_stale() {
    [[ -d $1 && ! -d /proc/${1##*.} ]]
}

remove_leftovers() {
    local directory
    for directory in "$cache"/systemd-test.*; do
        ! is_stale "$directory" || rm -rf --one-file-system "$directory"
    done
}

boot() {
    local directory
    mkdir "$scratch/memory" "$scratch/root"
    mount -t tmpfs -o mode=755 tmpfs "$scratch/memory"
    mkdir "$scratch/memory/upper" "$scratch/memory/work"
    mount -t overlay -o "lowerdir=$root,upperdir=$scratch/memory/upper,workdir=$scratch/memory/work" \
        overlay "$scratch/root"
    own_cgroups
    (
        for directory in "${cgroups[@]}"; do
            echo "$BASHPID" >"$directory/cgroup.procs"
        done
        # The hierarchy of control groups that hosts of today have, and systemd of late asks for.
        export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
        exec setpriv --pdeathsig KILL unshare --pid --fork --kill-child --mount-proc \
            systemd-nspawn --quiet --boot --directory="$scratch/root" --machine="wayleave-test-$$" \
            --register=no --keep-unit --private-network --console=pipe --bind-ro="$source_dir:/opt/wayleave" --bind-ro="$bin_dir:/opt/wayleave-bin"
    ) </dev/null >"$scratch/console" 2>&1 &
    outer=$!
    wait_for 20 find_leader && wait_for 30 booted
}

# systemd in the container: the child of systemd-nspawn, the child of unshare, once it is that.
find_leader() {
    local nspawn
    kill -0 "$outer" 2>/dev/null || return 1
    nspawn=$(child_of "$outer") && leader=$(child_of "$nspawn") &&
        [[ $(cat "/proc/$leader/comm" 2>/dev/null) == systemd ]]
}

child_of() {
    local children
    children=$(cat "/proc/$1/task/$1/children" 2>/dev/null)
    [[ -n $children ]] && echo "${children%% *}"
}

booted() {
    [[ $(guest systemctl is-system-running 2>/dev/null) == running ]]
}

# Runs a command in the container, as its root and with a clean environment.
guest() {
    nsenter --target "$leader" --mount --uts --ipc --net --pid --cgroup -- \
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C "$@"
}

# Writes its input to a file in the container.
guest_file() {
    guest sh -c 'mkdir -p "$(dirname "$1")" && cat >"$1"' sh "$1"
}

power_off() {
    if [[ -n $outer ]] && kill -0 "$outer" 2>/dev/null; then
        # systemd's signal for "power off"; and if that takes too long, the hard way.
        [[ -z $leader ]] || kill -RTMIN+4 "$leader" 2>/dev/null || true
        wait_for 15 gone "$outer" || kill -KILL "$outer" 2>/dev/null || true
        wait "$outer" 2>/dev/null || true
    fi
    outer=''
    remove_cgroups
}

gone() {
    local state
    state=$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) || return 0
    [[ -z $state || $state == Z ]]
}

# wait_for SECONDS COMMAND..: until the command succeeds; fails when it did not in that time.
wait_for() {
    local deadline=$((SECONDS + $1 + 1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

milliseconds() {
    echo $((${EPOCHREALTIME/./} / 1000))
}

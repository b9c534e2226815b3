# Sourced by tests/systemd/run: boots the Debian, runs commands in it, powers it off.
#
# The root is the kept directory below an overlay in memory: a run starts from the same state and
# leaves nothing. systemd-nspawn dies with this script however that ends (a parent-death signal),
# the container with systemd-nspawn, the mounts with the mount namespace.

nspawn=''
leader=''
cgroups=()

# systemd-nspawn puts the container into the control group it runs in itself when no systemd gives
# it one: that has to be one of its own, which can be removed.
own_cgroups() {
    local kind mount options directory
    [[ ! -d /run/systemd/system ]] || return 0
    while read -r _ mount kind options _; do
        [[ $kind == cgroup2 || ($kind == cgroup && ,$options, == *,name=systemd,*) ]] || continue
        remove_stale "$mount"/wayleave-systemd-test.*
        directory=$mount/wayleave-systemd-test.$$
        mkdir "$directory" 2>/dev/null || continue
        cgroups+=("$directory")
    done </proc/mounts
}

# Directories named after the process of a test that was killed.
remove_stale() {
    local directory
    for directory in "$@"; do
        [[ -d $directory && ! -d /proc/${directory##*.} ]] || continue
        # Of control groups only the directories can be removed.
        find "$directory" -depth -type d -exec rmdir {} + 2>/dev/null || rm -rf --one-file-system "$directory" || true
    done
}

remove_leftovers() {
    remove_stale "$cache"/systemd-test.*
}

remove_cgroups() {
    local directory
    for directory in "${cgroups[@]}"; do
        # Empty once the last process is gone, which is a moment after its end.
        wait_for 5 find "$directory" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    cgroups=()
}

boot() {
    local arguments=() directory
    mkdir "$scratch/memory" "$scratch/root"
    mount -t tmpfs -o mode=755 tmpfs "$scratch/memory"
    mkdir "$scratch/memory/upper" "$scratch/memory/work"
    mount -t overlay -o "lowerdir=$root,upperdir=$scratch/memory/upper,workdir=$scratch/memory/work" \
        overlay "$scratch/root"
    own_cgroups
    [[ -d /run/systemd/system ]] || arguments+=(--keep-unit)
    (
        for directory in "${cgroups[@]}"; do
            echo "$BASHPID" >"$directory/cgroup.procs"
        done
        exec setpriv --pdeathsig KILL systemd-nspawn --quiet --boot --directory="$scratch/root" \
            --machine="wayleave-test-$$" --register=no "${arguments[@]}" --private-network \
            --console=pipe --bind-ro="$source_dir:/opt/wayleave" --bind-ro="$bin_dir:/opt/wayleave-bin"
    ) </dev/null >"$scratch/console" 2>&1 &
    nspawn=$!
    wait_for 20 find_leader && wait_for 30 booted
}

# systemd in the container: the child of systemd-nspawn, once it is that.
find_leader() {
    local children
    kill -0 "$nspawn" 2>/dev/null || return 1
    children=$(cat "/proc/$nspawn/task/$nspawn/children" 2>/dev/null) || return 1
    leader=${children%% *}
    [[ -n $leader && $(cat "/proc/$leader/comm" 2>/dev/null) == systemd ]]
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
    if [[ -n $nspawn ]] && kill -0 "$nspawn" 2>/dev/null; then
        # systemd's signal for "power off"; and if that takes too long, the hard way.
        [[ -z $leader ]] || kill -RTMIN+4 "$leader" 2>/dev/null || true
        wait_for 15 gone "$nspawn" || kill -KILL "$nspawn" 2>/dev/null || true
        wait "$nspawn" 2>/dev/null || true
    fi
    nspawn=''
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

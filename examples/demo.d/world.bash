# The inside of the demo's world: private directories, hosts, containers, processes. Sourced by
# story.bash and enter.bash, which run in mount, network and pid namespaces made for the demo.
#
# A host is a network namespace (by name, as `ip netns` has it) and a mount namespace, in which
# /etc/wayleave, /run/wayleave and /var/lib/wayleave are its own: on it, all programs run with their
# default paths, as on a machine of yours.
#
# shellcheck disable=SC2034,SC2154 # variables are shared by all parts

# $scratch: a directory of this run. $bin: the programs.
inside=/run/demo

# /run, /etc and /var of the machine, with all changes kept to this world.
make_world() {
    local directory
    mount -t tmpfs -o mode=755 tmpfs /run
    for directory in /etc /var; do
        mkdir -p "/run/.over$directory/upper" "/run/.over$directory/work"
        mount -t overlay -o "lowerdir=$directory,upperdir=/run/.over$directory/upper,workdir=/run/.over$directory/work" \
            overlay "$directory"
    done
    mkdir -p "$inside/host" "$inside/pid" /run/netns /run/lock /etc/netns /etc/iproute2/rt_protos.d \
        /etc/wayleave /run/wayleave /var/lib/wayleave
    # Containers get a resolv.conf of their own over this one.
    rm -f /etc/resolv.conf
    touch /etc/resolv.conf
    # By this, `ip route` knows the routes of Wayleave by name (packaging/install.sh puts it there).
    cp "$here/../../packaging/iproute2/wayleave.conf" /etc/iproute2/rt_protos.d/
    ip link set lo up
}

make_host() {
    local name=$1
    ip netns add "$name"
    ip -n "$name" link set lo up
    # IPv6 waits a second or two before it uses an address, in case somebody else has it. Nobody
    # does here. And a port that is shut keeps its addresses.
    ip netns exec "$name" sysctl -qw net.ipv6.conf.{all,default}.accept_dad=0 \
        net.ipv6.conf.{all,default}.keep_addr_on_down=1
    mkdir -p "$scratch/$name/etc/services.d" "$scratch/$name/run" "$scratch/$name/state"
    # A process holds the mount namespace: a file cannot in every kernel (in Linux 6.18, mounting
    # /proc/PID/ns/mnt fails at random, because numbers of namespaces do not grow over all CPUs).
    # As a slave the namespace sees the network namespaces that `ip netns` mounts later.
    nsenter --net="/run/netns/$name" unshare --mount --propagation slave \
        sh -ec "mount -t sysfs sysfs /sys
            mount --bind '$scratch/$name/etc' /etc/wayleave
            mount --bind '$scratch/$name/run' /run/wayleave
            mount --bind '$scratch/$name/state' /var/lib/wayleave
            echo \$\$ >'$inside/host/$name'
            exec sleep infinity" </dev/null >"$scratch/said" 2>&1 &
    until_ok 5 "the host $name" test -s "$inside/host/$name"
}

# Is everything of a host wired: are all its interfaces up, and is no address still on trial? The
# kernel takes up to a second for the first links.
is_wired() {
    ip -n "$1" -j link | jq -e 'all(.[]; .ifname == "lo" or .operstate == "UP")' &&
        [[ -z $(ip -n "$1" -6 address show tentative) ]]
}

# A cable between two hosts, named after where it leads: cable h1 tor-port tor h1-port.
cable() {
    ip link add "$2" netns "$1" type veth peer name "$4" netns "$3"
}

address() {
    local host=$1 interface=$2 each
    for each in "${@:3}"; do
        ip -n "$host" address add "$each" dev "$interface"
    done
    ip -n "$host" link set "$interface" up
}

# Becomes a program on a host or in a container: PLACE PROGRAM...
enter() {
    if [[ -e $inside/host/$1 ]]; then
        exec nsenter --mount="/proc/$(<"$inside/host/$1")/ns/mnt" --net="/run/netns/$1" -- "${@:2}"
    fi
    exec ip netns exec "$@"
}

# Runs a program on a host or in a container.
on() {
    (enter "$@")
}

# Starts a daemon: NAME LOG PLACE PROGRAM... The number that is noted is the program's own: there
# is no shell between. It is checked upon by `alive`.
daemon() {
    local name=$1 log=$2
    enter "${@:3}" >>"$log" 2>&1 </dev/null &
    echo "$!" >"$inside/pid/$name"
    logs[$name]=$log
}
declare -A logs=()

pid_of() {
    cat "$inside/pid/$1"
}

alive() {
    kill -0 "$(pid_of "$1")" 2>/dev/null
}

# Ends a daemon: NAME SIGNAL. Waits for it; the result is its own.
end() {
    local pid
    pid=$(pid_of "$1")
    rm -f "$inside/pid/$1"
    kill "-$2" "$pid" && wait "$pid" 2>/dev/null
}

# ---- Steps that may fail.

# A step that failed: what, what agents, kernels and router say, and the ends of all logs.
fail() {
    local name host
    trap - ERR
    problem "$1"
    [[ ! -s $scratch/said ]] || { say '  The last attempt said:' && tail -n 15 "$scratch/said" | indent; }
    for host in "${hosts[@]}"; do
        [[ -e $inside/pid/wayleaved-$host ]] || continue
        ask "$host" wayleave peers
        ask "$host" wayleave problems
        ask "$host" ip -4 route show proto wayleave
        ask "$host" ip -6 route show proto wayleave
    done
    ask_router
    for name in "${!logs[@]}"; do
        [[ -s ${logs[$name]} ]] || continue
        say "  The end of the log of $name:"
        tail -n 12 "${logs[$name]}" | indent
    done
    exit 1
}

# Shows a command and what it says, whatever comes of it: ask h1 COMMAND...
ask() {
    say "  $1\$ ${*:2}"
    on "$1" timeout 5 "${@:2}" 2>&1 | indent || true
}

# Waits until a command succeeds: until_ok SECONDS WHAT COMMAND...
until_ok() {
    local deadline what=$2 seconds=$1 name
    clock
    deadline=$((now + seconds * 1000000))
    until "${@:3}" >"$scratch/said" 2>&1; do
        clock
        ((now < deadline)) || fail "$what: not within $seconds s"
        for name in "${!logs[@]}"; do
            [[ ! -e $inside/pid/$name ]] || alive "$name" || fail "$what: $name has ended by itself"
        done
        pause
    done
    : >"$scratch/said"
}

# Runs a command that has to succeed: must WHAT COMMAND...
must() {
    "${@:2}" >"$scratch/said" 2>&1 || fail "$1"
}

# Shows a command on a host or in a container and what it says: show h1 COMMAND...
show() {
    local place=$1
    shift
    say "    ${bold}$place\$${plain} $*"
    on "$place" "$@" >"$scratch/said" 2>&1 || fail "$* on $place"
    indent <"$scratch/said"
    : >"$scratch/said"
}

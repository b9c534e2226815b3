# What the demo shows, step by step. Called by examples/demo inside a world made for it:
#
#   story.bash frr|bird|none BIN SCRATCH KEEP
#
# shellcheck source-path=SCRIPTDIR disable=SC2317 # functions are called by name
set -Eeuo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=say.bash
source "$here/say.bash"
# shellcheck source=world.bash
source "$here/world.bash"
# shellcheck source=router.bash
source "$here/router.bash"
# shellcheck source=services.bash
source "$here/services.bash"

router=$1 bin=$2 scratch=$3 keep=$4
configs=$here/router
[[ $router != none ]] || configs=$here/mesh
export PATH="$bin:/usr/sbin:/usr/bin:/sbin:/bin"
cd /
# What fails without a word of ours is said by its place in this code.
trap 'fail "${BASH_SOURCE[0]##*/}, line $LINENO: $BASH_COMMAND"' ERR

hosts=(h1 h2 h3)
containers=(h1-web h2-web h3-client)
port=8080

main() {
    hosts_and_router
    agents
    attach_containers
    reach_each_other
    look_underneath
    service_appears
    backend_dies
    link_is_shut
    ! $keep || return 0
    take_down
}

# Keeps $us for the table at the end; of several under one name the longest counts.
measured() {
    echo "$1 $us" >>"$scratch/times"
}

# ---- The fabric.

hosts_and_router() {
    local begin
    clock
    begin=$now
    make_world
    make_fabric
    since "$begin"
    if [[ $router == none ]]; then
        chapter 'Three hosts on a switch'
        done_ 'h1, h2 and h3, each with its uplink to one network, IPv4 and IPv6' "$took"
    else
        chapter "Three hosts below a router: $router_text"
        done_ 'h1, h2 and h3, each with its own uplink to tor, IPv4 and IPv6; tor is ready for them' "$took"
        say "     tor's configuration: examples/demo.d/router/$router.conf"
    fi
}

agents() {
    local host
    chapter 'The agents start'
    say "     with ${configs#"$(dirname "$(dirname "$here")")"/}/h1.toml, h2.toml, h3.toml as /etc/wayleave/wayleave.toml"
    clock
    agents_began=$now
    for host in "${hosts[@]}"; do
        cp "$configs/$host.toml" "$scratch/$host/etc/wayleave.toml"
        daemon "wayleaved-$host" "$scratch/$host/log" "$host" wayleaved
    done
    for host in "${hosts[@]}"; do
        until_ok 20 "the agent of $host is ready" is_ready "$host"
    done
    since "$agents_began"
    done_ 'all three are ready: peers configured, kernel in sync' "$took"
    for host in "${hosts[@]}"; do
        until_ok 30 "the blocks of all hosts are in the kernel of $host" has_blocks "$host"
    done
    since "$agents_began"
    done_ 'every kernel has the blocks of the other hosts' "$took"
    show h1 wayleave peers
}

is_ready() {
    on "$1" wayleave status -o json | jq -e '.phase == "ready"'
}

# Are the other hosts' blocks of both families in the kernel of a host?
has_blocks() {
    local n
    for n in 1 2 3; do
        [[ $1 == "h$n" ]] || { has_route "$1" "10.1.$n.0/24" && has_route "$1" "fd00:1:0:$n::/64"; } ||
            { echo "$1 has no routes to both blocks of h$n"; return 1; }
    done
}

has_route() {
    local family=-4
    [[ $2 != *:* ]] || family=-6
    [[ $(ip -n "$1" "$family" route show "$2" proto 201) == *' via '* ]]
}

# ---- Containers.

# Executes the CNI plugin exactly as a runtime does: cni VERB [CONTAINER] [MORE]. The result is in $said.
cni() {
    local verb=$1 container=${2:-} more=${3:-'{}'} host network environment
    host=${container%%-*}
    [[ -n $host ]] || host=h1
    # The network out of the list that lies in /etc/cni/net.d, with its name and version.
    network=$(jq -c --argjson more "$more" \
        '{cniVersion, name} + .plugins[0] + $more' "$here/10-wayleave.conflist")
    environment=(PATH=/usr/sbin:/usr/bin:/sbin:/bin CNI_PATH="$bin" CNI_COMMAND="$verb")
    [[ -z $container ]] || environment+=(
        CNI_CONTAINERID="$container" CNI_NETNS="/run/netns/$container" CNI_IFNAME=eth0
    )
    clock
    local begin=$now status=0
    on "$host" env -i "${environment[@]}" "$bin/wayleave-cni" \
        <<<"$network" >"$scratch/cni.out" 2>"$scratch/said" || status=$?
    since "$begin"
    said=$(cat "$scratch/cni.out")
    ((status == 0)) || { echo "$said" >>"$scratch/said"; return "$status"; }
}

attach_containers() {
    local container
    chapter 'Containers are attached by the CNI plugin'
    say '     executed as a runtime does, with the network in examples/demo.d/10-wayleave.conflist'
    cni STATUS || fail 'CNI STATUS'
    for container in "${containers[@]}"; do
        ip netns add "$container"
        ip -n "$container" link set lo up
        cni ADD "$container" || fail "CNI ADD of $container"
        measured attached
        result[$container]=$said
        # What a runtime makes of it.
        mkdir -p "/etc/netns/$container"
        jq -r '.dns | (.nameservers[]? | "nameserver " + .), (.search // [] | select(. != []) | "search " + join(" "))' \
            <<<"$said" >"/etc/netns/$container/resolv.conf"
        v4[$container]=$(jq -r '[.ips[].address | select(contains(":") | not)][0] | sub("/.*"; "")' <<<"$said")
        v6[$container]=$(jq -r '[.ips[].address | select(contains(":"))][0] | sub("/.*"; "")' <<<"$said")
        done_ "$(printf '%-9s  %-10s %s' "$container" "${v4[$container]}" "${v6[$container]}")" "ADD $took"
    done
    for container in "${containers[@]}"; do
        cni CHECK "$container" "{\"prevResult\": ${result[$container]}}" || fail "CNI CHECK of $container"
    done
    done_ 'CNI CHECK finds all three as they should be'
}
declare -A result=() v4=() v6=()

start_backend() {
    daemon "$1" "$scratch/$1.log" "$1" perl "$here/serve.pl" "$1" "$port"
}

reach_each_other() {
    local container
    chapter 'They reach each other'
    for container in "${containers[@]}"; do
        start_backend "$container"
    done
    until_ok 20 'every container reaches every other' all_reached
    since "$agents_began"
    measured reached
    done_ 'every container pings every other and fetches from it by TCP, over IPv4 and IPv6'
    done_ 'every server saw the address of the container that asked: no NAT'
    done_ 'from the start of the first agent until all this was seen, attaching included' "$took"
    show h3-client curl --silent "http://${v4[h1-web]}:$port/"
    show h3-client curl --silent "http://[${v6[h2-web]}]:$port/"
}

# All at once: each takes a moment, and what is measured ends with the last.
all_reached() {
    local from probe probes=() status=0
    for from in "${containers[@]}"; do
        reaches_others "$from" &
        probes+=("$!")
    done
    for probe in "${probes[@]}"; do
        wait "$probe" || status=1
    done
    return "$status"
}

# By ping and TCP over both families, and is the sender known by its own address?
reaches_others() {
    local from=$1 to addresses=() urls=() expected='' answers
    for to in "${containers[@]}"; do
        [[ $to != "$from" ]] || continue
        addresses+=("${v4[$to]}" "${v6[$to]}")
        urls+=("http://${v4[$to]}:$port/" "http://[${v6[$to]}]:$port/")
        expected+="$to saw ${v4[$from]}"$'\n'"$to saw ${v6[$from]}"$'\n'
    done
    # shellcheck disable=SC2016 # for the inner shell
    on "$from" sh -c 'for each; do ping -nqc1 -W1 "$each" || exit; done' - "${addresses[@]}" || return 1
    answers=$(on "$from" curl --silent --show-error --max-time 2 "${urls[@]}") || return 1
    [[ $answers$'\n' == "$expected" ]] || { echo "$from heard $answers"; return 1; }
}

# Fetches by name: fetch FROM NAME [OPTION OF CURL...]
fetch() {
    on "$1" curl --silent --show-error --max-time 2 "${@:3}" "http://$2:$port/"
}

# ---- What lies underneath.

look_underneath() {
    local host kinds family
    chapter 'What lies underneath'
    for host in "${hosts[@]}"; do
        kinds=$(ip -n "$host" -d -j link | jq -r '[.[] | .linkinfo.info_kind // "none"] | unique - ["none", "veth"] | join(" ")')
        [[ -z $kinds ]] || fail "$host has interfaces of these kinds: $kinds"
        [[ -z $(on "$host" nft list ruleset) ]] || fail "$host has nft rules"
    done
    done_ 'the hosts have plain Ethernet only: no tunnel, no bridge; and no rule that could translate anything'
    must 'a full frame passes' on h1-web ping -nqc1 -W2 -M 'do' -s 1472 "${v4[h2-web]}"
    done_ 'a packet of 1500 octets passes from h1-web to h2-web in one piece: nothing is wrapped around it'
    for family in -4 -6; do
        show h1 ip "$family" route show proto wayleave
    done
    if [[ $router != none ]]; then
        for host in 10.1.{1,2,3}.0/24 fd00:1:0:{1,2,3}::/64; do
            until_ok 10 "tor has $host" router_has "$host"
        done
        show_router
        done_ 'tor has the same routes, learned from the hosts'
    fi
}

# ---- The end.

take_down() {
    local container host
    chapter 'Taken down in order'
    for container in "${containers[@]}"; do
        if [[ -e $inside/pid/$container ]]; then
            end "$container" TERM || true
        fi
        cni DEL "$container" "{\"prevResult\": ${result[$container]}}" || fail "CNI DEL of $container"
        done_ "$container is detached" "DEL $took"
        ip netns del "$container"
    done
    for host in "${hosts[@]}"; do
        until_ok 10 "the interfaces of $host's containers are gone" no_container_left "$host"
    done
    done_ 'no interface and no host route of a container is left on any host'
    for host in "${hosts[@]}"; do
        end "wayleaved-$host" TERM || fail "the agent of $host ended with $?"
    done
    done_ 'the agents ended as they were told to, with exit code 0'
}

no_container_left() {
    ! ip -n "$1" -o link | grep -v -e ' lo: ' -e ' uplink@' &&
        [[ -z $(ip -n "$1" route show proto 201 scope link) ]]
}

main; exit

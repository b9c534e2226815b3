# What is between the hosts: a router with a cable to each, or a switch. Sourced by story.bash.
# shellcheck disable=SC2034,SC2154 # variables are shared by all parts

make_fabric() {
    local n
    case $router in
        frr | bird)
            make_host tor
            on tor sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
            for n in 1 2 3; do
                make_host "h$n"
                cable "h$n" uplink tor "to-h$n"
                address "h$n" uplink "172.16.$n.1/24" "2001:db8:$n::1/64"
                address tor "to-h$n" "172.16.$n.254/24" "2001:db8:$n::254/64"
            done
            port_host=tor
            ;;
        none)
            make_host switch
            ip -n switch link add fabric type bridge
            ip -n switch link set fabric up
            for n in 1 2 3; do
                make_host "h$n"
                cable "h$n" uplink switch "to-h$n"
                ip -n switch link set "to-h$n" master fabric up
                address "h$n" uplink "172.16.0.$n/24" "2001:db8::$n/64"
            done
            port_host=switch
            ;;
    esac
    for n in 1 2 3; do
        # Where containers find the name server of their host.
        ip -n "h$n" address add 169.254.1.1/32 dev lo
    done
    for n in "$port_host" h1 h2 h3; do
        until_ok 5 "the links of $n are up" is_wired "$n"
    done
    [[ $router == none ]] || "start_$router"
}

# FRR as its package runs it: zebra and bgpd, the configuration loaded by vtysh. -N keeps its
# sockets and files apart under the router's name.
start_frr() {
    local daemon directory daemons=/usr/lib/frr
    for directory in /run/frr/tor /var/log/frr /var/lib/frr; do
        mkdir -p "$directory"
        chown frr:frr "$directory"
    done
    chown frr:frr /run/frr
    [[ -e /var/run/frr ]] || ln -s /run /var/run
    mkdir -p /etc/frr/tor
    cp "$configs/frr.conf" /etc/frr/tor/frr.conf
    echo 'service integrated-vtysh-config' >/etc/frr/tor/vtysh.conf
    # FRR 9 and later have a management daemon that the others need.
    for daemon in mgmtd zebra bgpd; do
        [[ -x $daemons/$daemon ]] || continue
        daemon "$daemon" "$scratch/$daemon.log" tor "$daemons/$daemon" -N tor --log stdout
        until_ok 15 "FRR's $daemon" vtysh_ -d "$daemon" -c 'show version'
    done
    must 'FRR takes its configuration' vtysh_ -b
    # For some seconds after that it refuses connections, in case more is configured. No fault of
    # the agents': their time starts when it is ready.
    until_ok 20 'FRR is ready for its neighbours' frr_is_ready
    router_text="stock FRR $("$daemons/bgpd" --version | sed -n '1s/.* //p')"
}

frr_is_ready() {
    vtysh_ -c 'show bgp summary json' | jq -e '[.[].peers[].state] | length == 6 and all(. != "Idle")'
}

vtysh_() {
    on tor vtysh -N tor "$@"
}

start_bird() {
    daemon bird "$scratch/bird.log" tor bird -f -c "$configs/bird.conf" -s /run/bird.ctl
    until_ok 15 BIRD birdc_ show status
    router_text="stock BIRD $(bird --version 2>&1 | sed 's/.* //')"
}

birdc_() {
    on tor birdc -s /run/bird.ctl "$@"
}

# The containers' routes in the router's own words.
show_router() {
    local family
    case $router in
        frr)
            for family in ip ipv6; do
                say "    ${bold}tor#${plain} show $family route bgp"
                vtysh_ -c "show $family route bgp" | grep '^B' | grep -v c1a1 | indent
            done
            ;;
        bird)
            say "    ${bold}bird>${plain} show route where source = RTS_BGP"
            birdc_ show route where source = RTS_BGP | grep -A1 -E '^(10\.1|fd00:1)' | grep -v '^--' | indent
            ;;
    esac
}

# Has the router a route to this prefix by BGP?
router_has() {
    case $router in
        frr)
            local family=ip
            [[ $1 != *:* ]] || family=ipv6
            vtysh_ -c "show $family route $1 json" | jq -e --arg p "$1" '.[$p] | any(.protocol == "bgp" and .installed)'
            ;;
        bird) birdc_ show route "$1" | grep -q '^[^ ]* *unicast \[h' ;;
    esac
}

# What it says of its neighbours, after a failure.
ask_router() {
    case $router in
        frr) [[ ! -e $inside/pid/bgpd ]] || ask tor vtysh -N tor -c 'show bgp summary' ;;
        bird) [[ ! -e $inside/pid/bird ]] || ask tor birdc -s /run/bird.ctl show protocols ;;
    esac
}

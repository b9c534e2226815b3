# Sourced by tests/systemd/run: what is held against the unit, in this order.

CHECKS=(
    install start sandbox api reload networkd cni clean_journal
    crash crash_loop watchdog bad_start stop uninstall
)

# expect SENTENCE COMMAND..: one check; what the command printed is shown when it fails.
expect() {
    local sentence=$1 output
    shift
    if output=$("$@" 2>&1); then
        ok "$sentence"
    else
        FAIL "$sentence"
        [[ -z $output ]] || sed 's/^/      /' <<<"$output"
        return 1
    fi
}

same() {
    [[ $1 == "$2" ]] || { echo "expected: $2"; echo "found:    $1"; return 1; }
}

property() {
    guest systemctl show --value --property="$1" wayleaved.service
}

active_with_another_pid_than() {
    local state
    # Both of one moment: in the next the old process may be declared dead.
    state=$(guest systemctl show --property=ActiveState,MainPID wayleaved.service)
    [[ $state == *ActiveState=active* && $'\n'$state$'\n' != *$'\n'MainPID=$1$'\n'* ]]
}

# A problem of the agent with this key stands; prints all of them otherwise.
problem() {
    local status
    status=$(guest wayleave status -o json) || [[ $? == 2 ]] || return 1
    jq -e --arg key "$1" 'any(.problems[]; .key == $key)' <<<"$status" >/dev/null ||
        { jq -c '.problems' <<<"$status"; return 1; }
}

no_problem() {
    ! problem "$1" >/dev/null
}

# Everything the unit has written or systemd has said about it.
journal() {
    guest journalctl --quiet --no-pager --output=cat "$@" _SYSTEMD_UNIT=wayleaved.service + UNIT=wayleaved.service
}

journal_has() {
    local lines
    lines=$(journal)
    grep -Eq "$1" <<<"$lines" || { tail -n 15 <<<"$lines"; return 1; }
}

start_or_show() {
    guest timeout 40 systemctl start wayleaved.service
}

# ---- The checks.

check_install() {
    local first second
    # The uplink: the router id comes from its address.
    guest ip link add uplink type veth peer name wire
    guest ip link set wire up
    guest ip link set uplink up
    guest ip address add 192.0.2.10/24 dev uplink
    first=$(guest env WAYLEAVE_BIN_DIR=/opt/wayleave-bin /opt/wayleave/packaging/install.sh 2>&1) || {
        FAIL "install.sh installs"
        echo "$first"
        return 1
    }
    ok "install.sh installs ($(grep -c '^installed' <<<"$first") files)"
    second=$(guest env WAYLEAVE_BIN_DIR=/opt/wayleave-bin /opt/wayleave/packaging/install.sh)
    expect "run again, it changes nothing" same "$(grep -Ec '^(installed|updated|created)' <<<"$second")" 0
    expect "systemd finds no fault in the unit" \
        same "$(guest systemd-analyze verify wayleaved.service 2>&1)" ''
    expect "the programs find their libraries there" guest wayleaved --version
    guest ip route add 198.51.100.0/24 dev uplink proto 201
    expect "iproute2 calls our protocol number by its name" same "$(our_routes)" 198.51.100.0/24
    guest ip route delete 198.51.100.0/24 dev uplink proto 201
    local score
    score=$(guest systemd-analyze security --no-pager wayleaved.service |
        sed -n 's/.*Overall exposure level for wayleaved.service: \([0-9.]*\).*/\1/p')
    expect "systemd-analyze security puts its exposure at $score of 10, 2.0 at most" \
        awk -v score="$score" 'BEGIN { exit !(score != "" && score <= 2.0) }'
}

our_routes() {
    guest ip route show proto wayleave | sed 's/^blackhole //' | awk '{ print $1 }'
}

# With the block of check_cni there is a route to be kept; else nothing would be shown.
expect_routes_kept() {
    if [[ -z $1 ]]; then
        skip_feature "routes in the kernel stay (this wayleaved installs none here)"
    else
        expect "routes in the kernel stayed ($1)" same "$(our_routes)" "$1"
    fi
}

check_start() {
    local begin
    expect "there is no configuration file" \
        same "$(guest find /etc/wayleave -type f)" ''
    begin=$(milliseconds)
    # With Type=notify this returns when READY=1 came, or fails.
    expect "it starts without one" start_or_show || return 1
    ok "READY after $(($(milliseconds) - begin)) ms"
    expect "it is active (running)" \
        same "$(property ActiveState) ($(property SubState))" 'active (running)'
    expect "it tells systemd how it is: $(property StatusText)" \
        grep -q established <<<"$(wait_for 5 status_text_has established; property StatusText)"
    expect "status says that there is no pool" problem config.no-pool
    expect "status says that there are no peers" problem config.no-peers
    expect "status without errors ends with 0" guest wayleave status -o json
}

status_text_has() {
    [[ $(property StatusText) == *"$1"* ]]
}

check_sandbox() {
    local pid status field
    pid=$(property MainPID)
    status=$(guest cat "/proc/$pid/status")
    # CAP_NET_BIND_SERVICE is bit 10, CAP_NET_ADMIN bit 12.
    for field in CapInh CapPrm CapEff CapBnd CapAmb; do
        expect "$field holds CAP_NET_ADMIN and CAP_NET_BIND_SERVICE only" \
            same "$(awk -v f="$field:" '$1 == f { print $2 }' <<<"$status")" 0000000000001400
    done
    expect "it runs as the user wayleave" \
        same "$(guest stat -c %U "/proc/$pid")" wayleave
    expect "it cannot gain privileges, and a filter of system calls is in place" \
        same "$(awk '/^(NoNewPrivs|Seccomp):/ { print $2 }' <<<"$status" | xargs)" '1 2'

    # The same sandbox, used by a script: first what the agent needs, then what it must not have.
    guest_file /run/systemd/system/wayleaved.service.d/probe.conf <<'CONF'
[Service]
ExecStartPost=/opt/wayleave/tests/systemd/probe /run/wayleave/probe
CONF
    guest_file /home/somebody/letter <<<"private"
    guest chmod -R a+rX /home/somebody
    # The probe proves a refusal only where the same thing works outside.
    guest /opt/wayleave/tests/systemd/probe /run/probe-outside
    guest systemctl daemon-reload
    expect "it restarts with a probe in its sandbox" guest timeout 40 systemctl restart wayleaved.service
    local inside outside want line
    inside=$(guest cat /run/wayleave/probe)
    outside=$(guest cat /run/probe-outside)
    while read -r want line; do
        if [[ $(grep -cxF "yes $line" <<<"$outside") != 1 ]]; then
            # A refusal that everybody meets proves nothing about the unit.
            skip "in the sandbox: $line (this container cannot either)"
        elif [[ $want == yes ]]; then
            expect "in the sandbox: can $line" grep -qxF "yes $line" <<<"$inside"
        else
            expect "in the sandbox: cannot $line" grep -qxF "no $line" <<<"$inside"
        fi
    done <"$here/probe.expected"
    guest rm -r /run/systemd/system/wayleaved.service.d /run/wayleave/probe
    guest systemctl daemon-reload
}

check_api() {
    guest useradd --no-create-home --groups wayleave member
    guest useradd --no-create-home stranger
    expect "the socket is for root, the agent and its group" \
        same "$(guest stat -c '%a %U %G' /run/wayleave/wayleave.sock)" '660 wayleave wayleave'
    expect "a member of the group wayleave can ask" as member wayleave status
    expect "anybody else cannot" same "$(as stranger wayleave status >/dev/null 2>&1; echo $?)" 3
    expect "state is the agent's own" same "$(guest stat -c '%a %U %G' /var/lib/wayleave)" '750 wayleave wayleave'
}

as() {
    guest setpriv --reuid="$1" --regid="$1" --init-groups --inh-caps=-all --bounding-set=-all -- "${@:2}"
}

check_reload() {
    local pid peers
    # The first peer also makes it listen, which may take a restart.
    guest_file /etc/wayleave/wayleave.toml <<'TOML'
[bgp]
asn = 64512

[[peer]]
name = "tor1"
address = "192.0.2.1"
asn = 65101
role = "host"
disabled = true # nobody is there, which would be an error after a while
TOML
    expect "it restarts with a configuration" guest timeout 40 systemctl restart wayleaved.service
    expect "and listens on port 179" grep -q . <<<"$(guest ss -Hltn 'sport = :179')"
    pid=$(property MainPID)
    guest_file /etc/wayleave/conf.d/tor2.toml <<'TOML'
[[peer]]
name = "tor2"
address = "192.0.2.2"
asn = 65101
role = "host"
disabled = true # nobody is there, which would be an error after a while
TOML
    expect "systemctl reload applies a change" guest systemctl reload wayleaved.service
    peers=$(peer_names)
    expect "the new peer is there" same "$peers" 'tor1 tor2'
    expect "it is the same process" same "$(property MainPID)" "$pid"

    guest_file /etc/wayleave/conf.d/wrong.toml <<<'[[peer]]
name = "other"
adress = "192.0.2.3"'
    expect "systemctl reload refuses a wrong one" \
        same "$(guest systemctl reload wayleaved.service >/dev/null 2>&1; echo $?)" 1
    expect "the journal says where it is wrong" journal_has 'wrong\.toml:3'
    expect "status says that the reload was refused" problem config.reload-refused
    expect "it runs on, the same process" same "$(property ActiveState) $(property MainPID)" "active $pid"
    expect "with the same peers" same "$(peer_names)" "$peers"
    guest rm /etc/wayleave/conf.d/wrong.toml
    expect "corrected, it reloads" guest systemctl reload wayleaved.service
    expect "and the problem is gone" no_problem config.reload-refused
    guest rm /etc/wayleave/conf.d/tor2.toml
    expect "SIGHUP alone reloads too" guest systemctl kill --kill-whom=main --signal=HUP wayleaved.service
    expect "and the peer that was taken out leaves" wait_for 5 eval '[[ $(peer_names) == tor1 ]]'
    expect "it is still the same process" same "$(property ActiveState) $(property MainPID)" "active $pid"
}

peer_names() {
    guest wayleave peers -o json | jq -r '[.. | objects | .name? | strings] | unique | join(" ")'
}

# networkd takes what is not its own from an interface when it configures that (again).
check_networkd() {
    local dropin=/usr/local/lib/systemd/networkd.conf.d/10-wayleave.conf
    if ! guest test -x /lib/systemd/systemd-networkd; then
        skip "networkd leaves our routes alone (it is not installed here)"
        return
    fi
    # It would put its own routes back and sweep others of its protocol: here that is networkd's part.
    guest systemctl stop wayleaved.service
    # IPv6, because IPv4 routes go with the last address, whoever made them.
    guest_file /run/systemd/network/all.network <<'NETWORK'
[Match]
Name=uplink way*
[Network]
IPv6AcceptRA=no
NETWORK
    guest ip link add way0123456789a type veth peer name inside
    guest ip link set inside up
    guest ip link set way0123456789a up
    expect "networkd, started, takes over the uplink" taken_over_by_networkd
    expect "and leaves our routes on it" same "$(our_routes_on_uplink)" 2001:db8:5::/48
    expect "and container interfaces to the agent" networkd_has way0123456789a unmanaged
    # Without our file it would not: or the check above would prove nothing.
    guest mv "$dropin" "$dropin.off"
    expect "taken over again without our drop-in" taken_over_by_networkd
    expect "it deletes them" wait_for 5 eval '[[ -z $(our_routes_on_uplink) ]]'
    guest mv "$dropin.off" "$dropin"
    guest systemctl stop systemd-networkd.service systemd-networkd.socket
    guest rm /run/systemd/network/all.network
    guest ip link delete way0123456789a
    guest ip address replace 192.0.2.10/24 dev uplink
    guest systemctl start wayleaved.service
}

# A strange address on the uplink shows when it is done.
taken_over_by_networkd() {
    guest ip route replace 2001:db8:5::/48 dev uplink proto 201
    guest ip address replace 203.0.113.7/32 dev uplink
    guest systemctl restart systemd-networkd.service || return 1
    wait_for 10 networkd_has uplink configured || return 1
    guest networkctl reconfigure uplink || return 1
    wait_for 10 eval '! guest ip address show dev uplink | grep -F 203.0.113.7' || return 1
    wait_for 10 networkd_has uplink configured
}

our_routes_on_uplink() {
    guest ip -6 route show dev uplink proto wayleave | awk '{ print $1 }'
}

networkd_has() {
    guest networkctl --no-legend --no-pager list "$1" | awk -v state="$2" '{ exit $5 != state }'
}

check_cni() {
    local answer
    if ! guest test -S /run/wayleave/cni.sock; then
        skip_feature "the CNI plugin (this wayleaved has no CNI socket)"
        return
    fi
    expect "the CNI socket is for root and the agent" \
        same "$(guest stat -c '%a %U' /run/wayleave/cni.sock)" '600 wayleave'
    answer=$(plugin STATUS) || true
    expect "CNI STATUS answers 50" same "$(jq .code <<<"$answer")" 50
    expect "and says that no pool is configured" grep -qi 'no pool' <<<"$answer"

    # What the sandbox must let through for the agent's whole purpose.
    guest_file /etc/wayleave/conf.d/pool.toml <<'TOML'
[[pool]]
name = "default"
cidr = ["10.1.0.0/16"]

[[block]]
prefix = "10.1.7.0/24"
TOML
    expect "it restarts with a pool" guest timeout 40 systemctl restart wayleaved.service
    expect "CNI STATUS is content" plugin STATUS
    guest ip netns add box
    guest ip -n box link set lo up
    answer=$(plugin ADD) || true
    expect "CNI ADD gives an address of the host's block" \
        grep -Eq '^10\.1\.7\.[0-9]+/32$' <<<"$(jq -r '.ips[0].address' <<<"$answer")" || sed 's/^/      /' <<<"$answer"
    expect "the container reaches the host" wait_for 5 box_reaches_host
    expect "it restarts with a container" guest timeout 40 systemctl restart wayleaved.service
    expect "the container still reaches the host" wait_for 5 box_reaches_host
    expect "CNI DEL detaches it" plugin DEL
    expect "and its interface is gone" \
        wait_for 5 eval '[[ -z $(guest ip -o link show type veth | grep -o " way[0-9a-f]*@") ]]'
    guest ip netns delete box
}

plugin() {
    guest env CNI_COMMAND="$1" CNI_PATH=/opt/cni/bin CNI_CONTAINERID=box CNI_NETNS=/run/netns/box CNI_IFNAME=eth0 \
        timeout 30 /opt/cni/bin/wayleave-cni <<<'{"cniVersion": "1.1.0", "name": "fabric", "type": "wayleave-cni"}'
}

# The agent itself is what listens.
box_reaches_host() {
    guest ip netns exec box timeout 2 bash -c ': <>/dev/tcp/192.0.2.10/179'
}

# Something that the programs under test do not have: no fault of this machine, so also in CI.
skip_feature() {
    echo "skip  $1"
    skipped=$((skipped + 1))
}

# Of a start of its own: before, wrong configurations were refused, which is to be in the journal.
check_clean_journal() {
    expect "it restarts on request" guest timeout 40 systemctl restart wayleaved.service
    local invocation
    invocation=$(property InvocationID)
    expect "the journal of this start has lines of ours" \
        grep -q 'ready after' <<<"$(guest journalctl --quiet --no-pager --output=cat "_SYSTEMD_INVOCATION_ID=$invocation")"
    expect "and none of them, nor of systemd's about it, is an error" no_errors "$invocation"
}

no_errors() {
    local lines
    lines=$(
        guest journalctl --quiet --no-pager --priority=warning "_SYSTEMD_INVOCATION_ID=$1" + "INVOCATION_ID=$1"
        guest journalctl --quiet --no-pager --output=cat "_SYSTEMD_INVOCATION_ID=$1" + "INVOCATION_ID=$1" |
            grep -E '^[^ ]+ ERROR |panic' || true
    )
    same "$lines" ''
}

check_crash() {
    local pid begin routes
    routes=$(our_routes)
    pid=$(property MainPID)
    begin=$(milliseconds)
    guest systemctl kill --kill-whom=main --signal=KILL wayleaved.service
    expect "killed (SIGKILL), it is replaced" wait_for 10 active_with_another_pid_than "$pid" || return 1
    ok "ready again after $(($(milliseconds) - begin)) ms"
    expect "the new one answers" guest wayleave status
    expect_routes_kept "$routes"
}

check_crash_loop() {
    local pid n
    for n in 1 2 3 4 5 6 7 8; do
        pid=$(property MainPID)
        guest systemctl kill --kill-whom=main --signal=KILL wayleaved.service
        wait_for 10 active_with_another_pid_than "$pid" || break
    done
    expect "killed eight times in a row, systemd does not give up" \
        same "$n $(property ActiveState)" "8 active"
}

check_watchdog() {
    local pid begin took
    pid=$(property MainPID)
    begin=$(milliseconds)
    guest systemctl kill --kill-whom=main --signal=STOP wayleaved.service
    expect "hung (SIGSTOP), it is replaced" wait_for 30 active_with_another_pid_than "$pid" || return 1
    took=$(($(milliseconds) - begin))
    ok "after $took ms"
    expect "by the watchdog" journal_has 'Watchdog timeout'
    expect "the new one answers" guest wayleave status
}

check_bad_start() {
    guest_file /etc/wayleave/conf.d/wrong.toml <<<'[bgp]
asn = "many"'
    # It fails at once and is tried again and again: systemctl returns with the first failure.
    expect "with a wrong configuration it does not start" \
        same "$(guest timeout 40 systemctl restart wayleaved.service >/dev/null 2>&1; echo $?)" 1
    expect "and says where" journal_has 'wrong\.toml:2'
    expect "systemd goes on trying" wait_for 10 tried_often
    guest rm /etc/wayleave/conf.d/wrong.toml
    expect "and succeeds when it is corrected, with no hand on it" wait_for 10 is_active
}

tried_often() {
    (($(property NRestarts) >= 7))
}

is_active() {
    [[ $(property ActiveState) == active ]]
}

check_stop() {
    local begin took invocation routes
    routes=$(our_routes)
    invocation=$(property InvocationID)
    begin=$(milliseconds)
    expect "it stops" guest timeout 40 systemctl stop wayleaved.service
    took=$(($(milliseconds) - begin))
    expect "in time: $took ms, 5000 at most" test $took -le 5000
    expect "cleanly" same \
        "$(property ActiveState) $(property Result) $(property ExecMainStatus)" 'inactive success 0'
    expect "and says so" grep -q 'stopped' <<<"$(guest journalctl --quiet --no-pager --output=cat "_SYSTEMD_INVOCATION_ID=$invocation")"
    expect "without an error in the journal" no_errors "$invocation"
    expect "no process is left" same "$(guest find /proc -maxdepth 1 -user wayleave 2>&1)" ''
    expect "no socket is left" same "$(guest find /run/wayleave -type s)" ''
    expect_routes_kept "$routes"
    expect "and wayleave says that nobody answers" \
        same "$(guest wayleave status >/dev/null 2>&1; echo $?)" 3
}

check_uninstall() {
    local left
    guest timeout 40 systemctl enable --now --quiet wayleaved.service
    expect "install.sh --uninstall stops and removes" \
        guest env WAYLEAVE_BIN_DIR=/opt/wayleave-bin /opt/wayleave/packaging/install.sh --uninstall
    left=$(guest find /usr/local /opt/cni /etc /run /lib/systemd -iname '*wayleave*' | sort | xargs)
    expect "configuration stays, and nothing else" same "$left" '/etc/wayleave /etc/wayleave/wayleave.toml'
    expect "and state" guest test -d /var/lib/wayleave
    expect "systemd knows it no more" same "$(property LoadState)" not-found
}

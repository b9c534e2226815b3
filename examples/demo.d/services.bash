# Services: how they appear, die, and leave with their host. Sourced by story.bash.
# shellcheck disable=SC2034,SC2154 # variables are shared by all parts

# As every host answers it. In containers `web` is enough: their resolv.conf has the rest.
full_name=web.default.svc.wayleave.internal
both=(h1-web h2-web)
# From the beginning of one check to that of the next, and how many in a row must fail.
interval=500ms
fall=2

# ---- A service appears.

service_appears() {
    local family
    chapter 'A service appears'
    register h1 h1-web
    register h2 "${both[@]}"
    show h3-client cat /etc/resolv.conf
    for family in A AAAA; do
        show h3-client dig +short "$full_name" "$family"
    done
    show h3-client dig +short "_http._tcp.$full_name" SRV
    show h3 wayleave services
    show h3 wayleave endpoints
    until_ok 20 "both backends answer to http://web:$port/" both_answer_by_name
    done_ "h3-client fetches http://web:$port/ over IPv4: both backends have answered"
    # Over IPv6 this name alone would not do: whatever the order in DNS, the C library puts that
    # address first which has more in common with its own (RFC 6724, rule 9).
    until_ok 20 'both backends answer to the names in SRV' both_answer_by_srv
    done_ 'and every name and port that SRV gives: both have answered over IPv4 and IPv6'
}

# Registers `web` on a host, at the addresses of its container: register HOST, and who is to be
# found then. Measured: from the command until a container on another host resolves the name to it.
register() {
    local began container=$1-web
    clock
    began=$now
    show "$1" wayleave register web --address "${v4[$container]}" --address "${v6[$container]}" \
        --port "http=$port/tcp" --check http=/healthz --interval "$interval" --fall "$fall"
    until_ok 10 "h3-client resolves web to ${*:2}" web_is h3-client "${@:2}"
    since "$began"
    measured registered
    done_ "checked, announced, and resolved by h3-client to both addresses of $container" "$took"
}

# Resolves a container the name to exactly these backends, IPv4 and IPv6? web_is CONTAINER BACKEND...
web_is() {
    local found expected
    found=$(on "$1" dig +short +tries=1 +time=1 "$full_name" A "$full_name" AAAA | sort)
    expected=$(for backend in "${@:2}"; do printf '%s\n' "${v4[$backend]}" "${v6[$backend]}"; done | sort)
    [[ $found == "$expected" ]] || { echo "$1 resolves web to" "${found:-nothing}"; return 1; }
}

# Fetches once; have both answered by now?
both_answer_by_name() {
    local answer
    answer=$(fetch h3-client web -4) || return 1
    echo "${!answered[*]} answered, then: $answer"
    [[ $answer == *" saw ${v4[h3-client]}" ]] && answered[${answer%% *}]=1 && ((${#answered[@]} == 2))
}
declare -A answered=()

both_answer_by_srv() {
    local at target urls=() found expected
    while read -r _ _ at target; do
        urls+=("http://${target%.}:$at/")
    done < <(on h3-client dig +short +tries=1 +time=1 "_http._tcp.$full_name" SRV)
    echo "SRV leads to ${urls[*]:-nothing}"
    found=$(on h3-client curl --silent --show-error --max-time 2 "${urls[@]}" | sort)
    expected=$(for backend in "${both[@]}"; do
        printf '%s\n' "$backend saw ${v4[h3-client]}" "$backend saw ${v6[h3-client]}"
    done)
    echo "and there $found"
    [[ $found == "$expected" ]]
}

# ---- A backend dies.

backend_dies() {
    local began
    chapter 'A backend dies'
    keep_fetching "http://web:$port/"
    say "    kill -KILL $(pid_of h2-web), the server in h2-web"
    clock
    began=$now
    end h2-web KILL || true
    until_ok 10 'h2-web leaves DNS' web_is h3-client h1-web
    since "$began"
    measured dead
    done_ "from its death until h3-client resolves web to h1-web alone" "$took"
    say "     (it was checked every $interval; $fall failures in a row count)"
    show h2 wayleave services --local
    # One request may have been with the server when it was killed.
    stop_fetching 1 'fetches by name from h3-client meanwhile'
    must 'only h1-web answers' only_answer h1-web
    done_ 'from now on the name leads to h1-web only: 10 fetches, IPv4 and IPv6'

    clock
    began=$now
    start_backend h2-web
    until_ok 10 'h2-web returns to DNS' web_is h3-client "${both[@]}"
    since "$began"
    done_ 'h2-web is started again: from there until it is back in DNS' "$took"
}

# Do fetches by name reach one backend alone?
only_answer() {
    local answer try family
    for try in 1 2 3 4 5; do
        for family in 4 6; do
            answer=$(fetch h3-client web "-$family") || return 1
            echo "fetch $try over IPv$family: $answer"
            [[ ${answer%% *} == "$1" ]] || return 1
        done
    done
}

# Fetches from h3-client again and again, twenty times a second at most, until stop_fetching.
keep_fetching() {
    : >"$scratch/fetched"
    # shellcheck disable=SC2016 # for the inner shell
    daemon fetching "$scratch/fetched" h3-client \
        sh -c 'while :; do curl --silent --show-error --max-time 2 "$1" || true; sleep 0.05; done' - "$1"
}

# stop_fetching HOW-MANY-MAY-FAIL WHAT
stop_fetching() {
    local all failed
    end fetching TERM || true
    all=$(wc -l <"$scratch/fetched")
    failed=$(grep -vc ' saw ' "$scratch/fetched") || true
    ((all > 0 && failed <= $1)) || fail "$failed of $all $2 failed"
    done_ "$all $2, $failed failed"
}

# ---- A link is shut.

link_is_shut() {
    local began host
    chapter "The link of h2 is shut"
    keep_fetching "http://${v4[h1-web]}:$port/"
    clock
    began=$now
    show "$port_host" ip link set to-h2 down
    for host in h1 h3; do
        until_ok 20 "$host drops the routes of h2" has_no_blocks "$host" 2
    done
    since "$began"
    measured lost
    done_ 'until the blocks of h2 are gone from the kernels of h1 and h3' "$took"
    if [[ $router == none ]]; then
        say '     (a switch tells nobody: it is the hold time, 3 s, that ends the sessions)'
    else
        say '     (tor loses a port, and with it the sessions there; it withdraws what it had from them)'
    fi
    until_ok 20 'h2-web leaves DNS with its host' web_is h3-client h1-web
    since "$began"
    measured lost
    done_ 'until h3-client resolves web to h1-web alone' "$took"
    until_ok 30 'h2 knows that it is alone' web_is h2-web h2-web
    since "$began"
    done_ 'until h2, cut off, knows that it is alone: its name server answers with h2-web only' "$took"
    [[ $router == none ]] || say '     (here it is the hold time that ends the sessions, 9 s)'
    stop_fetching 0 'fetches from h1-web by h3-client meanwhile'

    clock
    began=$now
    show "$port_host" ip link set to-h2 up
    until_ok 30 'all blocks return to all kernels' all_have_blocks
    since "$began"
    done_ 'until every kernel has the blocks of the other hosts again' "$took"
    [[ $router != frr ]] || say '     (of this FRR takes a second, before it tells a new neighbour what it has)'
    until_ok 30 'h2-web returns to DNS' web_is h3-client "${both[@]}"
    until_ok 30 'h2 finds the others again' web_is h2-web "${both[@]}"
    since "$began"
    done_ 'until both sides have both backends in DNS' "$took"
    until_ok 30 'every container reaches every other' all_reached
    since "$began"
    measured healed
    done_ 'until every container has reached every other by ping and TCP, IPv4 and IPv6: healed' "$took"
}

all_have_blocks() {
    local host
    for host in "${hosts[@]}"; do
        has_blocks "$host" || return 1
    done
}

# has_no_blocks HOST N: no block of hN?
has_no_blocks() {
    ! has_route "$1" "10.1.$2.0/24" && ! has_route "$1" "fd00:1:0:$2::/64"
}

# Narration, time and waiting. Sourced by all parts of the demo.
# shellcheck disable=SC2034,SC2154 # variables are shared by all parts

if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
    bold='' dim='' green='' red='' plain=''
fi
# The decimal point of $EPOCHREALTIME, and what programs print.
export LC_ALL=C

say() {
    printf '%s\n' "$1"
}

chapter() {
    printf '\n%s\n' "$bold$1$plain"
}

# Something is shown to be so; with a time if there is one.
done_() {
    printf '  %sok%s %s%s\n' "$green" "$plain" "$1" "${2:+  ${bold}$2$plain}"
}

problem() {
    printf '  %sFAILED%s %s\n' "$red" "$plain" "$1"
}

indent() {
    sed "s/^/      $dim/; s/\$/$plain/"
}

die() {
    printf '%s\n' "examples/demo: $1" >&2
    exit 1
}

# $now: microseconds.
clock() {
    now=${EPOCHREALTIME/./}
}
clock

# $us: microseconds since an earlier $now. $took: the same for people.
since() {
    clock
    us=$((now - $1))
    for_people "$us"
}

# $took: microseconds for people.
for_people() {
    if (($1 < 100000)); then
        printf -v took '%d.%d ms' $(($1 / 1000)) $(($1 / 100 % 10))
    else
        printf -v took '%d.%02d s' $(($1 / 1000000)) $(($1 / 10000 % 100))
    fi
}

# 20 ms, without a process of its own: nothing ever comes out of this pipe.
exec {never}<> <(:)
pause() {
    read -rt 0.02 -u "$never" || true
}

# Inside a kept demo: runs a command on a host or in a container. Called by examples/demo.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=say.bash
source "$here/say.bash"
# shellcheck source=world.bash
source "$here/world.bash"
bin=$1 place=$2
shift 2
export PATH="$bin:/usr/sbin:/usr/bin:/sbin:/bin" PS1="$place# "
[[ -e /run/netns/$place ]] || die "there is no $place; there are: $(echo /run/netns/* | sed 's,/run/netns/,,g')"
# These would lead back out.
unset WAYLEAVE_SOCKET http_proxy all_proxy ALL_PROXY
enter "$place" "$@"

# Entry point of the DinD container (`sh -c`): the files of this folder, one behind the other; the last one runs them.
# POSIX sh, for Debian's dash as well as for the busybox of `docker:dind`.
set -eu
umask 022

# What stands behind «; type: » is the next command for a person.
die() {
    echo "berth: $*" >&2
    exit 1
}

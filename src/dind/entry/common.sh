# Entry point of the DinD container (`sh -c`): the files of this folder, one behind the other; the last one runs them.
# POSIX sh, for Debian's dash as well as for the busybox of `docker:dind`.
set -eu
umask 022
# PID 1 has no default for these: without it the engine would wait for all of its time.
trap 'exit 143' TERM INT

# The last words: berth tells them as the cause, and what stands behind «; type: » as the next command.
die() {
    echo "berth: $*" >&2
    exit 1
}

# What is no reason to end.
note() {
    echo "berth: note: $*" >&2
}

# Control groups: makes the container's own writable, and hands its controllers on to nested containers.

cgroups=/sys/fs/cgroup

# `remount` without `bind` is about the file system as a whole: others use that, and in a user namespace it is refused.
make_writable() {
    mount -o remount,bind,rw "$1" || die "cannot make $1 writable"
}

# Moves every process of the container's own group into a child.
move_processes() {
    while read -r pid; do
        # A process that has ended meanwhile cannot be moved.
        echo "$pid" >"$cgroups/init/cgroup.procs" || :
    done <"$cgroups/cgroup.procs"
} 2>/dev/null

# hand_out "+CONTROLLER …": in one write, which takes all of them or none.
#
# A group that holds processes may not hand its controllers on. It has to be empty before the first: of a group with
# processes `cpu`, `cpuset` and `pids` would make a threaded one, out of which nothing can be moved any more. Processes
# that the engine adds meanwhile (a health check) make the write fail with EBUSY, hence the attempts.
hand_out() {
    attempt=0
    while [ "$attempt" -lt 50 ]; do
        attempt=$((attempt + 1))
        move_processes
        ! { echo "$1" >"$cgroups/cgroup.subtree_control"; } 2>/dev/null || return 0
        # An empty group that refuses goes on refusing.
        [ "$attempt" -lt 3 ] || [ -n "$(cat "$cgroups/cgroup.procs")" ] || return 1
    done
    return 1
}

hand_on_v2() {
    make_writable "$cgroups"
    mkdir -p "$cgroups/init" || die "cannot make a control group below $cgroups"
    controllers=$(cat "$cgroups/cgroup.controllers")
    absent=
    for controller in cpu memory pids; do
        case " $controllers " in *" $controller "*) ;; *) absent="$absent $controller" ;; esac
    done
    [ -z "$absent" ] || note "the engine hands on no control group controllers$absent; their limits cannot be set"
    ! hand_out "$(echo "$controllers" | sed 's/[^ ][^ ]*/+&/g')" || return 0
    enabled=
    missing=
    for controller in $controllers; do
        if hand_out "+$controller"; then enabled="$enabled $controller"; else missing="$missing $controller"; fi
    done
    [ -n "$enabled" ] || die "cannot enable the controllers of $cgroups ($controllers)"
    note "cannot enable the control group controllers$missing; their limits cannot be set"
}

# Each controller is a mount of its own.
hand_on_v1() {
    make_writable "$cgroups"
    for controller in "$cgroups"/*/; do
        [ -L "${controller%/}" ] || make_writable "${controller%/}"
    done
}

hand_on_cgroups() {
    if [ -f "$cgroups/cgroup.controllers" ]; then hand_on_v2; else hand_on_v1; fi
}

# crun insists on the controller `io`, which engines without root mostly lack.
crun_works() {
    command -v crun >/dev/null || return
    [ -f "$cgroups/cgroup.controllers" ] || return 0
    grep -qw io "$cgroups/cgroup.controllers"
}

# Makes the container fit for a nested dockerd, then becomes it.
#
# BERTH_BIP: the address of the nested bridge and its prefix (CIDR). BERTH_POOLS: what other networks are made of («CIDR:PREFIX …»).

certs=/berth/certs

check_certificates() {
    for file in ca.pem server-cert.pem server-key.pem; do
        [ -s "$certs/$file" ] || die "$certs/$file is missing; type: berth up"
    done
}

# A daemon that was killed leaves these behind; the numbers in them mean other processes by now.
remove_remains() {
    rm -f /var/run/docker.pid /var/run/docker/containerd/containerd.pid /run/containerd/containerd.pid
    rm -f /var/run/docker.sock
}

# The largest packet that leaves the container by any of its interfaces. What nested containers send must fit.
smallest_mtu() {
    for interface in /sys/class/net/eth*; do
        ! cat "$interface/mtu" 2>/dev/null || :
    done | sort -n | head -n 1
}

# become COMMAND…: PID 1 has to reap what the containers' shims leave behind, and few programs do.
become() {
    for init in docker-init tini; do
        ! command -v "$init" >/dev/null || exec "$init" -- "$@"
    done
    # A shell that waits for one process reaps them all.
    "$@" &
    daemon=$!
    trap 'kill "$daemon"' TERM INT
    # A signal ends the waiting, and not the process.
    while kill -0 "$daemon" 2>/dev/null; do
        status=0
        wait "$daemon" || status=$?
    done
    exit "$status"
}

main() {
    check_certificates
    remove_remains
    hand_on_cgroups
    build_walls
    keep_apart
    use_profile
    choose_ids
    answer_names

    set -- dockerd \
        --host unix:///var/run/docker.sock --host tcp://0.0.0.0:2376 \
        --tlsverify --tlscacert "$certs/ca.pem" --tlscert "$certs/server-cert.pem" --tlskey "$certs/server-key.pem" \
        --icc=false --userland-proxy=false --live-restore=false
    [ -z "${BERTH_BIP:-}" ] || set -- "$@" --bip "$BERTH_BIP"
    [ -z "$resolver" ] || set -- "$@" --dns "$resolver"
    for pool in ${BERTH_POOLS:-}; do
        set -- "$@" --default-address-pool "base=${pool%:*},size=${pool#*:}"
    done
    mtu=$(smallest_mtu)
    [ -z "$mtu" ] || set -- "$@" --mtu "$mtu"
    # It starts a container in two thirds of runc's time, and an exec in half of it.
    if crun_works; then
        unnamed_crun
        real=/berth/crun
        set -- "$@" --add-runtime crun=/berth/crun
        default=crun
    else
        real=$(command -v runc) || die "the image has neither crun nor runc"
        default=runc
    fi
    # Session containers: the keeper looks at each before it runs, and has this one do the rest.
    { ln -sf "$real" /berth/oci && ln -sf keeper /berth/runtime; } || die "cannot give berth's runtime its path"
    # Former berths ask for it by the first name.
    set -- "$@" --add-runtime berth=/berth/runtime --add-runtime berth-2=/berth/runtime --add-runtime berth-3=/berth/runtime
    # Containers that share a network ask for it by this one: former daemons do not know them.
    set -- "$@" --add-runtime berth-peers=/berth/runtime
    # All others: each has a user namespace, too, with a count of its own for what the kernel counts.
    if [ -n "$ids" ]; then
        ln -sf keeper /berth/plain || die "cannot give berth's runtime its path"
        set -- "$@" --userns-remap berth --add-runtime plain=/berth/plain
        default=plain
    fi
    set -- "$@" --default-runtime "$default"

    # A kernel of its own for each container that is to have one.
    if gvisor=$(command -v runsc); then
        { ln -sf "$gvisor" /berth/gvisor && ln -sf keeper /berth/runtime-gvisor; } ||
            die "cannot give berth's runtime for gVisor its path"
        set -- "$@" --add-runtime berth-gvisor=/berth/runtime-gvisor
    fi

    become "$@"
}

main

# Entry point of the DinD container (`sh -c`): makes the container fit for a nested dockerd, then becomes it.
# POSIX sh, for Debian's dash as well as for the busybox of `docker:dind`.
set -eu
umask 022

certs=/berth/certs
cgroups=/sys/fs/cgroup

die() {
    echo "berth: $*" >&2
    exit 1
}

for file in ca.pem server-cert.pem server-key.pem; do
    [ -s "$certs/$file" ] || die "$certs/$file is missing; type: berth up"
done

# A daemon that was killed leaves these behind; the numbers in them mean other processes by now.
rm -f /var/run/docker.pid /var/run/docker/containerd/containerd.pid /run/containerd/containerd.pid
rm -f /var/run/docker.sock

# Docker mounts the control groups read-only for any container that is not privileged.
if [ -f "$cgroups/cgroup.controllers" ]; then
    mount -o remount,rw "$cgroups" || die "cannot make $cgroups writable"
    # A group that holds processes may not hand its controllers on: they move to a group of their own. Those that the
    # engine adds meanwhile (a health check) make the write fail with EBUSY, hence the attempts.
    mkdir -p "$cgroups/init"
    hand_on() {
        controllers=$(cat "$cgroups/cgroup.controllers")
        for controller in $controllers; do
            echo "+$controller" >"$cgroups/cgroup.subtree_control" || return 1
        done
    }
    attempt=0
    until hand_on 2>/dev/null; do
        [ "$attempt" -lt 50 ] || die "cannot enable the controllers of $cgroups: $(hand_on 2>&1)"
        attempt=$((attempt + 1))
        while read -r pid; do
            # One that has ended meanwhile cannot be moved.
            echo "$pid" >"$cgroups/init/cgroup.procs" || :
        done <"$cgroups/cgroup.procs" 2>/dev/null
    done
else
    # Each controller is a mount of its own here. A plain remount fails with EBUSY, for it means the whole hierarchy,
    # which others use; `bind` means this mount alone.
    mount -o remount,rw "$cgroups" || die "cannot make $cgroups writable"
    for controller in "$cgroups"/*/; do
        [ ! -L "${controller%/}" ] || continue
        mount -o remount,bind,rw "${controller%/}" || die "cannot make ${controller%/} writable"
    done
fi

# Where the kernel has only the old tables, dockerd has to find the old tool under the usual name.
if ! iptables -nL >/dev/null 2>&1; then
    legacy=$(command -v iptables-legacy || command -v xtables-legacy-multi) || die "iptables does not work here"
    mkdir -p /run/berth/bin
    ln -sf "$legacy" /run/berth/bin/iptables
    ! legacy6=$(command -v ip6tables-legacy) || ln -sf "$legacy6" /run/berth/bin/ip6tables
    PATH=/run/berth/bin:$PATH
    export PATH
    iptables -nL >/dev/null || die "iptables does not work here"
fi

# Session containers need nothing of this host: what comes in by an interface other than the container's own is
# dropped, the daemon's port foremost, by whatever address.
#
# Nothing is forwarded but what dockerd's own rules let through: it sets this policy itself only where it was the one to
# switch forwarding on, and without it the neighbours on the engine's network could route their way to a session.
wall() {
    "$1" -P FORWARD DROP || return
    "$1" -nL BERTH >/dev/null 2>&1 && return
    "$1" -N BERTH &&
        "$1" -A BERTH -i lo -j RETURN &&
        "$1" -A BERTH -i eth+ -j RETURN &&
        "$1" -A BERTH -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN &&
        "$1" -A BERTH -j DROP &&
        "$1" -I INPUT -j BERTH
}
wall iptables || die "cannot set up the packet filter"
# Where there is no IPv6 there is nothing to be reached by it.
[ ! -s /proc/net/if_inet6 ] || wall ip6tables || die "cannot set up the packet filter for IPv6"

# `--icc=false` keeps session containers apart on their bridge, but a bridge asks the packet filter only with this.
# A daemon in a container would start without it, and say no more than a warning.
bridged=/proc/sys/net/bridge/bridge-nf-call-iptables
[ -f "$bridged" ] || modprobe br_netfilter 2>/dev/null || :
[ -f "$bridged" ] || die "sessions could reach one another; on the engine's host type: modprobe br_netfilter"
echo 1 >"$bridged"

set -- dockerd \
    --host unix:///var/run/docker.sock --host tcp://0.0.0.0:2376 \
    --tlsverify --tlscacert "$certs/ca.pem" --tlscert "$certs/server-cert.pem" --tlskey "$certs/server-key.pem" \
    --icc=false --userland-proxy=false --live-restore=false

# It starts a container in two thirds of runc's time, and an exec in half of it.
if crun=$(command -v crun); then
    set -- "$@" --add-runtime "crun=$crun" --default-runtime crun
fi

# PID 1 has to reap what the containers' shims leave behind.
for init in docker-init tini; do
    if command -v "$init" >/dev/null; then
        set -- "$init" -- "$@"
        break
    fi
done
exec "$@"

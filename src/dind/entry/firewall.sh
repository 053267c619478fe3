# The packet filter: what session containers may send to this container, and what is forwarded.

# Where the kernel has only the old tables, dockerd has to find the old tool under the usual name.
choose_iptables() {
    ! iptables -nL >/dev/null 2>&1 || return 0
    command -v iptables >/dev/null ||
        die "the daemon's image has no iptables; name another image in [dind], then type: berth up"
    legacy=$(command -v iptables-legacy || command -v xtables-legacy-multi) || die "iptables does not work here"
    mkdir -p /run/berth/bin
    ln -sf "$legacy" /run/berth/bin/iptables
    ! legacy6=$(command -v ip6tables-legacy) || ln -sf "$legacy6" /run/berth/bin/ip6tables
    PATH=/run/berth/bin:$PATH
    export PATH
    iptables -nL >/dev/null || die "iptables does not work here"
}

# Session containers need nothing of this host but names: what else comes in by an interface other than the container's
# own is dropped, the daemon's port foremost, by whatever address.
#
# Nothing is forwarded but what dockerd's own rules let through: it sets this policy itself only where it was the one to
# switch forwarding on, and without it the neighbours on the engine's network could route their way to a session.
wall() {
    "$1" -P FORWARD DROP || return
    ! "$1" -nL BERTH >/dev/null 2>&1 || return 0
    "$1" -N BERTH &&
        "$1" -A BERTH -i lo -j RETURN &&
        let_names_pass "$1" &&
        "$1" -A BERTH -i eth+ -j RETURN &&
        "$1" -A BERTH -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN &&
        "$1" -A BERTH -j DROP &&
        "$1" -I INPUT -j BERTH
}

# A socket that is bound to its interface asks the bridge itself for an address that its routes lead nowhere: nobody is to
# answer for others there, and no packet chooses its own way.
answer_for_nobody() {
    for switch in proxy_arp accept_source_route; do
        for interface in all default; do
            echo 0 >"/proc/sys/net/ipv4/conf/$interface/$switch" || return
        done
    done 2>/dev/null
}

build_walls() {
    choose_iptables
    answer_for_nobody || note "cannot see to it that nobody answers for others on the bridge"
    wall iptables || die "cannot set up the packet filter"
    # Where there is no IPv6 there is nothing to be reached by it.
    [ -z "$(cat /proc/net/if_inet6 2>/dev/null)" ] || wall ip6tables || note "no packet filter for IPv6 works here"
}

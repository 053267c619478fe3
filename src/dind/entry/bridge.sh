# Bridges: session containers stay apart on theirs, whatever they send (ARP, IPv6 and multicast included).
#
# `--icc=false` alone does not do it: it is a rule of the packet filter, which bridged frames pass only where the kernel
# module br_netfilter asks for it. Since Docker 28 no engine loads that module, and a container cannot.

# The switch of br_netfilter in this network namespace; there once the module is loaded.
bridged=/proc/sys/net/bridge/bridge-nf-call-iptables

# The bridges' own filter, in this network namespace alone. What goes out to the world is not forwarded by a bridge.
drop_bridged_frames() {
    for filter in ebtables-nft 'xtables-nft-multi ebtables'; do
        # shellcheck disable=SC2086  # a command and its first argument
        if command -v ${filter%% *} >/dev/null && $filter -P FORWARD DROP; then return; fi
    done 2>/dev/null
    return 1
}

# br_netfilter by its usual way: loaded already, or by who may load it.
filter_bridged_packets() {
    [ -f "$bridged" ] || modprobe br_netfilter 2>/dev/null || :
    [ -f "$bridged" ] && echo 1 >"$bridged"
}

# A rule that needs br_netfilter makes the kernel load it, for whoever may set rules. The module is the whole host's from
# then on, so this comes last.
summon_br_netfilter() {
    {
        # One that stands there is of no account: nothing jumps to it.
        iptables -N BERTH-PHYSDEV
        iptables -A BERTH-PHYSDEV -m physdev --physdev-is-bridged -j RETURN
        iptables -F BERTH-PHYSDEV
        iptables -X BERTH-PHYSDEV
    } 2>/dev/null || :
    [ -f "$bridged" ] && echo 1 >"$bridged"
}

keep_apart() {
    drop_bridged_frames || filter_bridged_packets || summon_br_netfilter ||
        die "sessions could reach one another; on the engine's host type: sudo modprobe br_netfilter"
    # Docker refuses to start without the module, though the frames are dropped without it.
    [ -f "$bridged" ] || export DOCKER_IGNORE_BR_NETFILTER_ERROR=1
}

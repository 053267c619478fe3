# Names: containers keep the nameservers of their first start, and a laptop changes its network. So session containers ask
# the address of their own bridge, where the keeper passes the questions on to the nameservers of now.

# Empty where the bridge's address is not known before dockerd has made it: names are asked as the engine has it then.
resolver=${BERTH_BIP:-}
resolver=${resolver%/*}

# answer_names: for as long as the container runs. Our own resolv.conf leads there, too, for dockerd and for what it copies
# into containers; the engine's is kept. After a restart it may be ours still.
answer_names() {
    [ -n "$resolver" ] || return 0
    grep -q "^nameserver $resolver\$" /etc/resolv.conf || cp /etc/resolv.conf /berth/resolv.conf ||
        die "cannot keep the engine's resolv.conf"
    # shellcheck disable=SC2016  # its own arguments
    sh -c 'while :; do "$@" || :; sleep 1; done' names \
        /berth/keeper resolve "$resolver:53" "$root/volumes" /berth/resolv.conf /etc/resolv.conf &
}

# A rule of the wall: session containers may ask there, and nobody else.
let_names_pass() {
    # The sessions' bridge has no IPv6.
    { [ -n "$resolver" ] && [ "$1" = iptables ]; } || return 0
    for protocol in udp tcp; do
        "$1" -A BERTH -i docker0 -d "$resolver" -p "$protocol" --dport 53 -j RETURN &&
            "$1" -A BERTH -d "$resolver" -p "$protocol" --dport 53 -j DROP || return
    done
}

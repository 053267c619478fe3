# Ids: users of containers have numbers of their own on the machine, which nobody else there has. Each container has a user
# namespace of its own in that range (`keeper/ids.rs`).
#
# BERTH_IDS: the range, FIRST:COUNT. BERTH_USERNS: `false` where the person wants none.

data=/var/lib/docker
# The range, where containers have it.
ids=
# Where dockerd keeps what it has.
root=$data

choose_ids() {
    [ -n "${BERTH_IDS:-}" ] || return 0
    rm -f /berth/ids
    kind=plain
    if [ "${BERTH_USERNS:-}" != false ]; then
        if why=$(may_have_ids); then
            kind=mapped
        elif [ -d "$data/${BERTH_IDS%:*}.${BERTH_IDS%:*}/image" ]; then
            # What is here belongs to the range, and nobody has asked for less. The kernel may have been short of something.
            sleep 1
            why=$(may_have_ids) || die "containers can have no user namespaces here any more (${why#berth: });" \
                "set userns = false in [dind], then type: berth up"
            kind=mapped
        else
            note "users: containers have no user namespaces here: ${why#berth: }"
        fi
        [ $kind = plain ] || ids=$BERTH_IDS
    fi
    moved=$(/berth/keeper settle "$data" "$BERTH_IDS" $kind) || die "cannot move the images and volumes of before"
    [ -z "$moved" ] || echo "$moved" | while read -r line; do note "users: $line"; done
    [ -z "$ids" ] || take_ids
}

# Prints why not.
may_have_ids() { /berth/keeper ids "$BERTH_IDS" 2>&1; }

# As dockerd wants to have it.
take_ids() {
    first=${ids%:*}
    grep -q "^berth:" /etc/passwd || echo "berth:x:65533:65533::/:/bin/false" >>/etc/passwd
    grep -q "^berth:" /etc/group || echo "berth:x:65533:" >>/etc/group
    for file in /etc/subuid /etc/subgid; do
        echo "berth:$ids" >"$file"
    done
    echo "$ids" >/berth/ids
    root=$data/$first.$first
}

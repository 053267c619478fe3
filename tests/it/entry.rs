//! The entry script of the DinD container, piece by piece, in Debian's shell and in busybox's. Its containers have the
//! capabilities of the DinD container, and real control groups, bridges and packet filters.

use std::process::{Command, Output};

use mcp_berth::dind::spec::CAPABILITIES;

use crate::harness::at_once;

/// All but the last file, which runs the others.
const FUNCTIONS: &str = concat!(
    include_str!("../../src/dind/entry/common.sh"),
    include_str!("../../src/dind/entry/cgroups.sh"),
    include_str!("../../src/dind/entry/firewall.sh"),
    include_str!("../../src/dind/entry/bridge.sh"),
    include_str!("../../src/dind/entry/ids.sh"),
    include_str!("../../src/dind/entry/names.sh"),
    include_str!("../../src/dind/entry/apparmor.sh"),
);
const MAIN: &str = include_str!("../../src/dind/entry/main.sh");

/// The shells, and what has each find its own tools first.
const SHELLS: [(&str, &str); 2] =
    [("sh", ""), ("busybox", "mkdir /applets; busybox --install -s /applets; PATH=/applets:$PATH\n")];

/// Runs `script` behind the functions, in a container of its own with these further `options`.
fn run(shell: &str, prelude: &str, options: &[&str], script: &str) -> Output {
    let (main, _) = MAIN.rsplit_once("\nmain\n").expect("its last line runs it");
    let mut docker = Command::new("docker");
    docker.args(["run", "--rm", "--cap-drop", "ALL", "--cgroupns", "private", "--tmpfs", "/run"]);
    docker.args(CAPABILITIES.iter().flat_map(|capability| ["--cap-add", *capability]));
    docker.args(
        ["seccomp", "apparmor", "systempaths"]
            .iter()
            .flat_map(|profile| ["--security-opt".to_owned(), format!("{profile}=unconfined")]),
    );
    docker.args(options).args(["--entrypoint", shell, "berth-dind"]);
    if shell == "busybox" {
        docker.arg("sh");
    }
    docker.arg("-c").arg(format!("{prelude}{FUNCTIONS}{main}\n{script}"));
    docker.output().expect("the docker CLI runs")
}

/// Runs it under each shell; what it prints has to be `expected`.
fn prints(options: &[&str], script: &str, expected: &str) {
    let outputs =
        at_once(SHELLS.to_vec(), |_, (shell, prelude)| (shell, run(shell, prelude, options, script)));
    for (shell, output) in outputs {
        let printed = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(printed.trim(), expected, "{shell}: {said}");
    }
}

#[test]
fn control_groups_become_writable_and_their_controllers_nested_containers() {
    let script = r#"
        writable() { mkdir "$1/nested" 2>/dev/null && rmdir "$1/nested" && echo "$2"; }
        place=$cgroups
        [ -f "$cgroups/cgroup.controllers" ] || place=$cgroups/memory
        writable "$place" before || :
        hand_on_cgroups
        writable "$place" after
        if [ -f "$cgroups/cgroup.controllers" ]; then
            [ "$(cat "$cgroups/cgroup.controllers")" = "$(cat "$cgroups/cgroup.subtree_control")" ] || echo "not all"
        fi"#;
    prints(&[], script, "after");
}

/// Where the machine's own hierarchy is version 1, as much of version 2 as it has beside it.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

#[test]
fn a_group_of_version_2_is_emptied_before_it_hands_anything_on() {
    if !std::path::Path::new(UNIFIED).join("cgroup.controllers").exists() {
        // Then each daemon of these tests has started in one.
        assert!(std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists(), "no control groups");
        return;
    }
    // Latecomers come for as long as it takes: one moves into the group whenever it is empty.
    let script = r#"
        mount() { :; }
        root=/unified
        controllers=$(cat $root/cgroup.controllers)
        sed 's/[^ ][^ ]*/+&/g' $root/cgroup.controllers >$root/cgroup.subtree_control
        cgroups=$root/berth-test-$(cat /proc/sys/kernel/random/uuid)
        mkdir "$cgroups"
        sleep 60 & early=$!
        echo $early >"$cgroups/cgroup.procs"
        sleep 60 & late=$!
        { for round in 1 2 3; do echo $late >"$cgroups/cgroup.procs"; done; } 2>/dev/null &
        hand_on_cgroups
        [ "$(cat "$cgroups/cgroup.subtree_control")" = "$controllers" ] && echo "handed on"
        [ -n "$(cat "$cgroups/init/cgroup.procs")" ] && echo "moved"
        kill $early $late
        wait || :
        until rmdir "$cgroups/init"; do sleep 0.1; done
        rmdir "$cgroups""#;
    prints(&["-v", "/sys/fs/cgroup/unified:/unified"], script, "handed on\nmoved");
}

#[test]
fn a_controller_that_cannot_be_had_is_named_and_the_others_are_handed_on() {
    // A tree that refuses what names `cpu`, as a kernel with tasks of a real-time class does.
    let script = r#"
        mount() { :; }
        cgroups=$(mktemp -d)
        echo "cpu memory pids" >"$cgroups/cgroup.controllers"
        : >"$cgroups/cgroup.procs"
        hand_out() {
            case $1 in *cpu*) return 1 ;; esac
            echo "$1"
        }
        hand_on_cgroups 2>&1"#;
    let missing = "berth: note: cannot enable the control group controllers cpu; their limits cannot be set";
    prints(&[], script, &format!("+memory\n+pids\n{missing}"));
}

#[test]
fn containers_have_users_of_their_own_where_the_kernel_gives_them() {
    let script = r#"
        mkdir -p /berth
        keeper() { printf '#!/bin/sh\n%s\n' "$1" >/berth/keeper; chmod 755 /berth/keeper; }
        try() {
            ids='' root=$data
            choose_ids 2>&1
            echo "$1: ${ids:-none} $root $(cat /berth/ids 2>/dev/null)"
        }
        BERTH_IDS=2000000000:1000
        keeper 'case $1 in settle) echo "$*" ;; esac'
        try own
        try twice
        echo "$(cat /etc/subuid /etc/subgid) $(grep -c ^berth: /etc/passwd) $(grep -c ^berth: /etc/group)"
        BERTH_USERNS=false
        try unwanted
        BERTH_USERNS=
        keeper 'case $1 in ids) echo "berth: no room" >&2; exit 1 ;; esac'
        try refused
        mkdir -p $data/2000000000.2000000000/image
        ( try gone ) || :
        BERTH_IDS=
        try none"#;
    let expected = "berth: note: users: settle /var/lib/docker 2000000000:1000 mapped\n\
        own: 2000000000:1000 /var/lib/docker/2000000000.2000000000 2000000000:1000\n\
        berth: note: users: settle /var/lib/docker 2000000000:1000 mapped\n\
        twice: 2000000000:1000 /var/lib/docker/2000000000.2000000000 2000000000:1000\n\
        berth:2000000000:1000\n\
        berth:2000000000:1000 1 1\n\
        berth: note: users: settle /var/lib/docker 2000000000:1000 plain\n\
        unwanted: none /var/lib/docker \n\
        berth: note: users: containers have no user namespaces here: no room\n\
        refused: none /var/lib/docker \n\
        berth: containers can have no user namespaces here any more (no room); set userns = false in [dind], then type: berth up\n\
        none: none /var/lib/docker";
    prints(&[], script, expected);
}

#[test]
fn crun_needs_the_controller_io() {
    let script = r#"
        crun() { :; }
        cgroups=$(mktemp -d)
        try() { if crun_works; then echo "$1: crun"; else echo "$1: runc"; fi; }
        try version-1
        echo "cpuset cpu io memory pids" >"$cgroups/cgroup.controllers"
        try all
        echo "cpu memory pids" >"$cgroups/cgroup.controllers"
        try delegated"#;
    prints(&[], script, "version-1: crun\nall: crun\ndelegated: runc");
}

/// Two hosts on one bridge, as sessions are; what the second one hears of the first.
const TWO_HOSTS: &str = r#"
    box() { busybox "$@"; }
    host() {
        unshare -n sleep 60 &
        eval "pid$1=$!"
        # Until it has a network of its own.
        while [ "$(readlink /proc/$!/ns/net)" = "$(readlink /proc/$$/ns/net)" ]; do sleep 0.1; done
        # Its other end is called so by the kernel.
        box ip link add "v$1" type veth
        box ip link set veth0 netns "$!"
        nsenter -t "$!" -n busybox ip link set veth0 name "p$1"
        box brctl addif br0 "v$1"
        box ip link set "v$1" up
        nsenter -t "$!" -n busybox ip addr add "10.9.0.1$1/24" dev "p$1"
        nsenter -t "$!" -n busybox ip link set "p$1" up
    }
    inside() { nsenter -t "$pid1" -n busybox "$@" >/dev/null 2>&1; }
    heard() { sed -n 's/^ *p2: *[0-9]* *\([0-9]*\).*/\1/p' "/proc/$pid2/net/dev"; }
    try() {
        before=$(heard)
        for address in 10.9.0.12 10.9.0.255 224.0.0.1 ff02::1%p1; do inside ping -c 1 -W 1 "$address" || :; done
        inside arping -c 1 -w 1 -I p1 10.9.0.12 || :
        if [ "$(heard)" = "$before" ]; then echo "$1: silence"; else echo "$1: frames"; fi
    }
    reach() { if inside ping -c 1 -W 1 "$2"; then echo "$1: reached"; else echo "$1: out of reach"; fi; }
    box brctl addbr br0
    box ip addr add 10.9.0.1/24 dev br0
    box ip link set br0 up
    host 1
    host 2
    # Once they have said all that they say of themselves.
    quiet() { was=$(heard); sleep 2; [ "$was" = "$(heard)" ]; }
    until quiet; do :; done
"#;

#[test]
fn hosts_on_a_bridge_hear_nothing_of_one_another_by_whatever_protocol() {
    let script = format!(
        r#"{TWO_HOSTS}
        try before
        reach neighbour 10.9.0.12
        build_walls
        # As where nobody has loaded br_netfilter.
        [ ! -f "$bridged" ] || echo 0 >"$bridged"
        keep_apart
        try after
        reach neighbour 10.9.0.12
        reach gateway 10.9.0.1
        iptables -I INPUT -i br0 -j ACCEPT
        reach gateway 10.9.0.1"#
    );
    let expected = "before: frames\nneighbour: reached\nafter: silence\nneighbour: out of reach\n\
                    gateway: out of reach\ngateway: reached";
    prints(&[], &script, expected);
}

#[test]
fn without_the_bridges_filter_the_module_keeps_them_apart() {
    let script = format!(
        r#"{TWO_HOSTS}
        drop_bridged_frames() {{ return 1; }}
        build_walls
        [ -f "$bridged" ] && echo 0 >"$bridged"
        reach before 10.9.0.12
        keep_apart
        reach after 10.9.0.12
        echo "${{DOCKER_IGNORE_BR_NETFILTER_ERROR:-unset}}""#
    );
    prints(&[], &script, "before: reached\nafter: out of reach\nunset");
}

#[test]
fn each_way_to_keep_bridges_apart_is_tried_in_its_turn() {
    // Which of the three works is set; the module's switch is a file that appears with the module.
    let script = r#"
        folder=$(mktemp -d)
        bridged=$folder/switch
        try() {
            rm -f "$bridged"
            nft=$2 module=$3 physdev=$4
            ( keep_apart; echo "$1: ${DOCKER_IGNORE_BR_NETFILTER_ERROR:-0}" "$(cat "$bridged" 2>/dev/null || echo none)" ) 2>&1 || :
        }
        modprobe() { $module && : >"$bridged"; }
        iptables() { case "$*" in *--physdev-is-bridged*) $physdev && : >"$bridged" ;; esac; }
        try filter true false false
        try module false true false
        try physdev false false true
        try none false false false"#;
    let tools = r#"
        tools=$(mktemp -d)
        for tool in ebtables-nft xtables-nft-multi; do
            printf '#!/bin/sh\ncase $* in *"-P FORWARD DROP") $nft ;; *) exit 9 ;; esac\n' >"$tools/$tool"
            chmod 755 "$tools/$tool"
        done
        PATH=$tools:$PATH
        export nft"#;
    let died =
        "berth: sessions could reach one another; on the engine's host type: sudo modprobe br_netfilter";
    prints(&[], &format!("{tools}{script}"), &format!("filter: 1 none\nmodule: 0 1\nphysdev: 0 1\n{died}"));
}

#[test]
fn the_old_tables_are_used_where_the_kernel_has_no_others() {
    let script = r#"
        tools=$(mktemp -d)
        printf '#!/bin/sh\nexit 1\n' >"$tools/iptables"
        printf '#!/bin/sh\necho legacy\n' >"$tools/iptables-legacy"
        chmod 755 "$tools"/*
        PATH=$tools:$PATH
        choose_iptables >/dev/null
        iptables
        rm "$tools/iptables-legacy" /usr/sbin/iptables-legacy /usr/sbin/xtables-legacy-multi
        PATH=$tools:${PATH#/run/berth/bin:}
        ( choose_iptables ) 2>&1 || :"#;
    prints(&[], script, "legacy\nberth: iptables does not work here");
}

#[test]
fn the_smallest_interface_says_how_large_packets_are() {
    let script = r"
        smallest_mtu
        busybox ip link add eth7 type veth
        busybox ip link set eth7 mtu 1360
        smallest_mtu
        busybox ip link set eth7 mtu 9000
        smallest_mtu";
    prints(&[], script, "1500\n1360\n1500");
}

#[test]
fn without_an_init_the_shell_reaps_orphans_passes_signals_on_and_tells_how_it_ended() {
    // Four orphans, one after the other; then the daemon looks for what is left of them.
    let daemon = r#"
        for orphan in 1 2 3 4; do sh -c "sleep 0.2 &"; done
        sleep 1
        echo "zombies: $(grep -l "^State:.*zombie" /proc/[0-9]*/status 2>/dev/null | wc -l)"
        trap "echo told to end; exit 7" TERM
        kill 1
        while :; do sleep 0.1; done"#;
    let script = format!(
        r#"
        rm -f "$(command -v docker-init)" "$(command -v tini)"
        trap 'echo "exit code $?"' EXIT
        become sh -c '{daemon}'"#
    );
    prints(&[], &script, "zombies: 0\ntold to end\nexit code 7");
}

#[test]
fn missing_certificates_are_said_with_what_makes_them() {
    let said = "berth: /berth/certs/ca.pem is missing; type: berth up";
    prints(&[], "( main ) 2>&1 || echo \"exit code $?\"", &format!("{said}\nexit code 1"));
}

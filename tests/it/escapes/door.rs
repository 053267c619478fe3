//! The folder through which a server's pipes go to its session: nobody else gets in, from either side.

use serde_json::{Value, json};

use crate::direct::{TAKEN, door_of, folder_of_doors, listen};
use crate::harness::{Berth, PATIENCE, Session, docker_says, eventually, expect_gone, home, own_kernel};
use crate::standby::{Tidy, left_by};

/// Each way to put something there, or to get it away.
const ATTACK: &str = r#"
    door=$(echo /.berth-*/door)
    there() { echo "there: $(ls -A "$door" 2>/dev/null | wc -l) $([ -e "$door/s" ] && echo a socket)" >&2; }
    there
    echo "doors: $(ls -d /.berth-*/* /berth 2>/dev/null | grep -vc keeper)" >&2
    echo "files: $(ls /proc/self/fd | tr '\n' ' ')" >&2
    echo "read-only: $(grep -c " $door [^ ]* ro," /proc/self/mounts)" >&2
    try() { "$@" 2>/tmp/why && echo "done: $*" >&2 || echo "refused: $* $(head -n 1 /tmp/why)" >&2; }
    echo x >/tmp/file
    for name in s x; do
        try touch "$door/$name"; try mkdir "$door/$name"; try ln -s / "$door/$name"; try mkfifo "$door/$name"
        try cp /tmp/file "$door/$name"; try mv /tmp/file "$door/$name"; try ln "$door/.." "$door/$name"
        try perl -MSocket -e 'my $s; socket($s, AF_UNIX, SOCK_STREAM, 0) && bind($s, pack_sockaddr_un($ARGV[0])) or die "$!\n"' "$door/$name"
    done
    try rmdir "$door"; try mv "$door" "$door-away"; try chmod 777 "$door"; try touch "$door/../x"; try rm -rf "$door"
    try umount "$door"; try mount -o remount,rw "$door"; try mount -t tmpfs none "$door"
    there
    echo over >&2
    exec cat
"#;

#[test]
fn a_servers_door_is_empty_and_takes_nothing() {
    for (client, user) in [("it-door-user", None), ("it-door-root", Some("0:0"))] {
        let mut run = Berth::image("berth-everything").client(client).args(["--trace"]);
        if let Some(user) = user {
            run = run.args(["--user", user]);
        }
        let mut session = run.args(["--", "sh", "-c", ATTACK]).start();
        session.expect_stderr("over\n");
        let said = session.stderr();
        assert!(said.contains(TAKEN), "{said}");
        let lines = |start: &str| {
            said.lines().filter(|line| line.starts_with(start)).map(str::trim_end).collect::<Vec<_>>()
        };
        assert_eq!(lines("there: "), ["there: 0", "there: 0"], "{said}");
        // One is the list's own.
        assert_eq!(lines("files: "), ["files: 0 1 2 3"], "{said}");
        assert_eq!(lines("done: "), [""; 0], "{said}");
        assert_eq!(lines("refused: ").len(), 24, "{said}");
        assert!(!said.contains("Bad symbol"), "{said}");
        assert_eq!(lines("doors: "), ["doors: 1"], "its own alone: {said}");
        assert!(own_kernel() || lines("read-only: ") == ["read-only: 1"], "{said}");
        session.close();
        session.wait();
        expect_gone(client);
    }
}

#[test]
fn root_in_a_container_is_nobody_at_its_door() {
    let _tidy = Tidy("it-door-peer");
    let run = Berth::image("berth-everything").client("it-door-peer").args(["--user", "0:0"]);
    let session = run.started();
    let container = session.container();
    let (door, _) = door_of(&container).expect("a door");
    let door = folder_of_doors(home()).join(door);
    let listening = listen(&door);
    let connect = r#"my ($door) = glob "/.berth-*/door"; socket(my $s, AF_UNIX, SOCK_STREAM, 0);
        connect($s, pack_sockaddr_un("$door/s")) or die "$!"; print "as $<""#;
    assert_eq!(
        docker_says(&["exec", "--user", "0:0", &container, "perl", "-MSocket", "-e", connect]),
        "as 0"
    );
    let (peer, _) = listening.accept().unwrap();
    let peer = rustix::net::sockopt::socket_peercred(&peer).unwrap();
    assert!(peer.uid.as_raw() >= 0x7800_0000, "{peer:?}");
    std::fs::remove_file(door.join("s")).unwrap();
}

/// A server that is started ahead and comes to its session's door in its keeper's stead; then it echoes.
fn usurper(what: &str) -> String {
    let perl = r#"my ($door) = glob "/.berth-*/door";
        for my $name (qw(s x)) { open(my $file, ">", "$door/$name") and print STDERR "wrote $name\n" }
        if (!fork) {
            open STDOUT, ">/dev/null";
            select undef, undef, undef, 0.0005 until -e "$door/s";
            my $s;
            socket($s, AF_UNIX, SOCK_STREAM, 0) && connect($s, pack_sockaddr_un("$door/s")) or exit;
            $SIG{PIPE} = "IGNORE";
            WHAT;
            sleep 600;
        }
        exec "cat""#;
    perl.replace("WHAT", what)
}

#[test]
fn a_server_that_comes_to_its_own_door_harms_its_session_alone() {
    let kinds = [
        ("it-door-junk", r#"syswrite $s, "x" x 65536"#),
        ("it-door-token", r#"syswrite $s, "0123456789abcdef" x 2"#),
        ("it-door-mute", "1"),
    ];
    for (client, what) in kinds {
        let _tidy = Tidy(client);
        let script = usurper(what);
        let start = || {
            let run = Berth::run("parrot").client(client).args(["--trace", "--standby", "1"]);
            let mut session = run.args(["--", "perl", "-MSocket", "-e", &script]).start();
            echoes(&mut session, 1);
            session
        };
        let mut beside = Berth::run("fixture").client("it-door-beside").started();
        left_by(start());
        // Whoever comes first is a matter of luck.
        let said = eventually("a server that is first at its door", PATIENCE, || {
            let mut session = start();
            echoes(&mut session, 2);
            let said = session.stderr();
            assert!(!said.contains("wrote "), "{said}");
            left_by(session);
            said.contains("cannot use the standby container").then_some(said)
        });
        // The container that it has now was made for it, and is as good.
        assert!(said.contains("create, start and attach") && said.contains(TAKEN), "{said}");
        assert_eq!(beside.call_text("echo", json!({ "text": "unharmed" })), "unharmed");
    }
}

fn echoes(session: &mut Session, id: u64) {
    let message: Value = json!({ "jsonrpc": "2.0", "method": "echoed", "params": { "id": id } });
    session.send(&message);
    assert_eq!(session.message(), message, "{}", session.stderr());
}

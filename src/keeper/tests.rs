//! The program that the build script made, as it goes into containers. `hold` runs in pid namespaces only.

#[path = "tests/ahead.rs"]
mod ahead;
#[path = "tests/door.rs"]
mod door;
#[path = "tests/egress.rs"]
mod egress;
#[path = "tests/filter.rs"]
mod filter;
#[path = "tests/gvisor.rs"]
mod gvisor;
#[path = "tests/hold.rs"]
mod hold;
#[path = "tests/ids.rs"]
mod ids;
#[path = "tests/locks.rs"]
mod locks;
#[path = "tests/modes.rs"]
mod modes;
#[path = "tests/needs.rs"]
mod needs;
#[path = "tests/numbered.rs"]
mod numbered;
#[path = "tests/phase.rs"]
mod phase;
#[path = "tests/pod.rs"]
mod pod;
#[path = "tests/ports.rs"]
mod ports;
#[path = "tests/probe.rs"]
mod probe;
#[path = "tests/resolve.rs"]
mod resolve;
#[path = "tests/runtime.rs"]
mod runtime;
#[path = "tests/serve.rs"]
mod serve;
#[path = "tests/signals.rs"]
mod signals;
#[path = "tests/within.rs"]
mod within;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use super::egress::Wanted;
use super::limits::field;
use super::needs::Needs;
use super::probe::Probe;
use super::{Failure, Hold, Subcommand, ping};

const KEEPER: &str = concat!(env!("OUT_DIR"), "/keeper");
/// What must happen at once has this long on a busy machine; what it must not wait for takes a minute.
const AT_ONCE: Duration = Duration::from_secs(20);

fn parse(line: &str) -> Result<Subcommand, Failure> {
    Subcommand::parse(line.split_whitespace().map(Into::into))
}

#[test]
fn command_lines_are_read() {
    let hold = |claim, grace| {
        let (claim_within, grace) = (Duration::from_millis(claim), Duration::from_millis(grace));
        Subcommand::Hold(Hold {
            claim_within,
            grace,
            needs: Needs::default(),
            network: Wanted::default(),
            locks: Vec::new(),
            door: false,
            command: Vec::new(),
        })
    };
    assert_eq!(parse("hold --claim-within 5 --grace 7"), Ok(hold(5, 7)));
    assert_eq!(parse("hold --grace 7 --claim-within 4294967295"), Ok(hold(4_294_967_295, 7)));
    assert_eq!(parse("hold --room ----- --claim-within 5 --grace 7"), Ok(hold(5, 7)));
    let Ok(Subcommand::Hold(ahead)) = parse("hold --claim-within 5 --grace 7 -- npx --grace 1") else {
        panic!("a server to start ahead");
    };
    assert_eq!(ahead.command, ["npx", "--grace", "1"]);
    let Ok(Subcommand::Hold(locking)) = parse("hold --claim-within 5 --lock /a --grace 7 --lock-together /b")
    else {
        panic!("a keeper that locks");
    };
    assert_eq!(
        locking.locks,
        [(super::locks::Mode::Alone, "/a".into()), (super::locks::Mode::Together, "/b".into())]
    );
    // What follows the command is the command's, dashes and all.
    let (program, arguments) = ("npx".into(), vec!["--".into(), "-y".into()]);
    let exec = Subcommand::Exec { needs: Needs::default(), door: false, program, arguments };
    assert_eq!(parse("exec --session s1 -- npx -- -y"), Ok(exec));
    let through = parse("exec --session s1 --door --home /h -- npx --door");
    let Ok(Subcommand::Exec { door: true, arguments, .. }) = through else { panic!("{through:?}") };
    assert_eq!(arguments, ["--door"]);
    assert!(matches!(
        parse("hold --door 1:2 --claim-within 5 --grace 7"),
        Ok(Subcommand::Hold(Hold { door: true, .. }))
    ));
    assert_eq!(parse("ping /s"), Ok(Subcommand::Ping { socket: "/s".into() }));
    let listen = Probe::Listen { port: 80, time: Duration::from_millis(9) };
    assert_eq!(parse("probe listen 80 --for 9"), Ok(Subcommand::Probe(listen)));
}

#[test]
fn bad_usage_is_named_and_exits_64() {
    for (line, message) in [
        ("", "a subcommand is missing"),
        ("keep", "unknown subcommand `keep`"),
        ("hold --grace 1", "`--claim-within` is missing"),
        ("hold --claim-within 1 --grace", "a time in milliseconds for `--grace` is missing"),
        ("hold --claim-within -1", "`-1` is not a time in milliseconds for `--claim-within`"),
        ("hold --claim-within 4294967296", "`4294967296` is not a time in milliseconds for `--claim-within`"),
        ("hold --grace 1 --claim-within 1 --", "a command is missing"),
        ("hold --room", "room is missing"),
        ("hold --forever", "unexpected `--forever`"),
        ("exec npx", "expected `--session`, found `npx`"),
        ("exec --session s npx", "expected `--`, found `npx`"),
        ("exec --session s --", "a command is missing"),
        ("exec --session s --mount 1:/w -- npx", "`1:/w` is not a mount such as `1:2:/workspace`"),
        ("exec --session s --mount 1:2:w -- npx", "`1:2:w` is not a mount such as `1:2:/workspace`"),
        ("exec --session s --home /tmp npx", "expected `--`, found `npx`"),
        ("exec --session s --home", "a folder is missing"),
        ("ping", "a socket is missing"),
        ("ping /s /t", "unexpected `/t`"),
        ("resolve here", "`here` is not an address such as `172.30.0.1:53`"),
        ("resolve 172.30.0.1:53 /v /g", "the resolv.conf to write is missing"),
        ("probe", "a probe is missing"),
        ("probe moon", "unknown probe `moon`"),
        ("probe connect example.org 80", "`example.org` is not an IP address"),
        ("probe listen 80", "`--for` is missing"),
    ] {
        assert_eq!(parse(line), Err(Failure::usage(message)), "{line}");
    }
    let output = keeper(&["hold", "--forever"]);
    assert_eq!(output.status.code(), Some(64));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "berth: keeper: unexpected `--forever`\n");
}

fn keeper(arguments: &[&str]) -> Output {
    // A folder of PATH that cannot be searched would turn «not found» into «permission denied».
    let path = ("PATH", "/usr/bin:/bin");
    Command::new(KEEPER).args(arguments).envs([path]).stdin(Stdio::null()).output().unwrap()
}

fn exec(command: &[&str]) -> Output {
    keeper(&[&["exec", "--session", "s1", "--"], command].concat())
}

#[test]
fn exec_becomes_the_command_with_signals_as_from_a_shell() {
    let output = exec(&["sh", "-c", "echo \"$1\"; exit 3", "sh", "a b"]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(3), &b"a b\n"[..]));
    let masks = ["grep", "-E", "^Sig(Ign|Blk):", "/proc/self/status"];
    let stdout = String::from_utf8(exec(&masks).stdout).unwrap();
    let plain = Command::new(masks[0]).args(&masks[1..]).output().unwrap();
    assert_eq!(stdout, String::from_utf8(plain.stdout).unwrap());
    let ignored = u64::from_str_radix(field(&stdout, "SigIgn").unwrap(), 16).unwrap();
    assert_eq!(ignored & 1 << 12, 0, "SIGPIPE");
}

#[test]
fn a_command_that_cannot_run_is_named() {
    let output = exec(&["no-such-command"]);
    let line = "berth: cannot run `no-such-command`: No such file or directory\n";
    assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stderr)), (Some(127), line));
    let output = exec(&["/etc"]);
    let line = "berth: cannot run `/etc`: Permission denied\n";
    assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stderr)), (Some(126), line));
}

/// Answers one connection with `answer` and returns what `ping` makes of it.
fn ping_answered(answer: Option<&'static str>) -> Result<(), Failure> {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("daemon.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let daemon = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        match answer {
            Some(answer) => {
                let mut request = String::new();
                BufReader::new(&stream).read_line(&mut request).unwrap();
                assert_eq!(request, "GET /_ping HTTP/1.0\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
            }
            None => thread::sleep(Duration::from_secs(5)),
        }
    });
    let result = ping::ping(socket.into());
    if answer.is_some() {
        daemon.join().unwrap();
    }
    result.map_err(|failure| Failure {
        message: failure.message.split("`: ").last().unwrap_or_default().to_owned(),
        ..failure
    })
}

#[test]
fn ping_succeeds_on_status_200_only() {
    assert_eq!(ping_answered(Some("HTTP/1.0 200 OK\r\nServer: Docker\r\n\r\nOK")), Ok(()));
    let error = ping_answered(Some("HTTP/1.0 500 Internal Server Error\r\n\r\n")).unwrap_err();
    assert_eq!(error, Failure::new(1, "it answered `HTTP/1.0 500 Internal Server Error`"));
    assert_eq!(ping_answered(None), Err(Failure::new(1, "no answer in 3 s")));
    let output = keeper(&["ping", "/no/such.sock"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .starts_with("berth: no healthy daemon at `/no/such.sock`: No")
    );
    assert!(!ping::is_ok("HTTP/1.1 2000 OK") && !ping::is_ok("200") && !ping::is_ok("SSH-2.0 200"));
}

#[test]
fn the_program_runs_without_being_readable() {
    // As in a volume of mode 0111: the kernel then keeps a user's processes out from the very first moment.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("keeper");
    fs::copy(KEEPER, &copy).unwrap();
    fs::set_permissions(&copy, PermissionsExt::from_mode(0o111)).unwrap();
    let output = Command::new(&copy).args(["probe", "fork", "1"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\"started\":1,\"error\":null}\n");
}

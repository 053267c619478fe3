//! A server with a list of names reaches these and nothing else, by whatever way; and the local network is closed to one
//! that may reach the world.

mod ways;
mod world;

use std::time::Duration;

use serde_json::{Value, json};

use crate::dind::own::{OwnDaemon, host};
use crate::harness::{Berth, GONE_WITHIN, PATIENCE, Session, eventually};
use ways::{PRELUDE, WAYS};
use world::{ALLOWED, OTHER, World};

/// A server that does what it is told, in a shell.
const SERVER: &str = include_str!("../common/shell.py");

/// What is refused is told by then.
const SECONDS: Duration = Duration::from_secs(10);

struct Place {
    world: World,
    own: OwnDaemon,
}

impl Place {
    fn new(name: &str, port: u16) -> Self {
        let (world, own) = (World::new(), OwnDaemon::new(name, port));
        let server = |name: &str, network: &str| {
            format!(
                "[servers.{name}]\nimage = \"berth-web\"\nnetwork = {network}\ncommand = [\"python3\", \"-c\", {}]\n",
                json!(SERVER)
            )
        };
        let list = "{ allow = [\"api.test.example\"] }";
        let servers = server("named", list)
            + &server("ahead", &format!("{list}\nprestart = true\nstandby = 1\nstandby_ttl = \"1m\""))
            + &server("other", "{ allow = [\"evil.example\"] }")
            + &server("lan", "\"lan\"")
            + &server("world", "\"egress\"");
        own.configure(&format!("port = {port}\n{servers}"));
        let place = Self { world, own };
        let up = place.world.around(place.own.command().arg("up")).output().expect("unshare runs");
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
        place
    }

    fn session(&self, server: &str) -> Session {
        let mut berth = self.own.command();
        berth.args(["run", server, "--client", server]);
        let mut session = Berth::instead(self.world.around(&berth)).start_without_daemon();
        session.initialize();
        session
    }

    fn try_row(&self, client: &str, state: &str) -> Option<Value> {
        self.own.rows().into_iter().find(|row| row["client"] == client && row["state"] == state)
    }

    fn row_of(&self, client: &str, state: &str) -> Value {
        eventually(&format!("{client} that is {state}"), PATIENCE, || self.try_row(client, state))
    }

    /// In the daemon's container.
    fn daemon_says(&self, script: &str) -> String {
        let said = host(&["exec", &self.own.name, "sh", "-c", script]);
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    }
}

/// Whether it succeeds, and what it says.
fn runs(session: &mut Session, argv: &[&str]) -> (bool, String) {
    let result = session.call("run", json!({ "argv": argv }));
    let text = |key: &str| result[key].as_str().unwrap_or_default().to_owned();
    (result["code"] == 0, text("out") + &text("err"))
}

fn python(session: &mut Session, daemon: &str, script: &str) -> (bool, String) {
    runs(session, &["python3", "-c", &format!("{PRELUDE}DAEMON = \"{daemon}\"\n{script}")])
}

/// Whether it is what only a way out leads to.
fn is_outside(note: &str) -> bool {
    let allowed = ["dns api.test.example.", "sni api.test.example"].contains(&note)
        || [80, 443].iter().any(|port| note == format!("tcp {ALLOWED}:{port}"))
        || (note.starts_with("said ") && !note.contains("evil"));
    !allowed
}

#[test]
fn of_all_ways_out_of_a_list_of_one_name_none_passes() {
    let place = Place::new("berth-test-dind-names", 22435);
    let daemon = place.daemon_says("echo ${BERTH_BIP%/*}");
    let mut named = place.session("named");
    the_name_works_from_everywhere(&mut named);

    let notes = &place.world.notes;
    let mut passed = Vec::new();
    for (way, _, script) in WAYS {
        notes.take();
        let (out, said) = python(&mut named, &daemon, script);
        let outside: Vec<String> = notes.take().into_iter().filter(|note| is_outside(note)).collect();
        // An answer of the forwarder's own, that there is no such name, is no way out.
        let is_out = out && way != "a question for a text";
        if is_out || !outside.is_empty() {
            passed.push(format!("{way}: {said} {outside:?}"));
        }
    }
    // Behind all of them: a note may come late. Without a list the same way leads out: else it would prove nothing.
    let mut open = place.session("lan");
    for (way, _, script) in WAYS.into_iter().filter(|(_, is_open, _)| *is_open) {
        notes.take();
        let (out, said) = python(&mut open, &daemon, script);
        let outside = notes.take().iter().any(|note| is_outside(note));
        assert!(out || outside, "{way} is no way out for anybody: {said}");
    }
    assert!(passed.is_empty(), "{} of {} pass:\n{}", passed.len(), WAYS.len(), passed.join("\n"));
    a_name_that_leads_home_is_refused(&place, &mut named);
    all_of_it_is_told(&place, &mut named);
    another_list_is_another_sessions(&place, &mut named);
    nothing_stays(&place, named);
    a_server_that_was_started_ahead_has_the_same_list(&place);
    the_local_network_is_closed_unless_it_is_asked_for(&place, &mut open);
}

fn the_name_works_from_everywhere(session: &mut Session) {
    let url = "https://api.test.example/";
    let python = format!(
        "import ssl, urllib.request as u; print(u.urlopen(\"{url}\", context=ssl._create_unverified_context()).read())"
    );
    let node = format!("fetch(\"{url}\").then(a => a.text()).then(console.log)");
    let node = format!("NODE_TLS_REJECT_UNAUTHORIZED=0 node -e '{node}'");
    for argv in [
        &["curl", "-sSfk", url][..],
        &["curl", "-sSfk", "--http1.1", url],
        &["curl", "-sSf", "http://api.test.example/"],
        // A body that is longer than any buffer.
        &["sh", "-c", "head -c 300000 /dev/zero | curl -sSf --data-binary @- http://api.test.example/"],
        &["curl", "-sSfk", "-x", "http://198.18.0.1:3128", url],
        &["python3", "-c", &python],
        &["sh", "-c", &node],
    ] {
        let (out, said) = runs(session, argv);
        assert!(out && said.contains("world"), "{argv:?}: {said}");
    }
}

fn a_name_that_leads_home_is_refused(place: &Place, session: &mut Session) {
    let home: std::net::Ipv4Addr = place.daemon_says("echo ${BERTH_BIP%/*}").parse().expect("an address");
    for address in [home, [127, 0, 0, 1].into(), [169, 254, 169, 254].into(), [10, 0, 0, 1].into()] {
        place.world.lead_to(address);
        let (out, said) = runs(session, &["curl", "-sSfk", "https://api.test.example/"]);
        assert!(!out, "{address}: {said}");
        eventually("word of it", SECONDS, || {
            let refused = place.row_of("named", "active")["refused"].to_string();
            refused.contains(&format!("its address {address} is ")).then_some(())
        });
    }
    place.world.lead_to(ALLOWED);
    assert!(runs(session, &["curl", "-sSfk", "https://api.test.example/"]).0);
}

fn all_of_it_is_told(place: &Place, session: &mut Session) {
    let row = place.row_of("named", "active");
    let refused = row["refused"].as_array().expect("a list");
    let evil = refused.iter().find(|refusal| refusal["what"] == "evil.example").expect("that name");
    assert!(evil["count"].as_u64() >= Some(2), "{evil}");
    assert_eq!((&evil["why"], &evil["entry"]), (&json!("not in `allow`"), &json!("evil.example")));
    for told in [
        "its TLS names `evil.example`",
        "its TLS names no server",
        "its HTTP names `evil.example`",
        "it is neither TLS nor HTTP",
        "only names lead out",
    ] {
        assert!(refused.iter().any(|refusal| refusal["why"] == told), "{told}: {row}");
    }
    let line = "refused: evil.example (not in `allow`); \
                to allow it: network = { allow = [\"api.test.example\", \"evil.example\"] }";
    eventually("the line for the person", SECONDS, || session.stderr().contains(line).then_some(()));
    assert!(place.own.succeeds(&["ps"]).contains("to allow it: network = { allow = [\"api.test.example\", "));
    let history = place.own.succeeds(&["logs", row["session"].as_str().expect("an id")]);
    assert!(history.contains(line), "{history}");
}

/// And a forwarder that has served hundreds has no more than before; with one that is killed, its session has no way out.
fn another_list_is_another_sessions(place: &Place, named: &mut Session) {
    let (ours, theirs) = ("http://evil.example/", "http://api.test.example/");
    let mut other = place.session("other");
    let reaches = |session: &mut Session, url: &str| runs(session, &["curl", "-sSf", url]);
    for (session, open, closed) in [(&mut other, ours, theirs), (&mut *named, theirs, ours)] {
        assert!(reaches(session, open).0 && !reaches(session, closed).0, "{open}, not {closed}");
    }
    let forwarder = place.daemon_says(
        "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline | grep -q 'keeper [e]gress .*evil' && echo ${p#/proc/}; done",
    );
    let has =
        || place.daemon_says(&format!("ls /proc/{forwarder}/task | wc -l; ls /proc/{forwarder}/fd | wc -l"));
    let before = eventually("the end of its connections", SECONDS, || {
        Some(has()).filter(|has| has.starts_with(char::is_numeric))
    });
    let script = format!("import urllib.request as u\nfor n in range(300): u.urlopen(\"{ours}\").read()");
    let (out, said) = runs(&mut other, &["python3", "-c", &script]);
    assert!(out, "{said}");
    eventually("as many threads and files as before", SECONDS, || (has() == before).then_some(()));

    place.daemon_says(&format!("kill -9 {forwarder}"));
    place.world.notes.take();
    let (out, said) = reaches(&mut other, ours);
    assert!(!out, "{said}");
    assert_eq!(place.world.notes.take(), Vec::<String>::new(), "nothing has gone out");
    assert!(runs(&mut other, &["true"]).0, "the session goes on");
    assert!(reaches(named, theirs).0, "and so does the other one");
    drop(other);
    eventually("its end", GONE_WITHIN, || place.try_row("other", "active").is_none().then_some(()));
}

fn nothing_stays(place: &Place, session: Session) {
    let forwarders = "ls -l /proc/[0-9]*/exe 2>/dev/null | grep -c /berth/keeper";
    let volumes =
        "ls -d /var/lib/docker/volumes/* /var/lib/docker/*/volumes/* 2>/dev/null | grep -cE '/[0-9a-f]{64}$'";
    // The other session's volume goes a little after its container.
    eventually("one volume, where it is written what is refused", GONE_WITHIN, || {
        (place.daemon_says(volumes) == "1").then_some(())
    });
    // The resolver is the other one.
    assert_eq!(place.daemon_says(forwarders), "2");
    drop(session);
    eventually("the end of the forwarder, and of its volume", GONE_WITHIN, || {
        (place.daemon_says(volumes) == "0" && place.daemon_says(forwarders) == "1").then_some(())
    });
}

fn a_server_that_was_started_ahead_has_the_same_list(place: &Place) {
    // The second one finds what the first has put on standby.
    for how in ["cold", "prestarted"] {
        let mut session = place.session("ahead");
        let (out, said) = runs(&mut session, &["curl", "-sSfk", "https://api.test.example/"]);
        assert!(out, "{how}: {said}");
        assert!(!runs(&mut session, &["curl", "-sSf", "http://evil.example/"]).0, "{how}");
        eventually("word of it", SECONDS, || {
            session.stderr().contains("refused: evil.example").then_some(())
        });
        let id = place.row_of("ahead", "active")["session"].as_str().expect("an id").to_owned();
        assert!(place.own.succeeds(&["logs", &id]).contains(how), "{how}");
        eventually("the next container", SECONDS, || place.try_row("ahead", "standby"));
    }
}

fn the_local_network_is_closed_unless_it_is_asked_for(place: &Place, lan: &mut Session) {
    let gateway = place.daemon_says("ip route 2>/dev/null | sed -n 's/default via \\([^ ]*\\).*/\\1/p'");
    let gateway = if gateway.is_empty() { "172.17.0.1".to_owned() } else { gateway };
    let connect = |session: &mut Session, address: &str, port: u16| {
        let script = format!("import socket; socket.create_connection((\"{address}\", {port}), 3)");
        runs(session, &["python3", "-c", &script])
    };
    let mut world = place.session("world");
    let (out, said) = connect(&mut world, &OTHER.to_string(), 80);
    assert!(out, "out to the world: {said}");
    assert!(runs(&mut world, &["curl", "-sSf", "http://evil.example/"]).0, "by name, too");
    let local = [&gateway, "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.100.100.200", "169.254.169.254"];
    for address in local.into_iter().chain(["168.63.129.16", "192.0.0.192", "fd00:ec2::254"]) {
        let (out, said) = connect(&mut world, address, 80);
        let is_refused = said.contains("Permission denied") || address.contains(':');
        assert!(!out && is_refused, "{address}: {said}");
    }
    let (_, said) = connect(lan, &gateway, 9);
    assert!(!said.contains("Permission denied"), "it is asked, whatever it answers: {said}");
}

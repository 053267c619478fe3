//! A daemon has a bounded number of containers on standby, and none that nobody is likely to claim.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::dind::own::OwnDaemon;
use crate::harness::{Berth, PATIENCE, Session, at_once, eventually};

const CAP: usize = 3;
/// Homes: in each only one session at a time makes any.
const MAKERS: usize = 2;

/// A daemon of this test's own: another test's containers would give way to these.
struct Place {
    own: OwnDaemon,
    /// Of another person's berth, with the same daemon.
    other: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let own = OwnDaemon::new("berth-test-dind-cap", 22458);
        let other = tempfile::tempdir().unwrap();
        let rest = format!(
            "[limits]\nstandby = {CAP}\n[defaults]\nnetwork = \"none\"\n[servers.named]\nimage = \"berth-fixture\"\n"
        );
        let config = |dind: &str| format!("[dind]\n{dind}\n{rest}");
        let here = "name = \"berth-test-dind-cap\"\nport = 22458\nimage = \"berth-dind\"";
        std::fs::write(format!("{}/berth.toml", own.home_folder()), config(here)).unwrap();
        own.up();
        let there = format!("host = \"tcp://127.0.0.1:22458\"\ncerts = \"{}\"", own.certs().display());
        std::fs::write(other.path().join("berth.toml"), config(&there)).unwrap();
        Self { own, other }
    }

    /// A session of one of the homes, with the handshake behind it.
    fn start(&self, run: Berth, client: &str, is_other: bool) -> Session {
        let other = self.other.path().to_str().unwrap();
        let home = if is_other { other } else { self.own.home_folder() };
        let mut session = run.client(client).env("BERTH_HOME", home).start_without_daemon();
        session.initialize();
        session
    }

    /// A session of the kind `n` that puts a container on standby, and ends.
    fn visit(&self, n: usize) {
        let session = self.start(kind(n).args(["--standby", "1", "--trace"]), "it-cap", false);
        session.expect_stderr("put on standby");
        end(session);
    }

    /// The ids of what is on standby, from the newest to the oldest.
    fn ids(&self) -> Vec<String> {
        let rows = self.own.inner(&["ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.ID}}"]);
        let standby = rows.lines().filter_map(|row| row.split_once(".standby "));
        standby.map(|(_, id)| id.to_owned()).collect()
    }

    fn count(&self, expected: usize) {
        eventually(&format!("{expected} on standby"), PATIENCE, || {
            (self.ids().len() == expected).then_some(())
        });
    }
}

/// The fixture with a variable of this kind.
fn kind(n: usize) -> Berth {
    Berth::image("berth-fixture").args(["--env", &format!("KIND_{n}=1")])
}

fn end(mut session: Session) {
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
}

fn hostname(session: &mut Session) -> String {
    let said = session.call("env", json!({ "name": "HOSTNAME" }));
    said["structuredContent"]["value"].as_str().unwrap().to_owned()
}

#[test]
fn standby_is_bounded_and_only_for_what_comes_again() {
    let place = Place::new();

    // What nobody has configured has to come twice, and what is configured once.
    let unlikely = || place.start(kind(0).args(["--trace"]), "it-cap", false);
    end(unlikely());
    assert_eq!(place.ids(), [""; 0]);
    let second = unlikely();
    second.expect_stderr("put on standby");
    end(second);
    place.count(1);
    let named = place.start(Berth::run("named").args(["--trace"]), "it-cap", false);
    named.expect_stderr("put on standby");
    end(named);
    place.count(2);
    end(place.start(Berth::run("named").args(["--", "/berth-fixture"]), "it-cap", false));
    place.count(2);

    // The kind that was claimed longest ago gives way; one that has just been claimed does not.
    let before = place.ids();
    place.visit(1);
    place.count(CAP);
    let mut claimer = unlikely();
    assert!(before[1].starts_with(&hostname(&mut claimer)), "{}", claimer.stderr());
    claimer.expect_stderr("put on standby");
    end(claimer);
    for n in 2..4 {
        place.visit(n);
        assert!(place.ids().len() <= CAP);
    }
    let left: BTreeSet<String> = place.ids().into_iter().collect();
    assert!(before.iter().all(|id| !left.contains(id)), "{before:?} {left:?}");
    let mut again = unlikely();
    assert!(left.iter().any(|id| id.starts_with(&hostname(&mut again))), "{}", again.stderr());
    end(again);

    // Both homes at once: neither knows of the other one's turn. A client's numbers are not what is tested here.
    at_once((10..18).collect(), |_, n| {
        let client = ["it-cap-here", "it-cap-there"][n % 2];
        let session = place.start(kind(n).args(["--standby", "1", "--trace"]), client, n % 2 == 1);
        // A session whose number was taken meanwhile puts none there.
        for _ in 0..100 {
            if session.stderr().contains("put on standby") {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        end(session);
        let there = place.ids().len();
        assert!(there <= CAP + 2 * MAKERS, "each of the makers has one more for a moment: {there}");
    });
    eventually("no more than the cap", PATIENCE, || (place.ids().len() <= CAP).then_some(()));
    (20..20 + CAP).for_each(|n| place.visit(n));
    place.count(CAP);

    for command in [&["ps"][..], &["doctor", "--quick"]] {
        let said = place.own.says(command);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains("3 containers on standby, of 3 at most"), "{command:?}: {said}");
    }
}

#[test]
fn who_claims_one_that_is_to_go_has_a_container_all_the_same() {
    let own = OwnDaemon::new("berth-test-dind-surplus", 22459);
    own.configure(
        "port = 22459\n[servers.ready]\nimage = \"berth-fixture\"\nnetwork = \"none\"\nstandby = 1",
    );
    own.up();
    let start = || {
        let ready = Berth::run("ready").client("it-surplus").args(["--trace"]);
        let mut session = ready.env("BERTH_HOME", own.home_folder()).start_without_daemon();
        session.initialize();
        session
    };
    let on_standby = || {
        let rows = own.inner(&["ps", "--format", "{{.Names}} {{.ID}}"]);
        let standby = rows.lines().find_map(|row| row.split_once(".standby "));
        standby.map(|(_, id)| id.to_owned())
    };
    let signal = |id: &str| own.inner(&["kill", "--signal", "SIGWINCH", id]);
    let first = start();
    first.expect_stderr("put on standby");
    // It is the session's own, and goes on.
    let id = eventually("a container on standby", PATIENCE, on_standby);
    let mut second = start();
    assert!(id.starts_with(&hostname(&mut second)), "{}", second.stderr());
    signal(&id);
    assert_eq!(hostname(&mut second), id);
    second.expect_stderr("put on standby");
    end(second);
    end(first);
    // Nobody's, it is gone.
    let id = eventually("a container on standby", PATIENCE, on_standby);
    signal(&id);
    eventually("its end", PATIENCE, || (on_standby().as_ref() != Some(&id)).then_some(()));
    // While another session starts, which has this lock, nobody puts anything there.
    let starting = File::open(Path::new(own.home_folder()).join("state/standby/starting")).unwrap();
    starting.lock_shared().unwrap();
    let waiting = start();
    waiting.expect_stderr("take a name");
    end(waiting);
    assert_eq!(on_standby(), None);
    drop(starting);
    // In the moment of its claim it is either one or the other.
    for _ in 0..6 {
        let seed = start();
        let id = eventually("a container on standby", PATIENCE, on_standby);
        let mut racer = std::thread::scope(|scope| {
            scope.spawn(|| signal(&id));
            start()
        });
        let own_container = hostname(&mut racer);
        assert_eq!(racer.call_text("echo", json!({ "text": own_container })), own_container);
        end(racer);
        end(seed);
    }
}

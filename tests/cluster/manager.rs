//! A manager's half in a cluster: it clears away what nobody else does, and knows the pods.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{PATIENCE, Place, eventually};

/// From a container's end on.
const SWEPT_WITHIN: Duration = Duration::from_secs(20);

/// A manager of the place's home.
struct Manager<'a> {
    place: &'a Place,
    process: Child,
}

impl Drop for Manager<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl<'a> Manager<'a> {
    fn start(place: &'a Place) -> Self {
        let mut command = place.berth();
        command.args(["manager", "run", "--api", "127.0.0.1:0", "--monitor", "127.0.0.1:0"]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let manager = Self { place, process };
        eventually("a manager that has looked at the cluster", PATIENCE, || manager.containers());
        manager
    }

    /// The answer's status and body.
    fn ask(&self, method: &str, path: &str) -> Option<(String, Value)> {
        let (_, said, _) = self.place.says(&["manager", "status"]);
        let address = said.lines().find_map(|line| line.strip_prefix("API:"))?.trim();
        let (_, token, _) = self.place.says(&["manager", "token"]);
        let mut stream = TcpStream::connect(address.strip_prefix("http://")?).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.to_owned(), serde_json::from_str(body).ok()?))
    }

    /// The names of the containers that it knows, sorted.
    fn containers(&self) -> Option<Vec<String>> {
        let (status, body) = self.ask("GET", "/v1/containers")?;
        let rows = body["containers"].as_array().filter(|_| status == "200")?;
        let mut names: Vec<String> =
            rows.iter().filter_map(|row| Some(row["name"].as_str()?.to_owned())).collect();
        names.sort();
        Some(names)
    }
}

#[test]
#[ignore = "needs a cluster"]
fn a_manager_knows_the_pods_ends_one_and_clears_away_what_the_killed_leave() {
    let place = Place::new("manager");
    let manager = Manager::start(&place);
    let mut killed = place.run("hasty").client("manager-killed").started();
    let mut ended = place.run("hasty").client("manager-ended").started();
    let (left, other) = (killed.container(), ended.container());
    let mut both = vec![left.clone(), other.clone()];
    both.sort();
    eventually("both pods", PATIENCE, || (manager.containers()? == both).then_some(()));

    let (status, body) = manager.ask("DELETE", &format!("/v1/containers/{other}")).expect("an answer");
    assert_eq!((status.as_str(), &body["ended"][0]["name"]), ("200", &other.as_str().into()), "{body}");
    assert_eq!(ended.exit_code(), Some(69), "{}", ended.stderr());

    // Nobody but the manager is there who could see what it leaves.
    killed.kill();
    let is_over = || {
        let pod = place.pod(&left)?;
        let phase = pod.status.and_then(|status| status.phase);
        matches!(phase.as_deref(), Some("Failed" | "Succeeded")).then_some(())
    };
    let gone = || place.pod(&left).is_none().then_some(());
    eventually("the container's end", PATIENCE, || is_over().or_else(gone));
    eventually("the manager's sweep", SWEPT_WITHIN, gone);
    eventually("no pod", PATIENCE, || manager.containers()?.is_empty().then_some(()));
}

//! What is noticed of a file that somebody edits, and what is told of it.

use std::os::unix::fs::PermissionsExt;

use mcp_berth::config::Home;
use tempfile::TempDir;

use super::*;

const TEXT: &str =
    "[servers.files]\nimage = \"i\"\nnetwork = \"none\"\nenv = { PIN = \"4711\" }\n[limits]\nstandby = 3\n";

struct House {
    folder: TempDir,
    settings: Settings,
    configured: Arc<Configured>,
}

impl House {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("berth.toml"), text).unwrap();
        Self::at(folder)
    }

    fn at(folder: TempDir) -> Self {
        let place = folder.path().to_str().unwrap().to_owned();
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| place.clone())).unwrap();
        let configured = Arc::new(Configured::new(home, None));
        let manager = folder.path().join("manager");
        let settings = Settings::open(folder.path(), &manager, &configured).unwrap();
        Self { folder, settings, configured }
    }

    /// Somebody writes the file, and the manager looks at it.
    fn edit(&mut self, text: &str) {
        std::fs::write(self.configured.path(), text).unwrap();
        self.settings.look();
    }

    fn noted(&self) -> Vec<(Option<String>, String)> {
        let text = std::fs::read_to_string(self.folder.path().join(audit::FILE)).unwrap_or_default();
        let entries = text.lines().map(|line| serde_json::from_str::<Entry>(line).unwrap());
        let file = self.configured.path().display().to_string();
        let told = |entry: Entry| {
            assert_eq!(entry.event, "setting changed");
            (entry.server, entry.detail.strip_prefix(&file).unwrap().to_owned())
        };
        entries.map(told).collect()
    }
}

fn of(server: Option<&str>, detail: &str) -> (Option<String>, String) {
    (server.map(str::to_owned), detail.to_owned())
}

#[test]
fn changed_settings_are_named_and_no_value_is_told() {
    let mut house = House::new(TEXT);
    house.settings.look();
    assert_eq!(house.noted(), [], "nothing was known before");
    house.edit(&format!("# a remark\n{}", TEXT.replace("network = \"none\"", "network   = \"none\"")));
    assert_eq!(house.noted(), [], "nothing means something else");
    house.edit(&TEXT.replace("4711", "4712").replace("standby = 3", "memory = \"1GiB\""));
    let expected = [
        of(None, ": `limits.memory` added, `limits.standby` removed"),
        of(Some("files"), ": `servers.files.env.PIN` changed"),
    ];
    assert_eq!(house.noted(), expected);
    house.edit("nonsense = 1\n");
    assert_eq!(house.noted().len(), 2, "a mistake is in force for nobody");
    std::fs::remove_file(house.configured.path()).unwrap();
    house.settings.look();
    assert_eq!(house.noted().len(), 4, "all is removed");
}

#[test]
fn what_was_changed_while_no_manager_ran_is_told_once() {
    let mut house = House::new(TEXT);
    house.settings.look();
    std::fs::write(house.configured.path(), TEXT.replace("none", "egress")).unwrap();
    for _ in 0..2 {
        house = House::at(house.folder);
        house.settings.look();
    }
    let expected = [of(Some("files"), " while no manager ran: `servers.files.network` changed")];
    assert_eq!(house.noted(), expected);
}

#[test]
fn short_secrets_are_not_in_the_managers_folder() {
    let mut house = House::new(TEXT);
    house.settings.look();
    let manager = house.folder.path().join("manager");
    let kept = std::fs::read_to_string(manager.join(FILE)).unwrap();
    let key = std::fs::read_to_string(manager.join(KEY)).unwrap();
    assert!(!kept.contains("4711") && !kept.contains(key.trim()), "{kept}");
    for file in [FILE, KEY] {
        assert_eq!(manager.join(file).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    // The same value under another name, or by another key, is another digest.
    let of = |house: &House, name: &str| house.settings.known.as_ref().unwrap().digests[name].clone();
    let other = House::new(&TEXT.replace("PIN = \"4711\"", "PIN = \"4711\", NIP = \"4711\""));
    let mut other = other;
    other.settings.look();
    let (one, two) = (of(&other, "servers.files.env.PIN"), of(&other, "servers.files.env.NIP"));
    assert_ne!(one, two);
    assert_ne!(one, of(&house, "servers.files.env.PIN"));
    // Without the key nothing is known, and nothing is told.
    std::fs::remove_file(manager.join(KEY)).unwrap();
    let mut house = House::at(house.folder);
    house.settings.look();
    assert_eq!(house.noted(), []);
}

#[test]
fn a_great_change_has_bounded_lines() {
    let mut house = House::new("");
    house.settings.look();
    let mut text: Vec<String> = (0..100).map(|n| format!("[servers.s{n}]\nimage = \"i\"\n")).collect();
    let variables: Vec<String> = (0..200).map(|n| format!("VARIABLE_{n} = \"x\"")).collect();
    text.push(format!("[servers.a]\nimage = \"i\"\nenv = {{ {} }}\n", variables.join(", ")));
    house.edit(&text.concat());
    let noted = house.noted();
    assert_eq!(noted.len(), LINES);
    let (server, detail) = &noted[0];
    assert!(server.as_deref() == Some("a") && detail.ends_with(" others"), "{detail}");
    let path = std::fs::read_to_string(house.folder.path().join(audit::FILE)).unwrap();
    assert!(path.lines().last().unwrap().contains("\"missing\":41"), "{path}");
}

use std::fs;

use super::super::What;
use super::super::text::tests::told;
use super::*;

const A: &str = r#"{"name":"a","description":"reads"}"#;
const OTHER_A: &str = r#"{"name":"a","description":"reads, and tells all"}"#;
const B: &str = r#"{"name":"b"}"#;

fn key() -> Key {
    let text = |text: &str| text.to_owned();
    Key {
        server: text("git"),
        spec: text("spec"),
        env: vec![text("TOKEN=hunter2"), text("SETS=all")],
        client: text("claude-code"),
        revision: text("2025-11-25"),
        capabilities: text(r#"{"roots":{},"elicitation":{"form":1}}"#),
    }
}

fn catalogue() -> (tempfile::TempDir, Catalogue) {
    let state = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::open(&state.path().join("state"));
    (state, catalogue)
}

fn files(catalogue: &Catalogue, end: &str) -> Vec<String> {
    catalogue.folder.names(end).into_iter().map(|(name, _)| name).collect()
}

fn guess(told: &Told) -> Known {
    Known { told: told.clone(), is_exact: false }
}

#[test]
fn what_was_kept_is_found_and_looking_makes_nothing() {
    let (state, catalogue) = catalogue();
    assert_eq!(catalogue.find(&key()), None);
    assert!(!state.path().join("state").exists());
    let told = told("sha256:1", &[A, B]);
    assert_eq!(catalogue.keep(&key(), &told).unwrap(), Kept::New);
    let exact = Some(Known { told: told.clone(), is_exact: true });
    assert_eq!(catalogue.find(&key()), exact);
    assert_eq!(catalogue.keep(&key(), &told).unwrap(), Kept::Same);
    let reordered = Key {
        env: key().env.into_iter().rev().collect(),
        capabilities: r#"{ "elicitation":{"form":1}, "roots":{} }"#.to_owned(),
        ..key()
    };
    assert_eq!(catalogue.find(&reordered), exact);
    assert_eq!(files(&catalogue, LISTS).len(), 1);
}

#[test]
fn another_client_of_the_same_era_is_a_guess_and_another_server_or_environment_is_none() {
    let (_state, catalogue) = catalogue();
    let told = told("sha256:1", &[A]);
    catalogue.keep(&key(), &told).unwrap();
    let with = |change: fn(&mut Key)| {
        let mut key = key();
        change(&mut key);
        catalogue.find(&key)
    };
    assert_eq!(with(|key| key.client = "codex".to_owned()), Some(guess(&told)));
    assert_eq!(with(|key| key.revision = "2025-06-18".to_owned()), Some(guess(&told)));
    assert_eq!(with(|key| key.capabilities = "{}".to_owned()), Some(guess(&told)));
    assert_eq!(with(|key| key.revision = "2026-07-28".to_owned()), None);
    assert_eq!(with(|key| key.env[0] = "TOKEN=other".to_owned()), None);
    assert_eq!(with(|key| key.env = vec!["TOKEN=hunter2SETS=all".to_owned()]), None);
    assert_eq!(with(|key| key.spec = "other".to_owned()), None);
    assert_eq!(with(|key| key.server = "gi".to_owned()), None);
    assert_eq!(with(|key| key.server = "../git".to_owned()), None);
}

#[test]
fn of_several_guesses_the_latest_counts() {
    let (_state, catalogue) = catalogue();
    for (client, hours) in [("a", 9), ("b", 3), ("c", 6)] {
        let key = Key { client: client.to_owned(), ..key() };
        catalogue.keep(&key, &told(client, &[A])).unwrap();
        let name = Name::new(&key, &Secret::find(&catalogue.folder).unwrap()).unwrap().file();
        let file = fs::File::open(catalogue.folder.path().join(name)).unwrap();
        file.set_modified(SystemTime::now() - std::time::Duration::from_hours(hours)).unwrap();
    }
    assert_eq!(catalogue.find(&key()), Some(guess(&told("b", &[A]))));
}

#[test]
fn no_value_of_the_environment_stands_in_a_file_or_can_be_guessed_from_one() {
    let (_state, catalogue) = catalogue();
    catalogue.keep(&key(), &told("sha256:1", &[A])).unwrap();
    for name in files(&catalogue, "") {
        let bytes = fs::read(catalogue.folder.path().join(&name)).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("hunter2"), "{name}");
    }
    let (_other_state, other) = self::catalogue();
    other.keep(&key(), &told("sha256:1", &[A])).unwrap();
    assert_ne!(files(&catalogue, LISTS), files(&other, LISTS), "each home has its own key");
}

#[test]
fn a_torn_file_is_none_and_the_next_one_takes_its_place() {
    let (_state, catalogue) = catalogue();
    let told = told("sha256:1", &[A]);
    catalogue.keep(&key(), &told).unwrap();
    let path = catalogue.folder.path().join(&files(&catalogue, LISTS)[0]);
    let text = fs::read(&path).unwrap();
    fs::write(&path, &text[..text.len() - 3]).unwrap();
    assert_eq!(catalogue.find(&key()), None);
    assert_eq!(catalogue.entries(), []);
    assert_eq!(catalogue.keep(&key(), &told).unwrap(), Kept::New);
    assert!(catalogue.find(&key()).unwrap().is_exact);
    // Neither is a key that is none.
    fs::write(catalogue.folder.path().join("key"), "short").unwrap();
    assert_eq!(catalogue.find(&key()), None);
    assert_eq!(catalogue.keep(&key(), &told).unwrap(), Kept::New);
    assert!(catalogue.find(&key()).unwrap().is_exact);
}

#[test]
fn many_may_write_at_once() {
    let (_state, catalogue) = catalogue();
    let tools: Vec<String> = (0..500).map(|number| format!(r#"{{"name":"t{number}"}}"#)).collect();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let (catalogue, tools) = (&catalogue, &tools);
            scope.spawn(move || {
                let mine: Vec<&str> = tools[..writer * 50 + 50].iter().map(String::as_str).collect();
                for _ in 0..20 {
                    catalogue.keep(&key(), &told("sha256:1", &mine)).unwrap();
                    let found = catalogue.find(&key()).unwrap();
                    assert!(found.is_exact, "all have one key");
                    assert_eq!(found.told.tools.unwrap().items.len() % 50, 0);
                }
            });
        }
    });
    assert_eq!(files(&catalogue, "").len(), 3, "one list, what was accepted, the key");
}

#[test]
fn there_are_only_so_many_files_and_none_is_too_long() {
    let (_state, catalogue) = catalogue();
    for number in 0..MOST + 3 {
        catalogue.folder.write(&format!("{number}{LISTS}"), b"").unwrap();
    }
    catalogue.keep(&key(), &told("sha256:1", &[A])).unwrap();
    assert_eq!(files(&catalogue, LISTS).len(), MOST);
    assert!(catalogue.find(&key()).is_some());
    let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(LONGEST));
    let error = catalogue.keep(&key(), &told("sha256:1", &[&long])).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(error.to_string(), "the lists of `git` are longer than 32 MiB");
}

#[test]
fn other_definitions_under_an_equal_key_and_image_are_told_once() {
    let (_state, catalogue) = catalogue();
    catalogue.keep(&key(), &told("sha256:1", &[A])).unwrap();
    let change = |tool: &str, what| Change { tool: tool.to_owned(), what };
    let changes = vec![change("a", What::Changed(vec!["description".to_owned()])), change("b", What::Added)];
    let expected = Kept::Changed { changes, is_varying: false };
    assert_eq!(catalogue.keep(&key(), &told("sha256:1", &[OTHER_A, B])).unwrap(), expected);
    assert_eq!(catalogue.keep(&key(), &told("sha256:1", &[OTHER_A, B])).unwrap(), Kept::Same);
    assert_eq!(catalogue.keep(&key(), &told("sha256:2", &[A])).unwrap(), Kept::New, "another image");
    let is_varying = |tools: &[&str]| match catalogue.keep(&key(), &told("sha256:2", tools)).unwrap() {
        Kept::Changed { is_varying, .. } => is_varying,
        other => panic!("{other:?}"),
    };
    assert!(!is_varying(&[B]));
    assert!(!is_varying(&[A]));
    assert!(is_varying(&[B]), "the third change to and fro");
}

#[test]
fn only_what_was_there_first_or_what_a_person_accepted_is_accepted() {
    let (_state, catalogue) = catalogue();
    let is_accepted =
        |tool, definition: &str| catalogue.is_accepted(&key(), "sha256:1", tool, definition.as_bytes());
    assert!(is_accepted("a", OTHER_A), "nothing is known yet");
    assert_eq!(catalogue.accept("git", None).unwrap(), [""; 0]);
    catalogue.keep(&key(), &told("sha256:1", &[A])).unwrap();
    assert!(is_accepted("a", A) && !is_accepted("a", OTHER_A) && !is_accepted("b", B));
    assert!(is_accepted("a", r#"{ "description":"reads", "name":"a" }"#), "it says the same");
    let changed = told("sha256:1", &[OTHER_A, B]);
    catalogue.keep(&key(), &changed).unwrap();
    assert!(!is_accepted("a", OTHER_A), "keeping is not accepting");
    catalogue.forget();
    assert!(!is_accepted("a", OTHER_A), "forgetting is not accepting either");
    catalogue.keep(&key(), &changed).unwrap();
    let refused = || catalogue.accepted(&key(), "sha256:1").unwrap().refused(&changed);
    assert_eq!(refused(), ["a", "b"]);
    assert_eq!(catalogue.accept("gi", None).unwrap(), [""; 0]);
    assert_eq!(catalogue.accept("git", Some("b")).unwrap(), ["b"]);
    assert_eq!(refused(), ["a"]);
    assert_eq!(catalogue.accept("git", None).unwrap(), ["a"]);
    assert_eq!(refused(), [""; 0]);
    assert!(!is_accepted("a", A), "the former one is another one now");
}

#[test]
fn what_was_accepted_is_of_one_image_whoever_asks() {
    let (_state, catalogue) = catalogue();
    let probe = Key { revision: "2026-07-28".to_owned(), ..key() };
    let refused = Told { hello: super::super::Hello::NoDiscover, tools: None, ..told("sha256:1", &[]) };
    catalogue.keep(&probe, &refused).unwrap();
    assert_eq!(catalogue.accepted(&key(), "sha256:1"), None, "a refused probe accepts nothing");
    catalogue.keep(&key(), &told("sha256:1", &[A])).unwrap();
    let codex = Key { client: "codex".to_owned(), capabilities: r#"{"roots":{}}"#.to_owned(), ..key() };
    assert_eq!(catalogue.accepted(&key(), "sha256:2"), None);
    catalogue.keep(&codex, &told("sha256:1", &[OTHER_A])).unwrap();
    assert!(
        !catalogue.is_accepted(&codex, "sha256:1", "a", OTHER_A.as_bytes()),
        "a new client is no consent"
    );
    assert!(catalogue.is_accepted(&codex, "sha256:1", "a", A.as_bytes()));
}

#[test]
fn entries_say_whose_they_are() {
    let (_state, catalogue) = catalogue();
    let codex = Key { client: "codex".to_owned(), revision: "2025-06-18".to_owned(), ..key() };
    for key in [codex, key(), Key { server: "a-b".to_owned(), ..key() }] {
        catalogue.keep(&key, &told("sha256:1", &[A])).unwrap();
    }
    let entries = catalogue.entries();
    let said: Vec<_> = entries.iter().map(|e| (&*e.server, &*e.client, &*e.revision)).collect();
    let expected = [
        ("a-b", "claude-code", "2025-11-25"),
        ("git", "claude-code", "2025-11-25"),
        ("git", "codex", "2025-06-18"),
    ];
    assert_eq!(said, expected);
    assert!(entries.iter().all(|entry| entry.told == told("sha256:1", &[A]) && entry.bytes > 100));
    assert_eq!(catalogue.latest("a"), None);
    assert_eq!(catalogue.latest("a-b"), Some(told("sha256:1", &[A])));
    let probe = Key { revision: "2026-07-28".to_owned(), ..key() };
    catalogue
        .keep(&probe, &Told { hello: super::super::Hello::NoDiscover, ..told("sha256:1", &[]) })
        .unwrap();
    assert_eq!(catalogue.latest("git"), Some(told("sha256:1", &[A])), "a refused probe tells nothing");
    assert_eq!(catalogue.forget(), 4);
    assert_eq!((catalogue.entries(), catalogue.find(&key())), (vec![], None));
}

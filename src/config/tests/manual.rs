//! What the manual says of keys and defaults is what holds.

use super::*;

/// What a table says that it knows.
fn known(text: &str) -> Vec<String> {
    let error = parse(text).unwrap_err().to_string();
    let (_, known) = error.split_once("known keys are ").unwrap_or_else(|| panic!("{error}"));
    let mut known: Vec<String> = known.split(", ").map(str::to_owned).collect();
    known.sort();
    known
}

#[test]
fn the_manuals_keys_are_those_that_are_read() {
    let sorted = |keys: &[Key]| {
        let mut keys: Vec<String> = keys.iter().map(|key| key.key.to_owned()).collect();
        keys.sort();
        keys
    };
    assert_eq!(known("[dind]\n\"?\" = 1"), sorted(&dind::KEYS));
    assert_eq!(known("[bake]\n\"?\" = 1"), sorted(&bake::KEYS));
    assert_eq!(known("[limits]\n\"?\" = 1"), sorted(&limits::KEYS));
    assert_eq!(known("[manager]\n\"?\" = 1"), sorted(&manager::KEYS));
    assert_eq!(known("[profiles.a]\n\"?\" = 1"), sorted(&profile::KEYS));
    let mut of_a_server = sorted(&program::KEYS);
    of_a_server.extend(every_setting().iter().map(|setting| setting.key.to_owned()));
    of_a_server.sort();
    assert_eq!(known("[servers.a]\nimage = \"i\"\n\"?\" = 1"), of_a_server);
}

#[test]
fn the_manuals_defaults_are_those_that_hold() {
    let defaults = [("dind", &dind::KEYS[..]), ("bake", &bake::KEYS), ("manager", &manager::KEYS)];
    let tables: Vec<String> =
        defaults.iter().map(|(table, keys)| format!("[{table}]\n{}", key::defaults(keys))).collect();
    let text = tables.concat();
    let config = config(&text);
    // What may not be shared depends on where the home is.
    let dind = Dind { share: config.dind.share.clone(), ..Dind::default() };
    assert_eq!((config.dind, config.bake, config.manager), (dind, Bake::default(), Manager::default()));
}

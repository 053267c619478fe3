//! What is told of servers that do not run, or share a session.

use super::*;

#[test]
fn a_server_of_a_profile_starts_at_its_first_call_unless_it_says_otherwise() {
    let starts = |keys: &str| {
        let config = config(&format!("[servers.a]\nimage = \"i\"\n{keys}"));
        let settings = &config.server("a").unwrap().settings;
        (settings.start(false), settings.start(true))
    };
    assert_eq!(starts(""), (Start::Session, Start::FirstCall));
    assert_eq!(starts("start = \"session\""), (Start::Session, Start::Session));
    assert_eq!(starts("start = \"first-call\""), (Start::FirstCall, Start::FirstCall));
    let varying = "definitions = \"varying\"\nstart = \"first-call\"";
    assert_eq!(starts(varying), (Start::Session, Start::Session));
    let flag = Overrides::default().with("start", &["session"]);
    assert_eq!(flag.on_the_defaults().start(true), Start::Session);
}

#[test]
fn only_what_keeps_nothing_gives_its_container_back() {
    let expected = "cannot have `idle` without `stateless = true`: its next call would find a new server";
    let error = parse("[servers.a]\nimage = \"i\"\nidle = \"15m\"\n").unwrap_err();
    assert_eq!(error.message(), format!("server `a` {expected}"));
    assert!(parse("[servers.a]\nimage = \"i\"\nidle = \"15m\"\nstateless = true\n").is_ok());
    assert!(parse("[defaults]\nidle = \"15m\"\n[servers.a]\nimage = \"i\"\nstateless = true\n").is_ok());
}

#[test]
fn an_alias_is_a_servers_own() {
    assert_error(
        "[defaults]\nalias = \"x\"",
        "berth.toml:2: `alias` is not allowed in [defaults]; set it for each server, in [servers.NAME]",
    );
    let error = parse(&format!("[servers.a]\nimage = \"i\"\nalias = \"{}\"", "x".repeat(33))).unwrap_err();
    assert!(error.to_string().starts_with("berth.toml:3: `alias` must be a name of at most 32"), "{error}");
}

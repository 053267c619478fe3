//! `network`, as a word and as a list.

use super::{assert_server_error, parse};
use crate::values::Network;

fn network(text: &str) -> Network {
    let config = parse(&format!("[servers.a]\nimage = \"i\"\n{text}")).unwrap();
    config.servers["a"].settings.network.clone()
}

#[test]
fn it_is_a_word_or_a_table() {
    assert_eq!(network("network = \"lan\""), Network::Lan);
    let list = network("network = { allow = [\"api.github.com\", \"*.example.org:443\"] }");
    assert_eq!(list.to_string(), "allow=api.github.com,*.example.org:443");
    assert_eq!(network("[servers.a.network]\nallow = [\"a.org\"]").to_string(), "allow=a.org");
}

#[test]
fn a_wrong_list_is_explained_at_its_line() {
    let hint = "write network = { allow = [\"api.example.org\"] }";
    assert_server_error("network = { allow = [] }", &format!("3: `allow` is empty; {hint}"));
    assert_server_error("network = {}", &format!("3: `network` has no `allow`; {hint}"));
    assert_server_error(
        "network = { alow = [\"a.org\"] }",
        "3: unknown key `alow` in `network`; did you mean `allow`?",
    );
    assert_server_error(
        "network = { allow = \"a.org\" }",
        "3: `allow` must be a list in brackets, not a text",
    );
    assert_server_error(
        "network = { allow = [\n\"a.org\",\n\"https://b.org\"] }",
        "5: each of `allow` must be a name such as \"api.example.org\", \"*.example.org\" or \"10.0.0.5\", \
         with a port behind it or not (\"api.example.org:443\"), not `\"https://b.org\"`",
    );
}

use super::*;
use crate::observe::stderr::tests::Caught;

fn logged(filter: Option<&str>, log: impl FnOnce()) -> String {
    let (stderr, caught) = Caught::sink();
    tracing::subscriber::with_default(subscriber(filter, &stderr), log);
    caught.text(&stderr)
}

fn some_of_each() {
    tracing::error!(container = "mcp-codex-1", "can't remove");
    tracing::warn!("slow");
    tracing::info!("ready");
    tracing::debug!("detail");
}

#[test]
fn by_default_warnings_and_errors_are_short_lines() {
    let expected = "berth: error: can't remove container=\"mcp-codex-1\"\nberth: warning: slow\n";
    assert_eq!(logged(None, some_of_each), expected);
    for nothing in ["", " ", ",", "mcp_berth=warn,", " , other=debug ,"] {
        assert_eq!(logged(Some(nothing), some_of_each), expected, "{nothing:?}");
    }
}

#[test]
fn the_variable_sets_the_level() {
    let text = logged(Some("mcp_berth=debug"), some_of_each);
    assert!(text.contains("berth: ready\n"), "{text}");
    assert!(text.contains("berth: debug: mcp_berth::logging::tests: detail\n"), "{text}");
    assert_eq!(logged(Some("other=warn, mcp_berth=debug ,"), some_of_each), text);
    assert_eq!(logged(Some("off"), some_of_each), "");
}

#[test]
fn a_filter_that_makes_no_sense_is_said_and_ignored() {
    let text = logged(Some("mcp_berth=loud"), some_of_each);
    assert!(text.starts_with("berth: warning: BERTH_LOG is ignored: "), "{text}");
    assert!(text.ends_with("berth: warning: slow\n"), "{text}");
}

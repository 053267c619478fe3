//! What keeps from tools keeps from them under their new names, or is told.

use super::*;

fn against(text: &str, one: &OneEntry) -> Renamed {
    rule(text, Place::Against, one)
}

#[test]
fn a_wildcard_that_loses_a_tool_by_its_mark_names_it() {
    let all = ["mcp__*__get_issue", &issue()];
    assert_eq!(against("mcp__*__get_issue", &known()), to(&all));
    assert_eq!(against("mcp__*_issue", &known()), to(&["mcp__*_issue", &issue()]));
    assert_eq!(against("mcp__*__get_*", &known()), Renamed::Same);
}

#[test]
fn tools_that_nobody_asked_for_are_forbidden_under_every_name_or_told() {
    // `get_now` may be `get.now` for the server itself, and then it has a mark.
    let both = ["mcp__work__time__get_now", "mcp__work__time__get_now_*"];
    assert_eq!(against("mcp__time__get_now", &one()), to(&both));
    let dotted = one().claude(&one().servers[2], "get.now");
    assert!(glob::matches(both[1], &dotted), "{dotted}");
    assert_eq!(against("mcp__time__get_*", &one()), to(&["mcp__work__time__get_*"]));
    let long = format!("mcp__time__a_{}", "x".repeat(50));
    for text in ["mcp__time__*_now", "mcp__*__now", &long, &format!("{long}*")] {
        assert!(matches!(against(text, &one()), Renamed::Stays(_)), "{text}");
    }
    assert_eq!(rule("mcp__time__get_now", Place::Agent, &one()), to(&both[..1]));
    let listed = rule("mcp__time__get_now", Place::AgainstNames, &one());
    assert!(matches!(listed, Renamed::Stays(_)), "{listed:?}");
    assert_eq!(rule("mcp__time__now", Place::AgainstNames, &one()), to(&["mcp__work__time__now"]));
}

#[test]
fn a_list_of_servers_that_run_is_told_where_it_names_one() {
    let of = |text: &str| settings(text, Path::new("/s"), &one()).unwrap().1;
    for text in [
        r#"{"deniedMcpServers":[{"serverName":"git.hub"}]}"#,
        r#"{"allowedMcpServers":[{"serverName":"files"}]}"#,
        r#"{"allowedMcpServers":[{"serverName":"work"}]}"#,
        r#"{"disabledMcpServers":["x","time"]}"#,
    ] {
        assert!(matches!(&of(text)[..], [stay] if stay.restricts && stay.why.is_some()), "{text}");
    }
    assert_eq!(of(r#"{"deniedMcpServers":[{"serverName":"x"},{"serverUrl":"https://files"}]}"#), []);
}

#[test]
fn what_keeps_a_sub_agent_from_tools_is_a_restriction_and_what_it_has_is_none() {
    let file = |key: &str| format!("---\n{key}: mcp__time\n---\n");
    let of = |key: &str, sort| front_matter(&file(key), sort, &one()).1;
    assert!(of("disallowedTools", Sort::Agent)[0].restricts && !of("tools", Sort::Agent)[0].restricts);
    assert!(of("disallowed-tools", Sort::Command)[0].restricts);
    assert_eq!(of("allowed-tools", Sort::Command), []);
}

//! The report's forms, from doctored observations.

use std::path::Path;

use serde_json::Value;

use super::*;
use crate::config::{Config, Home};
use crate::validate::checks::access::CallOutcome;
use crate::validate::checks::sample::good;

fn plan() -> Plan {
    let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
    let text = "[servers.everything]\nimage = \"berth-everything\"";
    let config = Config::parse(text, Path::new("/b/berth.toml"), &home).unwrap();
    Plan::new(4, 2, None, &config, None, &|_| None).unwrap()
}

fn report(doctor: impl FnOnce(&mut Observations)) -> Report {
    let mut seen = good();
    doctor(&mut seen);
    Report::new(&plan(), &seen, Duration::from_millis(6400), "2026-01-02T03:04:05.6Z".parse().unwrap())
}

fn failing() -> Report {
    report(|seen| seen.access.clients[1].calls[0].outcome = CallOutcome::Wrong("no\nanswer | <b>".to_owned()))
}

fn on_terminal(report: &Report, colours: bool) -> String {
    let mut out = Vec::new();
    terminal::write(&mut out, report, colours).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn json_has_the_facts() {
    let json = |report: &Report| serde_json::to_value(report).unwrap();
    let passed = json(&report(|_| ()));
    assert_eq!((&passed["passed"], &passed["date"]), (&Value::Bool(true), &"2026-01-02T03:04:05Z".into()));
    assert_eq!(passed["figures"][0]["ours"], "1.00 s");
    assert_eq!(passed["figures"][0]["reference"], "4.5 s");
    assert_eq!(passed["figures"][1]["ours"], "0.0050 s");
    assert_eq!(passed["figures"][2]["ours"], "6.4 s");
    assert_eq!(passed["figures"][3]["ours"], "100 % (8 of 8)");
    assert_eq!(passed["sessions"][1]["container"], "mcp-codex-1");
    assert_eq!(passed["sessions"][1]["mean_s"], 0.005);
    let failed = json(&failing());
    assert_eq!(failed["passed"], false);
    assert_eq!(failed["sections"][2]["checks"][0]["outcome"], "failed");
    assert_eq!(failed["figures"][3]["ours"], "87 % (7 of 8)");
}

#[test]
fn the_terminal_shows_aligned_checks_and_the_next_step_of_failed_ones() {
    let text = on_terminal(&failing(), false);
    let column = |word: &str| {
        let line = text.lines().find(|line| line.contains(word)).unwrap();
        line.chars()
            .collect::<Vec<_>>()
            .windows(word.len())
            .position(|at| at.iter().collect::<String>() == word)
    };
    assert_eq!(column("Docker 28.5.1"), column("codex 1: 1 of 2"));
    assert!(text.contains("  ✗ every call gets the right answer"), "{text}");
    assert!(text.contains("next: berth run --trace everything"), "{text}");
    assert!(text.contains("not passed: 41 checks passed, 1 failed, 0 not applicable, in 6.4 s"), "{text}");
    assert!(!text.contains('\x1b'), "no colours were asked for");
    assert!(on_terminal(&report(|_| ()), true).contains("\x1b[32m✓\x1b[0m"));
    assert!(on_terminal(&failing(), true).contains("\x1b[31m✗\x1b[0m"));
}

#[test]
fn markdown_keeps_its_form_whatever_is_said() {
    let text = markdown::render(&failing());
    assert!(text.starts_with("# Multi-client validation: **not passed**\n"), "{text}");
    assert!(
        text.contains("- ✗ **Every call gets the right answer**: codex 1: 1 of 2 (no answer | &lt;b>)\n"),
        "{text}"
    );
    assert!(text.contains("| concurrent access | ✗ failed | 4 of 5 |"), "{text}");
    assert!(text.contains("| orchestrator | ✓ passed | 5 of 5 |"), "{text}");
    assert!(text.contains("| deployment of four containers | 1.00 s | 4.5 s |"), "{text}");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| claude-code")).collect();
    assert!(!rows.is_empty(), "{text}");
    for line in rows {
        assert_eq!(line.matches(" | ").count(), 7, "{line}");
    }
}

#[test]
fn a_system_without_a_daemon_has_a_report_too() {
    let report = report(|seen| *seen = Observations::default());
    assert_eq!((report.passed, report.counts()[0]), (false, 0));
    assert!(on_terminal(&report, false).contains("✗ the daemon answers"));
    assert!(on_terminal(&report, false).ends_with("nothing can be examined without an answer\n"));
    assert!(markdown::render(&report).contains("- ✗ **The daemon answers**: nothing could be examined"));
}

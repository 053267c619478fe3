//! What berth tells a person or a shell of its command line: help, completions, manual.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::berth;

fn says(args: &[&str]) -> String {
    let output = berth().args(args).output().expect("berth runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What a program says that fixtures/setup.sh installs.
fn runs(command: &mut Command, text: &str) -> Output {
    use std::io::Write;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| {
        let program = command.get_program().display();
        panic!("this test needs `{program}`, which `bash fixtures/setup.sh` installs: {error}")
    });
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// Has a program read `text`.
fn reads(program: &str, args: &[&str], text: &str) -> Output {
    runs(Command::new(program).args(args), text)
}

#[test]
fn help_says_where_things_are_and_has_no_colours_in_a_pipe() {
    let help = says(&["--help"]);
    for part in ["berth.toml", "BERTH_HOME", "BERTH_LOG", "DOCKER_HOST", "NO_COLOR", "Exit codes:", "78"] {
        assert!(help.contains(part), "{part} in {help}");
    }
    for args in [&["--help"][..], &["run", "--help"], &["doctor", "--help"]] {
        let help = says(args);
        assert!(!help.contains('\x1b') && help.contains("Examples:"), "{help}");
    }
}

#[test]
fn each_shell_reads_its_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = says(&["completions", shell]);
        assert!(script.contains("doctor"), "{shell}: {script}");
        let checked = reads(shell, &["-n"], &script);
        assert!(checked.status.success(), "{shell}: {}", String::from_utf8_lossy(&checked.stderr));
        // One that reads all would pass as well.
        let broken = reads(shell, &["-n"], &(script + "\nif (\n"));
        assert!(!broken.status.success(), "{shell} sees no mistake");
    }
}

#[test]
fn help_shows_topics_and_commands_and_an_unknown_topic_gets_the_nearest_name() {
    let all = says(&["help"]);
    assert!(all.contains("\n    validate ") && all.contains("\n    identity "), "{all}");
    let topic = says(&["help", "config"]);
    assert!(topic.starts_with("# config: ") && !topic.contains("<!--"), "{topic}");
    assert_eq!(says(&["help", "kill"]), says(&["kill", "--help"]));
    let both = says(&["help", "chaos"]);
    assert!(both.starts_with("# chaos: ") && both.contains("--sessions <N>"), "{both}");
    let refused = berth().args(["help", "confg"]).output().expect("berth runs");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(64), "{said}");
    assert!(said.contains("a similar value exists: 'config'"), "{said}");
}

#[test]
fn bash_completes_subcommands() {
    let script = says(&["completions", "bash"]);
    let ask = "\nCOMP_WORDS=(berth doc)\nCOMP_CWORD=1\n_berth berth doc berth\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n";
    let completed = reads("bash", &["--norc"], &(script + ask));
    assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "doctor");
}

#[test]
fn each_subcommand_and_topic_has_a_page_that_man_renders() {
    let folder = tempfile::tempdir().expect("a folder");
    says(&["man", folder.path().to_str().expect("a plain path")]);
    for (name, part) in [
        ("berth.1", "BERTH_HOME"),
        ("berth-run.1", "--memory"),
        ("berth-doctor.1", "--quick"),
        ("berth-man.1", "DIR"),
        ("berth-config.7", "answer_timeout"),
        ("berth-sessions.7", "SIGKILL"),
    ] {
        let page = folder.path().join(name);
        let text = std::fs::read_to_string(&page).expect("a page");
        assert!(text.contains(".TH") && text.contains(".SH NAME"), "{name}: {text}");
        let mut man = Command::new("man");
        man.arg("-l")
            .arg(&page)
            .env("MANPAGER", "cat")
            .env("MANWIDTH", "100")
            .env_remove("MAN_KEEP_FORMATTING");
        let rendered = runs(&mut man, "");
        let complaint = String::from_utf8_lossy(&rendered.stderr);
        assert!(rendered.status.success() && complaint.is_empty(), "{name}: {complaint}");
        let shown = String::from_utf8_lossy(&rendered.stdout);
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(says(&["man"]).contains(".TH berth 1"));
}

#[test]
fn each_sentence_of_the_threat_model_names_tests_that_exist() {
    let threats = says(&["help", "threats"]);
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let rows = threats.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| sentence"));
    let mut seen = 0;
    for row in rows {
        let named: Vec<&str> = row.split('`').filter(|word| word.contains("::")).collect();
        assert!(!named.is_empty(), "no test shows «{row}»");
        for name in named {
            let (file, test) = name.split_once("::").unwrap();
            let source = std::fs::read_to_string(tests.join(file).with_extension("rs")).unwrap_or_default();
            assert!(source.contains(&format!("#[test]\nfn {test}() {{")), "{name} is no test: «{row}»");
            seen += 1;
        }
    }
    assert!(seen > 30, "{threats}");
}

#[test]
fn a_report_that_nobody_reads_ends_in_silence() {
    for args in [
        &["--help"][..],
        &["run", "--help"],
        &["--version"],
        &["completions", "bash"],
        &["man"],
        &["help"],
        &["help", "config"],
        &["doctor", "--quick"],
        &["doctor", "--quick", "--json"],
        &["status"],
        &["status", "--json"],
        &["env"],
        &["logs"],
        &["run", "--dry-run", "fixture"],
        &["import", "claude-code", "--dry-run"],
        &["validate", "--server", "fixture", "--json"],
    ] {
        let home = tempfile::tempdir().expect("a folder");
        // No daemon: each command has something to say of that, too.
        let config =
            "[dind]\nhost = \"unix:///nowhere.sock\"\n[servers.fixture]\nimage = \"berth-fixture\"\n";
        std::fs::write(home.path().join("berth.toml"), config).expect("a configuration");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = berth();
        command.args(args).env("BERTH_HOME", home.path()).env("HOME", home.path()).stdout(writer);
        let output = command.output().expect("berth runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.as_ref()), (Some(141), ""), "{args:?}");
    }
}

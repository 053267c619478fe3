//! What becomes of the parts of an entry that only its client or berth itself would read.

use super::*;

#[test]
fn what_berth_itself_would_obey_leaves_the_entry_and_the_server_gets_what_it_can_use() {
    let with = |line: &str, env: &[(&str, &str)]| {
        let mut entry = entry(line);
        entry.env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        taken_over(&entry, |_| "base".to_owned())
    };
    let project = [
        ("BERTH_HOME", "/evil"),
        ("XDG_CONFIG_HOME", "/evil"),
        ("LD_PRELOAD", "/evil.so"),
        ("DOCKER_CONFIG", "/evil"),
        ("DOCKER_HOST", "tcp://10.0.0.7:2375"),
        ("CLAUDE_PROJECT_DIR", "/"),
        ("DOCKER_PAT", "mine"),
    ];
    let translated = with("npx -y p", &project).unwrap();
    let names: Vec<&str> =
        project.iter().map(|(name, _)| *name).filter(|name| *name != "DOCKER_PAT").collect();
    assert_eq!(translated.without, names);
    let table = translated.table.to_string();
    assert!(
        table.contains("DOCKER_HOST = \"tcp://10.0.0.7:2375\"") && table.contains("${DOCKER_PAT}"),
        "{table}"
    );
    assert!(!table.contains("evil") && !table.contains("${CLAUDE_PROJECT_DIR}"), "{table}");
    let handed_on =
        with("docker run -i --rm -e HOME -e LEVEL i", &[("HOME", "/$data"), ("LEVEL", "1"), ("OTHER", "2")])
            .unwrap();
    assert!(handed_on.notes.iter().any(|note| note.contains("`OTHER` is left out")), "{:?}", handed_on.notes);
    let table = handed_on.table.to_string();
    assert!(table.contains("HOME = \"/$$data\"") && table.contains("env_vars = [\"LEVEL\"]"), "{table}");
    assert!(!table.contains("OTHER"), "docker would not hand it on: {table}");
    assert_eq!(handed_on.without, ["HOME"]);
    let why = with("docker run -i -e BERTH_TOKEN i", &[("BERTH_TOKEN", "hunter2-hunter2")]).unwrap_err();
    assert!(why.contains("under another name") && !why.contains("hunter"), "{why}");
}

#[test]
fn variables_are_taken_out_of_an_entry_and_nothing_else() {
    let out = ["K".to_owned(), "none".to_owned()];
    let json = edited(Kind::ClaudeCode, JSON, |document| document.unset("a", &out));
    assert_eq!(json, JSON.replace(", \"env\": {\"K\": \"v\"}", ""));
    let two = JSON.replace("{\"K\": \"v\"}", "{\"K\": \"v\", \"L\": \"w\"}");
    let json = edited(Kind::ClaudeCode, &two, |document| document.unset("a", &out));
    assert_eq!(json, two.replace("\"K\": \"v\",", ""));
    let toml = edited(Kind::Codex, TOML, |document| document.unset("a", &out));
    assert_eq!(toml, TOML.replace("env = { K = \"v\" }\n", ""));
    let table = "[mcp_servers.a]\ncommand = \"x\"\n\n[mcp_servers.a.env]\nK = \"v\"\nL = \"w\" # mine\n";
    let toml = edited(Kind::Codex, table, |document| document.unset("a", &out));
    assert_eq!(toml, table.replace("K = \"v\"\n", ""));
}

#[test]
fn codex_is_told_to_wait_for_a_required_server_and_what_a_person_has_set_stays() {
    let required = Entry { required: true, ..entry("berth run a") };
    let text = edited(Kind::Codex, TOML, |document| document.rewire("a", &required));
    assert!(text.contains("\nrequired = true\n"), "{text}");
    let is_required = |text: &str| match &place(Kind::Codex).read(text).unwrap().servers()[0].1 {
        Found::Stdio(entry) => entry.required,
        other => panic!("{other:?}"),
    };
    assert!(is_required(&text) && !is_required(TOML));
    assert!(!is_required(&text.replace("required = true", "required = false")));
    let again = edited(Kind::Codex, &text, |document| document.rewire("a", &entry("berth run a")));
    assert_eq!(again, text, "nobody has asked that it be taken back");
    let put = edited(Kind::Codex, TOML, |document| document.put("new", &required));
    assert!(
        put.contains("[mcp_servers.new]\ncommand = \"berth\"\nargs = [\"run\", \"a\"]\nrequired = true\n"),
        "{put}"
    );
}

#[test]
fn codexs_tables_of_variables_stay_as_they_are() {
    let text = "[mcp_servers.a]\ncommand = \"npx\"\nargs = [\"p\"]\nenv_vars = [\"A\", { name = \"B\", source = \"remote\" }]\n";
    let servers = place(Kind::Codex).read(text).unwrap().servers();
    let Found::Stdio(found) = &servers[0].1 else { panic!("{servers:?}") };
    assert_eq!(found.env_vars, ["A", "B"]);
    let mut new = entry("berth run a");
    new.env_vars = ["A", "B", "C"].map(str::to_owned).to_vec();
    let rewired = edited(Kind::Codex, text, |document| document.rewire("a", &new));
    let vars = "env_vars = [\"A\", { name = \"B\", source = \"remote\" }, \"C\"]\n";
    assert!(rewired.ends_with(vars), "{rewired}");
    assert_eq!(edited(Kind::Codex, &rewired, |document| document.rewire("a", &new)), rewired);
    let tables = "[mcp_servers.a]\ncommand = \"npx\"\nargs = [\"p\"]\n\n[[mcp_servers.a.env_vars]]\nname = \"A\"\nsource = \"remote\"\n";
    let rewired = edited(Kind::Codex, tables, |document| document.rewire("a", &new));
    assert!(rewired.contains("name = \"A\"\nsource = \"remote\"\n"), "{rewired}");
    let servers = place(Kind::Codex).read(&rewired).unwrap().servers();
    let Found::Stdio(found) = &servers[0].1 else { panic!("{servers:?}") };
    assert_eq!(found.env_vars, ["A", "B", "C"], "{rewired}");
    assert_eq!(edited(Kind::Codex, &rewired, |document| document.rewire("a", &new)), rewired);
    let odd = "[mcp_servers.a]\ncommand = \"npx\"\nenv_vars = [1]\n";
    let servers = place(Kind::Codex).read(odd).unwrap().servers();
    assert!(matches!(servers[0].1, Found::Unknown { .. }), "{servers:?}");
}

#[test]
fn a_byte_order_mark_is_read_over_and_stays() {
    for (kind, text) in [(Kind::ClaudeCode, JSON), (Kind::Codex, TOML)] {
        let marked = format!("\u{feff}{text}");
        let rewired = edited(kind, &marked, |document| document.rewire("a", &entry("berth run a")));
        let plain = edited(kind, text, |document| document.rewire("a", &entry("berth run a")));
        assert_eq!(rewired, format!("\u{feff}{plain}"));
        assert_ne!(plain, text);
    }
    let parts =
        place(Kind::ClaudeCode).read_all("\u{feff}{\"projects\": {\"/p\": {\"mcpServers\": {}}}}").unwrap();
    assert_eq!(parts.len(), 2);
}

mod entries;
mod lines;

use std::path::Path;

use super::*;

fn entry(words: &str) -> Entry {
    let mut words = words.split_whitespace().map(str::to_owned);
    Entry { command: words.next().unwrap(), args: words.collect(), ..Entry::default() }
}

/// On a machine that has none of what an entry could mean.
fn taken_over(entry: &Entry, base: impl Fn(crate::runner::Runtime) -> String) -> Result<Translated, String> {
    let around =
        Surroundings { home: Some("/h".into()), folder: "/nowhere/p".into(), claude: None, codex: None };
    let moving = Moving::Refused { command: "berth import codex a --move-secrets" };
    translate(entry, &Machine { around: &around, lookup: &|_| None, asked: Asked::default() }, moving, base)
}

/// What is said on a machine that has nothing.
pub(super) fn on_a_machine<T>(ask: impl FnOnce(&Machine<'_>) -> T) -> T {
    let around =
        Surroundings { home: Some("/h".into()), folder: "/nowhere/p".into(), claude: None, codex: None };
    ask(&Machine { around: &around, lookup: &|_| None, asked: Asked::default() })
}

fn place(kind: Kind) -> Place {
    Place { kind, scope: Scope::User, path: "/h/file".into(), project: None }
}

fn edited(kind: Kind, text: &str, edit: impl FnOnce(&mut dyn Document)) -> String {
    let mut document = place(kind).read(text).unwrap();
    assert_eq!(document.text(), text, "reading alone changes nothing");
    edit(&mut *document);
    document.text()
}

const JSON: &str = "{\n\t\"z\": [1,   2],\n\t\"mcpServers\": {\n\t\t\"a\": {\"command\": \"npx\", \"args\": [\"-y\", \"a\"], \"env\": {\"K\": \"v\"}, \"more\": 1}\n\t},\n\t\"b\": 1.50\n}\n";

#[test]
fn a_json_file_keeps_its_order_its_indentation_and_all_else() {
    let put = edited(Kind::ClaudeCode, JSON, |document| document.put("new", &entry("berth run new")));
    let (before, after) = JSON.split_once("\"more\": 1}").unwrap();
    assert!(put.starts_with(before) && put.ends_with(after), "{put}");
    assert!(
        put.contains(
            "\n\t\t\"new\": {\n\t\t\t\"command\": \"berth\",\n\t\t\t\"args\": [\"run\", \"new\"]\n\t\t}"
        ),
        "{put}"
    );
    let back = edited(Kind::ClaudeCode, &put, |document| document.remove("new"));
    assert_eq!(back, JSON);
    let rewired = edited(Kind::ClaudeCode, JSON, |document| document.rewire("a", &entry("berth run a")));
    assert_eq!(rewired, JSON.replace("\"npx\"", "\"berth\"").replace("[\"-y\", \"a\"]", "[\"run\", \"a\"]"));
}

#[test]
fn lines_that_end_as_on_windows_stay_so() {
    let put = edited(Kind::ClaudeCode, &JSON.replace('\n', "\r\n"), |document| {
        document.put("n", &entry("berth run n"));
    });
    assert_eq!(put.matches('\n').count(), put.matches("\r\n").count(), "{put:?}");
    let put =
        edited(Kind::Codex, &TOML.replace('\n', "\r\n"), |document| document.put("n", &entry("berth run n")));
    assert_eq!(put.matches('\n').count(), put.matches("\r\n").count(), "{put:?}");
}

#[test]
fn an_empty_file_gets_what_it_needs() {
    let put = |kind| {
        let mut document = place(kind).read("").unwrap();
        document.put("a", &entry("berth run a"));
        document.text()
    };
    let json: serde_json::Value = serde_json::from_str(&put(Kind::ClaudeCode)).unwrap();
    assert_eq!(
        json,
        serde_json::json!({ "mcpServers": { "a": { "command": "berth", "args": ["run", "a"] } } })
    );
    assert_eq!(put(Kind::Codex), "[mcp_servers.a]\ncommand = \"berth\"\nargs = [\"run\", \"a\"]\n");
}

#[test]
fn a_persons_servers_of_a_project_stand_under_its_folder() {
    let local = Place { project: Some("/p".into()), ..place(Kind::ClaudeCode) };
    let mut document = local.read("{\"mcpServers\": {\"a\": {\"command\": \"x\"}}}").unwrap();
    assert!(document.servers().is_empty());
    document.put("b", &entry("berth run b"));
    let json: serde_json::Value = serde_json::from_str(&document.text()).unwrap();
    assert_eq!(json["projects"]["/p"]["mcpServers"]["b"]["command"], "berth");
    assert_eq!(json["mcpServers"]["a"]["command"], "x");
}

const TOML: &str = "# mine\nmodel = \"x\" # the best\n\n[mcp_servers.a] # hands off\n# why\ncommand = \"npx\" # old\nargs = [\n  \"-y\", # yes\n  \"a\",\n]\nenv = { K = \"v\" }\n\n[mcp_servers.a.tools.echo]\nx = 1\n\n[other]\ny = 2\n";

#[test]
fn a_toml_file_keeps_its_comments_and_all_else() {
    let put = edited(Kind::Codex, TOML, |document| document.put("new", &entry("berth run new")));
    let added = "[mcp_servers.new]\ncommand = \"berth\"\nargs = [\"run\", \"new\"]\n";
    assert!(put.contains(added), "{put}");
    assert_eq!(edited(Kind::Codex, &put, |document| document.remove("new")), TOML);
    let mut new = entry("berth run a");
    new.env_vars = vec!["V".to_owned()];
    let rewired = edited(Kind::Codex, TOML, |document| document.rewire("a", &new));
    assert!(
        rewired.contains(
            "[mcp_servers.a] # hands off\n# why\ncommand = \"berth\" # old\nargs = [\"run\", \"a\"]\n"
        ),
        "{rewired}"
    );
    assert!(
        rewired.contains("env = { K = \"v\" }\nenv_vars = [\"V\"]\n\n[mcp_servers.a.tools.echo]\nx = 1\n"),
        "{rewired}"
    );
    let again = edited(Kind::Codex, &rewired, |document| document.rewire("a", &new));
    assert_eq!(again, rewired);
}

#[test]
fn a_broken_file_is_named_with_its_line() {
    let error = |kind, text| place(kind).read(text).err().unwrap().to_string();
    assert!(
        error(Kind::ClaudeCode, "{\n  \"a\": 1,\n}").starts_with("/h/file:2: invalid JSON"),
        "{}",
        error(Kind::ClaudeCode, "{\n  \"a\": 1,\n}")
    );
    assert!(error(Kind::ClaudeCode, "[]").starts_with("/h/file:1: "));
    assert!(error(Kind::ClaudeCode, "{\"mcpServers\": 1}").contains("`mcpServers` is not a JSON object"));
    assert!(
        error(Kind::Codex, "a = 1\nb = \n").starts_with("/h/file:2: invalid TOML"),
        "{}",
        error(Kind::Codex, "a = 1\nb = \n")
    );
}

#[test]
fn what_stands_under_a_name_is_told_apart() {
    let json = r#"{"mcpServers": {
        "stdio": {"type": "stdio", "command": "a", "env": {"K": "v"}}, "http": {"type": "http", "url": "x"},
        "none": {}, "wrong": {"command": "a", "args": "b"}, "berth": {"command": "/x/berth", "args": ["run", "a"]}
    }}"#;
    let servers = place(Kind::ClaudeCode).read(json).unwrap().servers();
    let kinds: Vec<_> = servers
        .iter()
        .map(|(name, found)| match found {
            Found::Stdio(entry) if is_berth(entry) => format!("{name}: ours"),
            Found::Stdio(entry) => format!("{name}: {} {:?}", entry.command, entry.env),
            Found::Remote => format!("{name}: remote"),
            Found::Unknown { why, .. } => format!("{name}: {why}"),
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "stdio: a [(\"K\", \"v\")]",
            "http: remote",
            "none: it has no `command`",
            "wrong: its `args` are not a list of texts",
            "berth: ours",
        ]
    );
    let toml =
        "[mcp_servers.a]\ncommand = \"x\"\nenv_vars = [\"V\"]\ncwd = \"/c\"\n[mcp_servers.b]\nurl = \"u\"\n";
    let servers = place(Kind::Codex).read(toml).unwrap().servers();
    let Found::Stdio(entry) = &servers[0].1 else { panic!("{servers:?}") };
    assert_eq!((&entry.env_vars[..], entry.cwd.as_deref()), (&["V".to_owned()][..], Some("/c")));
    assert_eq!(servers[1].1, Found::Remote);
}

#[test]
fn files_are_where_their_clients_look() {
    let around =
        Surroundings { home: Some("/h".into()), folder: "/nowhere/p".into(), claude: None, codex: None };
    let path = |kind, scope| Place::of(kind, scope, &around).map(|place| place.path);
    assert_eq!(path(Kind::ClaudeCode, Scope::User).unwrap(), Path::new("/h/.claude.json"));
    assert_eq!(path(Kind::ClaudeCode, Scope::Local).unwrap(), Path::new("/h/.claude.json"));
    assert_eq!(path(Kind::ClaudeCode, Scope::Project).unwrap(), Path::new("/nowhere/p/.mcp.json"));
    assert_eq!(path(Kind::Codex, Scope::User).unwrap(), Path::new("/h/.codex/config.toml"));
    assert_eq!(path(Kind::Codex, Scope::Project).unwrap(), Path::new("/nowhere/p/.codex/config.toml"));
    assert!(path(Kind::Codex, Scope::Local).unwrap_err().to_string().contains("`local`"));
    let moved = Surroundings { claude: Some("/c".into()), codex: Some("/x".into()), ..around.clone() };
    assert_eq!(Place::of(Kind::ClaudeCode, Scope::User, &moved).unwrap().path, Path::new("/c/.claude.json"));
    assert_eq!(Place::of(Kind::Codex, Scope::User, &moved).unwrap().path, Path::new("/x/config.toml"));
}

#[test]
fn a_secrets_value_never_comes_out_of_the_clients_file() {
    let base = |_| "base".to_owned();
    let mut docker = entry(
        "docker run -i --rm -e GH_TOKEN=hunter2-hunter2 -e MODE=fast -e HOME=/data -e API_KEY some/image",
    );
    docker.env = vec![("API_KEY".to_owned(), "hunter3-hunter3".to_owned())];
    let translated = taken_over(&docker, base).unwrap();
    let table = translated.table.to_string();
    assert!(!table.contains("hunter"), "{table}");
    assert!(
        table.contains("GH_TOKEN = \"${GH_TOKEN}\"") && table.contains("env_vars = [\"API_KEY\"]"),
        "{table}"
    );
    assert!(table.contains("MODE = \"${MODE}\"") && table.contains("HOME = \"/data\""), "{table}");
    let moved = [("GH_TOKEN", "hunter2-hunter2"), ("MODE", "fast")];
    assert_eq!(translated.env, moved.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for (before, last) in [
        ("npx -y p --api-key", "hunter2"),
        ("npx -y p", "--token=hunter2"),
        ("npx -y p -k", "hunter2"),
        ("npx -y p", "--key=hunter2"),
        ("npx -y p --pat", "hunter2"),
        ("npx -y p", "postgres://u:hunter2@h/d"),
        ("npx -y p", "https://hunter2@h/d"),
        ("npx -y p --header", "Authorization: Bearer hunter2"),
        ("npx -y p --header", "Authorization:hunter2"),
        ("npx -y p --header", "X: Bearer hunter2"),
        ("npx -y p", "https://h/mcp?a=b&api_key=hunter2"),
        ("npx -y p", "https://h/mcp?key=hunter2"),
        ("npx -y p", "{\"apiKey\": \"hunter2\"}"),
        ("npx -y p", "sk-hunter2hunter2hunter2"),
        ("docker run -i --rm some/image", "API_TOKEN=hunter2"),
        ("node /srv/s.js", "--secret=hunter2"),
    ] {
        let mut entry = entry(before);
        entry.args.push(last.to_owned());
        let why = taken_over(&entry, base).unwrap_err();
        assert!(why.contains("credential") && !why.contains("hunter"), "{last}: {why}");
    }
    let odd = Entry { command: "/opt/odd?apiKey=hunter2".to_owned(), ..Entry::default() };
    let why = taken_over(&odd, base).unwrap_err();
    assert!(why.contains("`command`") && !why.contains("hunter2"), "{why}");
    for line in [
        "npx -y p --authentication azcli --auth-mode none --token-limit 5000 --token-file F --auth-server https://a.org",
        "npx -y p --token ${TOKEN}",
        "npx -y p --header Authorization:${AUTH}",
        "npx -y p postgres://u:${PASSWORD}@h/d?sslmode=require",
        "npx -y p --key /certs/key.pem --max-tokens=4000 https://h:8080/@scope/a?page=2",
        "npx -y oauth-mcp@1.2",
        "uvx mcp-auth==1.2 sk-learn-and-nothing-else",
        "docker run -i --rm -v token-store:/data some/image --url ssh://git@h/a",
    ] {
        assert!(taken_over(&entry(line), base).is_ok(), "{line}");
    }
}

#[test]
fn what_is_of_this_machine_stays_here() {
    let mut npx = entry("npx -y p");
    npx.env = [("PATH", "/usr/bin"), ("NVM_DIR", "/n"), ("PATHS", "x")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    npx.env_vars = vec!["HOME".to_owned(), "V".to_owned()];
    let translated = taken_over(&npx, |_| "base".to_owned()).unwrap();
    let table = translated.table.to_string();
    assert!(table.contains("env = { PATHS = \"${PATHS}\" }"), "{table}");
    let left_out: Vec<_> = translated.notes.iter().map(|note| note.split('`').nth(1).unwrap()).collect();
    assert_eq!(left_out, ["PATH", "NVM_DIR", "HOME"]);
    assert_eq!(translated.without, ["PATH", "NVM_DIR"], "where berth would obey them");
}

#[test]
fn a_file_is_replaced_as_a_whole_with_its_mode_behind_its_link_and_its_backup_beside_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    std::fs::write(&real, "old\n").unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut draft = Draft::of(&link).unwrap();
    assert_eq!(draft.write(true).unwrap(), None, "nothing changes, nothing is written");
    draft.after = "new\n".to_owned();
    let diff = draft.diff(str::to_owned);
    assert!(diff.contains("-old\n+new\n"), "{diff}");
    let backup = draft.write(true).unwrap().unwrap();
    assert!(link.is_symlink());
    assert_eq!((std::fs::read_to_string(&real).unwrap().as_str(), mode(&real)), ("new\n", 0o640));
    assert_eq!((std::fs::read_to_string(&backup).unwrap().as_str(), mode(&backup)), ("old\n", 0o640));
    assert_eq!(backup.extension().unwrap(), "bak");
    // Somebody else was faster.
    let mut late = Draft::of(&real).unwrap();
    late.after = "late\n".to_owned();
    std::fs::write(&real, "theirs\n").unwrap();
    assert!(late.write(true).unwrap_err().to_string().contains("another program has just changed it"));
    assert_eq!(std::fs::read_to_string(&real).unwrap(), "theirs\n");
    let mut new = Draft::of(&folder.path().join("a/b")).unwrap();
    new.after = "x".to_owned();
    assert_eq!(new.write(true).unwrap(), None);
    assert_eq!(mode(&folder.path().join("a/b")), 0o600);
}

/// All servers of a file: the project that each is for, its name, and what it is.
fn everything(kind: Kind, text: &str) -> Vec<(Option<String>, String, Found)> {
    let parts = place(kind).read_all(text).unwrap();
    let servers = parts.into_iter().flat_map(|(place, document)| {
        document.servers().into_iter().map(move |(name, found)| (place.project.clone(), name, found))
    });
    servers.collect()
}

#[test]
fn claude_codes_own_file_has_a_part_for_everywhere_and_one_for_each_project() {
    let text = r#"{
        "numStartups": 3,
        "mcpServers": { "time": { "type": "stdio", "command": "/opt/berth", "args": ["run", "time"], "env": { "A": "1" } } },
        "projects": {
            "/p": { "mcpServers": { "web": { "type": "http", "url": "https://x.example" } } },
            "/q": { "allowedTools": [] },
            "/r": { "mcpServers": null },
            "/s": null
        }
    }"#;
    let found = everything(Kind::ClaudeCode, text);
    assert_eq!(found.len(), 2);
    let (None, _, Found::Stdio(time)) = &found[0] else { panic!("{found:?}") };
    assert!(is_called_berth(&time.command) && !time.disabled);
    assert_eq!(time.args.join(" "), "run time");
    assert_eq!(time.env, [("A".to_owned(), "1".to_owned())]);
    assert_eq!(found[1], (Some("/p".to_owned()), "web".to_owned(), Found::Remote));
    let parts = place(Kind::ClaudeCode).read_all(text).unwrap();
    let scopes: Vec<Scope> = parts.iter().map(|(place, _)| place.scope).collect();
    assert_eq!(scopes, [Scope::User, Scope::Local], "the others have no servers");
}

#[test]
fn a_projects_file_has_one_part() {
    let project = Place { scope: Scope::Project, ..place(Kind::ClaudeCode) };
    let text = r#"{ "mcpServers": { "a": { "command": "npx", "args": ["-y", "berth"] } }, "projects": { "/p": {} } }"#;
    let parts = project.read_all(text).unwrap();
    assert_eq!((parts.len(), &parts[0].0), (1, &project));
    let (_, Found::Stdio(a)) = &parts[0].1.servers()[0] else { panic!() };
    assert!(!is_called_berth(&a.command));
    assert_eq!(project.read_all("{}").unwrap()[0].1.servers(), []);
}

#[test]
fn an_entry_can_be_switched_off() {
    let text = "model = \"x\"\n[mcp_servers.time]\ncommand = \"berth\"\nargs = [\"run\", \"time\"]\n\
                env_vars = [\"TOKEN\"]\nenabled = false\n[mcp_servers.time.env]\nBERTH_HOME = \"/b\"\n";
    let found = everything(Kind::Codex, text);
    let Found::Stdio(time) = &found[0].2 else { panic!("{found:?}") };
    assert_eq!((time.disabled, time.env_vars.join(" ")), (true, "TOKEN".to_owned()));
    assert_eq!(time.env, [("BERTH_HOME".to_owned(), "/b".to_owned())]);
}

#[test]
fn the_files_that_clients_read_are_known_as_far_as_the_environment_says() {
    let env = |vars: &'static [(&str, &str)]| {
        let lookup =
            move |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let places = Place::of_clients(&Surroundings::new("/nowhere/p".into(), &lookup));
        places.into_iter().map(|place| place.path.display().to_string()).collect::<Vec<_>>()
    };
    let project = ["/nowhere/p/.mcp.json", "/nowhere/p/.codex/config.toml"];
    assert_eq!(env(&[("HOME", "/h")]), ["/h/.claude.json", project[0], "/h/.codex/config.toml", project[1]]);
    assert_eq!(
        env(&[("HOME", "/nowhere/p")]),
        ["/nowhere/p/.claude.json", project[0], project[1]],
        "one file is read once"
    );
    assert_eq!(
        env(&[("HOME", "/h"), ("CLAUDE_CONFIG_DIR", "/c"), ("CODEX_HOME", "/x")]),
        ["/c/.claude.json", project[0], "/x/config.toml", project[1]]
    );
    assert_eq!(env(&[]), project);
}

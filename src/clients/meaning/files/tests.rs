mod lines;

use std::fs;

use crate::clients::{Asked, Entry, Kind, Machine, Moving, Surroundings, translate};

/// A person's machine, with some folders and files.
struct Person {
    _root: tempfile::TempDir,
    root: String,
    around: Surroundings,
    asked: Asked,
    variables: Vec<(String, String)>,
}

impl Person {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap().display().to_string();
        let home = format!("{root}/home/alex");
        for name in
            ["Developer/p", "notes", ".claude", ".aws", ".kube", ".gmail-mcp", "keys", "data", "server/build"]
        {
            fs::create_dir_all(format!("{home}/{name}")).unwrap();
        }
        for name in
            ["keys/key.json", "data/old.db", "file.txt", ".kube/config", "server/build/index.js", "loose.db"]
        {
            fs::write(format!("{home}/{name}"), "").unwrap();
        }
        let around = Surroundings {
            home: Some(home.clone().into()),
            folder: format!("{home}/Developer/p").into(),
            claude: None,
            codex: None,
        };
        let variables = vec![("HOME".to_owned(), home)];
        Self { _root: folder, root, around, asked: Asked::default(), variables }
    }

    fn with(mut self, change: impl FnOnce(&mut Asked)) -> Self {
        change(&mut self.asked);
        self
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `@` in `line` and in values is the home folder. The keys and the notes, with `@` in them.
    fn takes_over(&self, line: &str, env: &[(&str, &str)]) -> Result<(String, String), String> {
        let home = format!("{}/home/alex", self.root);
        let put = |text: &str| text.replace("@@", "\0").replace('@', &home).replace('\0', "@");
        let mut words = line.split_whitespace().map(put);
        let entry = Entry {
            command: words.next().unwrap(),
            args: words.collect(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), put(value))).collect(),
            ..Entry::default()
        };
        self.takes(&entry)
    }

    fn takes(&self, entry: &Entry) -> Result<(String, String), String> {
        let home = format!("{}/home/alex", self.root);
        let lookup = |name: &str| {
            self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        let machine = Machine { around: &self.around, lookup: &lookup, asked: self.asked };
        let hide = |text: String| text.replace(&home, "@").replace(&self.root, "#");
        let taken = translate(entry, &machine, Moving::Refused { command: "m" }, |_| "base".to_owned())
            .map_err(hide)?;
        Ok((hide(taken.table.to_string()), hide(taken.notes.join("\n"))))
    }

    fn table(&self, line: &str, env: &[(&str, &str)]) -> String {
        self.takes_over(line, env).unwrap().0
    }
}

fn mounts(table: &str) -> Vec<String> {
    let line = table.lines().find_map(|line| line.strip_prefix("mounts = ["));
    let Some(list) = line.map(|line| line.trim_end_matches(']')) else { return Vec::new() };
    list.split(", ").map(|mount| mount.trim_matches('"').to_owned()).collect()
}

#[test]
fn what_a_line_names_is_mounted_at_its_own_place() {
    let person = Person::new();
    for (line, env, expected) in [
        ("npx -y p @/notes", &[][..], &["@/notes:@/notes"][..]),
        (
            "npx -y @@modelcontextprotocol/server-filesystem @/notes/ @/Developer",
            &[],
            &["@/Developer:@/Developer:rw", "@/notes:@/notes:rw"],
        ),
        ("npx -y p --dirs=@/notes,@/keys", &[], &["@/keys:@/keys", "@/notes:@/notes"]),
        ("npx -y p file://@/notes", &[], &["@/notes:@/notes"]),
        // Who writes a file writes beside it.
        ("uvx p --db sqlite:///@/data/old.db", &[], &["@/data:@/data:rw"]),
        ("uvx p --db-path @/data/new.db", &[], &["@/data:@/data:rw"]),
        ("uvx p --output @/keys/key.json", &[], &["@/keys:@/keys:rw"]),
        ("uvx p --config @/keys/key.json", &[], &["@/keys/key.json:@/keys/key.json"]),
        ("uvx chroma-mcp --data-dir @/chroma-data", &[], &["@/chroma-data:@/chroma-data:rw"]),
        (
            "npx p",
            &[("GOOGLE_APPLICATION_CREDENTIALS", "@/keys/key.json")],
            &["@/keys/key.json:@/keys/key.json"],
        ),
        (
            "npx p",
            &[("KUBECONFIG", "@/.kube/config:@/keys/key.json")],
            &["@/.kube/config:@/.kube/config", "@/keys/key.json:@/keys/key.json"],
        ),
        (
            "npx p",
            &[("GIT_BASE_DIR", "@/Developer/"), ("LOGS_DIR", "@/Developer/logs/x/")],
            &["@/Developer:@/Developer", "@/Developer/logs/x:@/Developer/logs/x:rw"],
        ),
        (
            "npx @@cyanheads/git-mcp-server",
            &[("GIT_BASE_DIR", "@/Developer/"), ("LOGS_DIR", "@/Developer/logs/x/")],
            &["@/Developer:@/Developer:rw"],
        ),
        // One place for both.
        ("npx p @/notes --out @/notes", &[], &["@/notes:@/notes:rw"]),
        ("npx p --memory @/notes @/notes", &[], &["@/notes:@/notes:rw"]),
        // A script sees its folder; what it writes there is said.
        ("node @/server/build/index.js @/server", &[], &["@/server:@/server"]),
        ("node @/server/build/index.js --data @/server", &[], &["@/server:@/server:rw"]),
        ("node @/server/build/index.js @/notes", &[], &["@/server:@/server", "@/notes:@/notes"]),
        // What is no path of this machine.
        ("npx p /usr/bin/env /tmp /dev/null /mcp https://h/a -x", &[("A", "/api/v1")], &[]),
        // An image's paths are its own.
        ("docker run -i --rm -v @/notes:/n:ro i @/notes", &[("A", "@/notes")], &["@/notes:/n"]),
    ] {
        assert_eq!(mounts(&person.table(line, env)), expected, "{line}");
    }
}

#[test]
fn what_a_shell_would_have_put_in_is_put_in() {
    let person = Person::new();
    let (table, notes) =
        person.takes_over("npx -y p ~/notes $HOME/keys ${HOME}/data", &[("DIR", "~/Developer")]).unwrap();
    assert!(table.contains("npx = \"p '${HOME}/notes' '${HOME}/keys' '${HOME}/data'\""), "{table}");
    assert!(table.contains("env = { DIR = \"${HOME}/Developer\" }"), "{table}");
    let places = ["Developer", "data", "keys", "notes"];
    assert_eq!(mounts(&table), places.map(|name| format!("${{HOME}}/{name}:${{HOME}}/{name}")));
    assert!(notes.contains("`~/notes` is written as `${HOME}/notes`"), "{notes}");
    assert!(
        notes.contains(
            "`${HOME}/notes` is mounted at its own place, read-only, for its arguments; write `:rw`"
        ),
        "{notes}"
    );
}

#[test]
fn what_lies_where_the_client_starts_it_is_the_project() {
    let person = Person::new();
    let project = "${CLAUDE_PROJECT_DIR:-.}:${CLAUDE_PROJECT_DIR:-.}";
    for (line, mode) in [
        ("uvx mcp-server-sqlite --db-path ./test.db", ":rw"),
        ("uvx p --db-path test.db", ":rw"),
        ("npx p .", ""),
        ("npx -y @@modelcontextprotocol/server-filesystem .", ":rw"),
        ("npx p ${CLAUDE_PROJECT_DIR:-.}", ""),
        ("npx p --url sqlite:///test.db", ":rw"),
    ] {
        let (table, notes) = person.takes_over(line, &[]).unwrap();
        assert_eq!(mounts(&table), [format!("{project}{mode}")], "{line}");
        assert!(table.contains("workdir = \"${CLAUDE_PROJECT_DIR:-.}\""), "{table}");
        assert!(notes.contains("the server starts there"), "{notes}");
    }
    let (table, notes) = person.takes_over("npx p ../x", &[]).unwrap();
    assert!(mounts(&table).is_empty() && notes.contains("`../x` lies outside"), "{notes}");
    // What has no look of a path.
    assert!(
        mounts(&person.table("npx p a/b --repo me/it", &[("GITHUB_REPO", "me/it"), ("URL_PATH", "v1")]))
            .is_empty()
    );
}

#[test]
fn what_no_server_may_have_is_told() {
    let person = Person::new();
    for line in ["npx p @", "npx p ~", "npx p #/home"] {
        let why = person.takes_over(&line.replace('#', &person.root), &[]).unwrap_err();
        assert!(why.contains("its arguments name `"), "{line}: {why}");
        assert!(why.contains("holds your whole home folder"), "{line}: {why}");
    }
    // Who writes into ~/.claude says what Claude Code runs.
    let (line, env) =
        ("npx -y @@modelcontextprotocol/server-memory", [("MEMORY_FILE_PATH", "@/.claude/memory.json")]);
    let (table, notes) = person.takes_over(line, &env).unwrap();
    assert!(
        mounts(&table).is_empty() && table.contains("volumes = [\"server-memory-data:/data:concurrent\"]"),
        "{table}"
    );
    assert!(table.contains("env = { MEMORY_FILE_PATH = \"/data/memory.jsonl\" }"), "{table}");
    assert!(
        notes.contains(
            "`MEMORY_FILE_PATH` is not `@/.claude/memory.json` there: no server may write in `@/.claude`"
        ),
        "{notes}"
    );
    // What is in it already would be lost.
    fs::write(format!("{}/home/alex/.claude/memory.json", person.root), "{}").unwrap();
    for (line, env) in
        [(line, &env[..]), ("uvx p --db-path @/loose.db", &[]), ("npx p", &[("LOG_FILE", "@/new.log")])]
    {
        let why = person.takes_over(line, env).unwrap_err();
        assert!(why.contains("no server may write in `@") && why.contains("such as `~/mcp`"), "{why}");
    }
    let (_, notes) = person.takes_over("npx p", &[("SSL_CERT_FILE", "@/no.pem")]).unwrap();
    assert_eq!(notes, "`@/no.pem` is not on this machine, and is not mounted");
    // A key is a file whatever it is called, and nobody is to make a folder of it.
    let (table, notes) = person.takes_over("npx p --key @/.ssh/id_rsa", &[]).unwrap();
    assert_eq!(notes, "`@/.ssh/id_rsa` is not on this machine, and is not mounted");
    assert!(mounts(&table).is_empty(), "{table}");
    let (table, notes) = person.takes_over("npx p --out-dir @/.ssh/x", &[]).unwrap();
    assert_eq!(mounts(&table), ["@/.ssh/x:@/.ssh/x"]);
    assert!(notes.contains("`@/.ssh/x` is mounted read-only"), "{notes}");
    let (table, notes) = person.takes_over("npx p --data @/.claude", &[]).unwrap();
    assert_eq!(mounts(&table), ["@/.claude:@/.claude"]);
    assert!(notes.contains("has a hand in what runs on this machine"), "{notes}");
    let (_, notes) =
        person.takes_over("npx p --data @/new/x", &[("A", "@/gone/x.json"), ("B", "/etc/hostname")]).unwrap();
    assert!(notes.contains("`mkdir -p @/new/x`") && notes.contains("`mkdir -p @/gone`"), "{notes}");
    assert!(notes.contains("`/etc/hostname` is the container's own"), "{notes}");
    let (_, notes) = person.takes_over("npx p --port /dev/ptmx", &[]).unwrap();
    assert!(notes.contains("berth gives no server a device"), "{notes}");
    // Credentials may begin with a slash.
    let (table, notes) = person.takes_over("npx p", &[("API_TOKEN", "/hunter2/x")]).unwrap();
    assert!(mounts(&table).is_empty() && !notes.contains("hunter2"), "{notes}");
}

#[test]
fn a_projects_file_gets_nothing_hidden_of_a_persons() {
    let person = Person::new().with(|asked| asked.foreign = true);
    let (table, notes) = person.takes_over("npx p @/.aws @/notes", &[("K", "~/.kube/config")]).unwrap();
    assert_eq!(mounts(&table), ["@/notes:@/notes"]);
    assert!(
        notes.contains("`~/.aws` is yours alone") && notes.contains("`~/.kube` is yours alone"),
        "{notes}"
    );
}

#[test]
fn a_folder_to_start_in_is_mounted_and_started_in() {
    let person = Person::new();
    let home = format!("{}/home/alex", person.root);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let mut entry =
        Entry { command: "npx".into(), args: words(&["p", "--db", "./x.db"]), ..Entry::default() };
    entry.cwd = Some(format!("{home}/notes"));
    let (table, _) = person.takes(&entry).unwrap();
    assert_eq!(mounts(&table), ["@/notes:@/notes:rw"]);
    assert!(table.contains("workdir = \"@/notes\""), "{table}");
    entry.cwd = Some("/nowhere/x".to_owned());
    assert!(person.takes(&entry).unwrap_err().contains("`/nowhere/x` (`cwd`), which is not on this machine"));
}

#[test]
fn what_a_package_remembers_gets_a_volume_unless_it_has_a_place() {
    let person = Person::new();
    let table = person.table("npx -y @@modelcontextprotocol/server-memory@@2026.8.31", &[]);
    assert!(table.contains("volumes = [\"server-memory-data:/data:concurrent\"]"), "{table}");
    assert!(table.contains("env = { MEMORY_FILE_PATH = \"/data/memory.jsonl\" }"), "{table}");
    let table = person.table("uvx mcp-server-sqlite", &[]);
    assert!(table.contains("uvx = \"mcp-server-sqlite --db-path /data/sqlite_mcp_server.db\""), "{table}");
    let table = person.table("npx @@allpepper/memory-bank-mcp", &[]);
    assert!(table.contains("env = { MEMORY_BANK_ROOT = \"/data\" }"), "{table}");
    for (line, env) in [
        ("npx -y @@modelcontextprotocol/server-memory", &[("MEMORY_FILE_PATH", "@/notes/m.json")][..]),
        ("uvx mcp-server-sqlite --db-path=@/data/old.db", &[]),
        ("npx some-server", &[]),
    ] {
        assert!(!person.table(line, env).contains("volumes"), "{line}");
    }
    // A folder of the home: what is there, or a volume.
    assert!(
        person.table("uvx basic-memory mcp", &[]).contains("basic-memory-data:/tmp/basic-memory:concurrent")
    );
    fs::create_dir(format!("{}/home/alex/basic-memory", person.root)).unwrap();
    assert_eq!(mounts(&person.table("uvx basic-memory mcp", &[])), ["~/basic-memory:/tmp/basic-memory:rw"]);
}

#[test]
fn a_project_is_offered_and_mounted_where_it_is_asked_for() {
    let person = Person::new();
    let lines = [
        "npx -y @@wonderwhy-er/desktop-commander@@latest",
        "uvx --from git+https://github.com/oraios/serena serena start-mcp-server",
        "uvx other --project-from-cwd",
        "uvx excel-mcp-server stdio",
        "npx -y figma-developer-mcp --stdio",
    ];
    for line in lines {
        let (table, notes) = person.takes_over(line, &[]).unwrap();
        assert!(mounts(&table).is_empty(), "{table}");
        assert!(
            notes.contains("`mounts = [\"${CLAUDE_PROJECT_DIR:-.}:${CLAUDE_PROJECT_DIR:-.}:rw\"]`"),
            "{notes}"
        );
    }
    let person = person.with(|asked| asked.project = true);
    for line in lines {
        let table = person.table(line, &[]);
        assert_eq!(mounts(&table), ["${CLAUDE_PROJECT_DIR:-.}:${CLAUDE_PROJECT_DIR:-.}:rw"]);
    }
    // Who names a folder wants that.
    assert_eq!(
        mounts(&person.table("uvx mcp-server-git --repository @/Developer", &[])),
        ["@/Developer:@/Developer:rw"]
    );
}

#[test]
fn log_ins_of_the_home_are_offered_and_mounted_where_that_is_asked_for() {
    let person = Person::new();
    for (line, folder) in [
        ("uvx mcp-proxy-for-aws@@latest https://h/mcp", ".aws"),
        ("npx mcp-server-kubernetes", ".kube"),
        ("npx @@gongrzhe/server-gmail-autoauth-mcp", ".gmail-mcp"),
    ] {
        let (table, notes) = person.takes_over(line, &[]).unwrap();
        assert!(mounts(&table).is_empty(), "{table}");
        assert!(notes.contains(&format!("`mounts = [\"~/{folder}:/tmp/{folder}\"]`")), "{notes}");
    }
    let (_, notes) = person.takes_over("npx @@cocal/google-calendar-mcp", &[]).unwrap();
    assert!(
        notes.contains("`~/.config/google-calendar-mcp`, which is not there; log in without berth first"),
        "{notes}"
    );
    // There is none.
    assert!(!person.takes_over("npx @@azure/mcp server start", &[]).unwrap().1.contains(".azure"));
    let person = person.with(|asked| asked.credentials = true);
    assert_eq!(mounts(&person.table("uvx mcp-proxy-for-aws", &[])), ["~/.aws:/tmp/.aws"]);
}

#[test]
fn what_a_package_finds_in_the_shell_is_named_and_never_its_value() {
    let person = Person::new().set("MYSQL_HOST", "hunter2").set("MYSQL_PASSWORD", "hunter3");
    let line = "uvx --from mysql-mcp-server mysql_mcp_server";
    let (_, notes) = person.takes_over(line, &[("MYSQL_USER", "me")]).unwrap();
    assert!(notes.contains("`MYSQL_HOST`, `MYSQL_PASSWORD` are set in this shell"), "{notes}");
    assert!(
        notes.contains("`env = { MYSQL_HOST = \"${MYSQL_HOST}\" }`, `secrets = { MYSQL_PASSWORD ="),
        "{notes}"
    );
    assert!(!notes.contains("hunter"), "{notes}");
    let (_, notes) = Person::new().takes_over(line, &[]).unwrap();
    assert!(notes.contains("may live on variables of your shell (`MYSQL_HOST`"), "{notes}");
    assert_eq!(Person::new().takes_over(line, &[("MYSQL_HOST", "h.example")]).unwrap().1, "");
    let codex = Person::new().set("MYSQL_HOST", "h").with(|asked| asked.client = Kind::Codex);
    let (_, notes) = codex.takes_over(line, &[]).unwrap();
    assert!(!notes.contains("MYSQL_"), "its client has never passed any: {notes}");
}

#[test]
fn a_plugins_folder_is_known_when_it_starts() {
    let (table, notes) = Person::new()
        .takes_over("npx p ${CLAUDE_PLUGIN_ROOT}/x.json", &[("D", "${CLAUDE_PLUGIN_DATA}")])
        .unwrap();
    let own =
        ["${CLAUDE_PLUGIN_DATA}:${CLAUDE_PLUGIN_DATA}:rw", "${CLAUDE_PLUGIN_ROOT}:${CLAUDE_PLUGIN_ROOT}"];
    assert_eq!(mounts(&table), own, "{notes}");
}

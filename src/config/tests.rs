//! The file as a whole: its defaults and its layers.

mod manual;
mod mistakes;
mod network;
mod several;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::values::{
    BrokenAnswers, Definitions, Journaling, Network, OnFailure, Standby, Start, Tmpfs, ToolPattern, Way,
};

/// A folder in memory in which nothing can be run.
fn plain(bytes: u64) -> Tmpfs {
    Tmpfs { bytes, exec: false }
}

fn home() -> Home {
    Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap()
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("berth.toml"), &home())
}

fn config(text: &str) -> Config {
    parse(text).unwrap()
}

#[track_caller]
fn assert_error(text: &str, expected: &str) {
    let error = parse(text).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

/// A mistake in the one server's table, whose first key is on line 3.
#[track_caller]
fn assert_server_error(keys: &str, expected: &str) {
    assert_error(&format!("[servers.a]\nimage = \"i\"\n{keys}\n"), &format!("berth.toml:{expected}"));
}

#[test]
fn nothing_written_is_the_hardened_default() {
    let config = config("[servers.a]\nimage = \"i\"\n");
    let server = config.server("a").unwrap();
    assert_eq!((server.name.as_str(), server.image.as_str(), &server.command), ("a", "i", &None));
    let settings = &server.settings;
    assert_eq!(settings, &Settings::default());
    assert_eq!(settings.network, Network::Egress);
    assert_eq!((settings.memory, settings.nano_cpus, settings.pids), (536_870_912, 1_000_000_000, 256));
    assert!(settings.no_new_privileges && settings.cap_add.is_empty() && !settings.read_only);
    assert_eq!(settings.tmpfs, BTreeMap::from([("/tmp".to_owned(), plain(256 << 20))]));
    assert_eq!(settings.max_line, 16_777_216);
    assert_eq!(settings.stop_grace, Duration::from_secs(3));
    assert_eq!(settings.journal, Journaling::Calls);
    assert_eq!((settings.standby, settings.standby_ttl), (Standby::fixed(1), Duration::from_mins(30)));
    assert!(!settings.prestart);
    assert_eq!(settings.streams, Way::Auto);
    assert_eq!(server.resolve_env(&|_| Some("leak".to_owned())).unwrap(), []);
    assert_eq!(config.dind, Dind::default());
    assert_eq!(config.dind.bind, IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert!(!config.dind.privileged);
}

#[test]
fn every_key_arrives() {
    let config = config(
        r#"
        [dind]
        name = "box"
        image = "docker:27-dind"
        port = 4000
        bind = "0.0.0.0"
        privileged = true
        host = "tcp://10.0.0.5:2376"
        certs = "/certs"
        engine = "unix:///e.sock"

        [servers.a]
        image = "i:1"
        command = ["node", "x.js"]
        env = { A = "1" }
        secrets = { B = "2" }
        network = "none"
        memory = "1g"
        cpus = 0.5
        pids = 0x20
        cap_add = ["NET_RAW"]
        read_only = true
        user = "1000:1000"
        workdir = "/w"
        tmpfs = { "/x" = 4096, "/y" = { size = "8k", exec = true } }
        no_new_privileges = false
        max_line = "1m"
        stop_grace = 1.5
        connect_timeout = "500ms"
        start_timeout = 45
        on_failure = "exit"
        recover_within = "5s"
        name_timeout = "8s"
        answer_timeout = "6s"
        call_timeout = "7s"
        broken_answers = "refuse"
        tools = ["read_*", "list"]
        deny_tools = ["read_secret"]
        journal = false
        start = "first-call"
        flatten_pages = true
        idle = "15m"
        stateless = true
        definitions = "hold"
        standby = 7
        standby_ttl = "90s"
        streams = "exec"

        [servers.ahead]
        image = "i"
        alias = "a.1"
        prestart = true
        streams = "direct"
        "#,
    );
    let lookup = |_: &str| None;
    assert_eq!(
        (config.dind.name.as_str(), config.dind.image.as_str(), config.dind.port, config.dind.privileged),
        ("box", "docker:27-dind", 4000, true)
    );
    assert_eq!(config.dind.bind.to_string(), "0.0.0.0");
    assert_eq!(config.dind.daemon(&home()), Daemon::configured("tcp://10.0.0.5:2376", Some("/certs".into())));
    assert_eq!(config.dind.engine(&lookup).unwrap().address, "unix:///e.sock");
    let server = config.server("a").unwrap();
    assert_eq!(server.image, "i:1");
    assert_eq!(server.command.as_deref(), Some(["node".to_owned(), "x.js".to_owned()].as_slice()));
    assert_eq!(format!("{:?}", server.resolve_env(&lookup).unwrap()), "[A=1, B=[redacted]]");
    let settings = &server.settings;
    assert_eq!(settings.network, Network::None);
    assert_eq!((settings.memory, settings.nano_cpus, settings.pids), (1 << 30, 500_000_000, 32));
    assert_eq!(settings.cap_add, ["NET_RAW"]);
    assert!(settings.read_only && !settings.no_new_privileges);
    assert_eq!((settings.user.as_deref(), settings.workdir.as_deref()), (Some("1000:1000"), Some("/w")));
    assert_eq!(
        settings.tmpfs,
        BTreeMap::from([
            ("/x".to_owned(), plain(4096)),
            ("/y".to_owned(), Tmpfs { bytes: 8192, exec: true })
        ])
    );
    assert_eq!(settings.max_line, 1 << 20);
    assert_eq!(settings.stop_grace, Duration::from_millis(1500));
    assert_eq!(settings.connect_timeout, Duration::from_millis(500));
    assert_eq!(settings.start_timeout, Duration::from_secs(45));
    assert_eq!(settings.on_failure, OnFailure::Exit);
    assert_eq!(settings.recover_within, Duration::from_secs(5));
    assert_eq!(settings.name_timeout, Duration::from_secs(8));
    assert_eq!(settings.answer_timeout, Duration::from_secs(6));
    assert_eq!(settings.call_timeout, Some(Duration::from_secs(7)));
    assert_eq!(settings.broken_answers, BrokenAnswers::Refuse);
    assert_eq!(format!("{:?}", settings.tools), r#"Some([ToolPattern("read_*"), ToolPattern("list")])"#);
    assert_eq!(settings.deny_tools, ["read_secret".parse().unwrap()]);
    assert_eq!((settings.journal, config.defaults.journal), (Journaling::Off, Journaling::Calls));
    assert_eq!((settings.start(false), settings.definitions), (Start::FirstCall, Definitions::Hold));
    assert!(settings.flatten_pages && settings.stateless);
    assert_eq!(settings.idle, Some(Duration::from_mins(15)));
    assert_eq!((server.prefix(), config.server("ahead").unwrap().prefix()), ("a", "a.1"));
    assert_eq!((settings.standby, settings.standby_ttl), (Standby::fixed(7), Duration::from_secs(90)));
    let ahead = &config.server("ahead").unwrap().settings;
    assert!(!settings.prestart && ahead.prestart);
    assert_eq!((settings.streams, ahead.streams), (Way::Exec, Way::Direct));
}

#[test]
fn flags_come_over_the_server_over_the_defaults() {
    let config = config(
        r#"
        [defaults]
        memory = "100m"
        pids = 100
        cpus = 2
        env = { A = "defaults", B = "defaults", C = "defaults" }
        tmpfs = { "/tmp" = "1m", "/run" = "1m" }
        [servers.a]
        image = "i"
        pids = 200
        cpus = 3
        env = { B = "server", C = "server" }
        tmpfs = {}
        [servers.other]
        image = "j"
        "#,
    );
    let flags = Overrides::default().with("env", &["C=flags"]).with("cpus", &["4"]);
    let server = config.server("a").unwrap().with_overrides(&flags);
    let settings = &server.settings;
    assert_eq!((settings.memory, settings.pids, settings.nano_cpus), (100 << 20, 200, 4_000_000_000));
    assert!(settings.tmpfs.is_empty());
    let env = format!("{:?}", server.resolve_env(&|_| None).unwrap());
    assert_eq!(env, "[A=defaults, B=server, C=flags]");
    let other = &config.server("other").unwrap().settings;
    assert_eq!((other.pids, other.tmpfs.len()), (100, 2));
    let adhoc = Server::from_image("k".parse().unwrap(), Vec::new(), &config.defaults);
    assert_eq!(adhoc.settings, *other);
    assert_eq!(config.images().into_iter().collect::<Vec<_>>(), ["i", "j"]);
}

#[test]
fn tools_are_replaced_by_a_layer_above_and_what_is_forbidden_adds_up() {
    let config = config(
        r#"
        [defaults]
        tools = ["read_*"]
        deny_tools = ["a"]
        [servers.all]
        image = "i"
        tools = ["*"]
        deny_tools = ["b"]
        [servers.none]
        image = "i"
        tools = []
        "#,
    );
    let flags = Overrides::default().with("deny_tools", &["c"]);
    let shown = |server: &Server| {
        let names = |list: &[ToolPattern]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let settings = &server.settings;
        (settings.tools.as_deref().map(names), names(&settings.deny_tools))
    };
    let all = config.server("all").unwrap().with_overrides(&flags);
    assert_eq!(shown(&all), (Some("*".to_owned()), "a b c".to_owned()));
    assert_eq!(shown(config.server("none").unwrap()), (Some(String::new()), "a".to_owned()));
    assert_eq!(Settings::default().tools, None, "all, where nothing is said");
}

#[test]
fn a_variable_is_secret_by_table_by_name_by_source_and_for_good() {
    let config = config(
        r#"
        [defaults]
        secrets = { X = "1" }
        [servers.a]
        image = "i"
        env = { X = "2", API_KEY = "3", PLAIN = "${MY_TOKEN}", OPEN = "4", FROM = "${HOME}" }
        secrets = { Y = "5" }
        "#,
    );
    let env = config.server("a").unwrap().resolve_env(&|name| Some(format!("<{name}>"))).unwrap();
    let secret: Vec<_> = env.iter().filter(|var| var.secret).map(|var| var.name.as_str()).collect();
    assert_eq!(secret, ["API_KEY", "PLAIN", "X", "Y"]);
    let values: Vec<_> = env.iter().map(|var| var.value.as_str()).collect();
    assert_eq!(values, ["3", "<HOME>", "4", "<MY_TOKEN>", "2", "5"]);
    let shown = format!("{config:?} {env:?} {}", env[0]);
    for hidden in ["3", "<MY_TOKEN>", "2", "5"] {
        assert!(
            !shown.contains(&format!("={hidden}")) && !shown.contains(&format!("\"{hidden}\"")),
            "{shown}"
        );
    }
}

#[test]
fn a_missing_variable_concerns_its_own_server_alone() {
    let config = config(
        "[servers.a]\nimage = \"i\"\n[servers.b]\nimage = \"i\"\n[servers.b.env]\nX = \"1\"\nTOKEN = \"${GH}\"\n",
    );
    assert!(config.server("a").unwrap().resolve_env(&|_| None).is_ok());
    let error = config.server("b").unwrap().resolve_env(&|_| None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "berth.toml:7: server `b` needs the variable `GH`, which is not set; set it for the client that starts \
         berth (Codex passes what its `env_vars` names), or write `${GH:-default}`"
    );
    assert_eq!((error.file(), error.line()), (Some(Path::new("berth.toml")), Some(7)));
    assert!(error.hint().is_some_and(|hint| hint.starts_with("set it")));
}

#[test]
fn an_unknown_server_lists_the_known_ones() {
    let error = |text, name| config(text).server(name).unwrap_err().to_string();
    let two = "[servers.everything]\nimage = \"i\"\n[servers.time]\nimage = \"i\"\n";
    assert_eq!(
        error(two, "everythin"),
        "unknown server `everythin`: berth.toml has `everything`, `time`; did you mean `everything`?"
    );
    assert_eq!(
        error(two, "zzz"),
        "unknown server `zzz`: berth.toml has `everything`, `time`; add a [servers.zzz], or use one of these"
    );
    assert_eq!(
        error("", "zzz"),
        "unknown server `zzz`: berth.toml has no servers; add a [servers.zzz], or use `berth run --image IMAGE`"
    );
}

#[test]
fn the_default_file_may_be_missing_an_explicit_one_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap().to_owned();
    let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| at.clone())).unwrap();
    let config = Config::load(&home, None).unwrap();
    assert_eq!((config.file.as_ref(), config.servers.len()), (None, 0));
    let error = config.server("a").unwrap_err().to_string();
    let expected = format!(
        "unknown server `a`: there is no {at}/berth.toml; write it with a [servers.a], \
         or use `berth run --image IMAGE`"
    );
    assert_eq!(error, expected);

    let error = Config::load(&home, Some(&home.config_file)).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read the configuration file `{at}/berth.toml`"));
    assert!(std::error::Error::source(&error).is_some());

    std::fs::write(&home.config_file, "[servers.a]\nimage = \"i\"\n").unwrap();
    assert!(Config::load(&home, None).unwrap().server("a").is_ok());
    let other = folder.path().join("other.toml");
    std::fs::write(&other, "[servers.b]\nimage = \"i\"\n").unwrap();
    let config = Config::load(&home, Some(&other)).unwrap();
    assert!(config.server("b").is_ok() && config.server("a").is_err());
    assert_eq!(config.file.as_deref(), Some(other.as_path()));

    // A folder is no file: that is an error at the default place too.
    std::fs::remove_file(&home.config_file).unwrap();
    std::fs::create_dir(&home.config_file).unwrap();
    assert!(Config::load(&home, None).is_err());
}

#[test]
fn a_prestarted_server_has_no_value_of_a_session() {
    let refused = |line: u32, why: &str| {
        format!(
            "{line}: server `a` cannot be prestarted: its variable {why}; \
             set `prestart = false` for this server; its containers still wait on standby"
        )
    };
    let theirs = |variable| format!("`X` takes `{variable}` from its client's environment");
    assert_server_error("env = { X = \"${HERE}\" }\nprestart = true", &refused(3, &theirs("HERE")));
    assert_server_error("prestart = true\nenv = { X = \"a ${B:-c}\" }", &refused(4, &theirs("B")));
    assert_server_error("prestart = true\nsecrets = { X = \"1\" }", &refused(4, "`X` is a secret"));
    assert_server_error(
        "prestart = true\n[servers.a.env]\nPLAIN = \"1\"\nAPI_KEY = \"1\"",
        &refused(6, "`API_KEY` is a secret"),
    );
    // What comes from the defaults counts as well, in either way.
    assert_error(
        "[defaults]\nsecrets = { X = \"1\" }\n[servers.a]\nimage = \"i\"\nprestart = true",
        &format!("berth.toml:{}", refused(2, "`X` is a secret")),
    );
    assert_error(
        "[defaults]\nprestart = true\n[servers.a]\nimage = \"i\"\nenv = { X = \"${Y}\" }",
        &format!("berth.toml:{}", refused(5, &theirs("Y"))),
    );
    let settings = |text| config(text).server("a").unwrap().settings.prestart;
    assert!(settings("[servers.a]\nimage = \"i\"\nprestart = true\nenv = { X = \"a $$ b\" }"));
    let one =
        "[defaults]\nprestart = true\n[servers.a]\nimage = \"i\"\nprestart = false\nsecrets = { X = \"1\" }";
    assert!(!settings(one));
}

#[test]
fn a_flag_may_make_a_prestarted_server_impossible() {
    let server = config("[servers.a]\nimage = \"i\"\nprestart = true\nenv = { X = \"1\" }");
    let server = server.server("a").unwrap();
    let check = |key: &str, env: &str| {
        let flags = Overrides::default().with(key, &[env]);
        server.with_overrides(&flags).check().map_err(|error| (error.line(), error.message().to_owned()))
    };
    assert_eq!(check("env", "X=2"), Ok(()));
    let refused = |why: &str| Err((None, format!("server `a` cannot be prestarted: its variable {why}")));
    // A flag without a value is the client's variable of that name.
    assert_eq!(check("env", "Y"), refused("`Y` takes `Y` from its client's environment"));
    assert_eq!(check("secrets", "X=2"), refused("`X` is a secret"));
}

#[test]
fn the_daemon_is_known_whatever_stands_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let home =
        Home::from_env(&|name| (name == "BERTH_HOME").then(|| folder.path().display().to_string())).unwrap();
    let dind = "[dind]\nname = \"mine\"\n";
    for mistake in
        ["[servers.x]\nimagee = 1\n", "[defaults]\nmemory = \"much\"\n", "[sevrers]\n", "[servers.\"a b\"]\n"]
    {
        std::fs::write(&home.config_file, format!("{dind}{mistake}")).unwrap();
        assert!(Config::load(&home, None).is_err(), "{mistake}");
        assert_eq!(Config::load_dind(&home, None).unwrap().dind.name, "mine", "{mistake}");
    }
    std::fs::write(&home.config_file, "[dind]\nnmae = \"mine\"\n").unwrap();
    assert!(Config::load_dind(&home, None).is_err());
}

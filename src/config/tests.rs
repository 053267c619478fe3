//! The file as a whole: its defaults, its layers, and the exact words of each mistake.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::values::{Network, OnFailure, ToolPattern};

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
    assert_eq!(settings.tmpfs, BTreeMap::from([("/tmp".to_owned(), 67_108_864)]));
    assert_eq!(settings.max_line, 16_777_216);
    assert_eq!(settings.stop_grace, Duration::from_secs(3));
    assert!(settings.journal);
    assert_eq!((settings.standby, settings.standby_ttl), (1, Duration::from_mins(30)));
    assert!(!settings.prestart);
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
        tmpfs = { "/x" = 4096 }
        no_new_privileges = false
        max_line = "1m"
        stop_grace = 1.5
        connect_timeout = "500ms"
        start_timeout = 45
        on_failure = "exit"
        recover_within = "5s"
        answer_timeout = "6s"
        call_timeout = "7s"
        tools = ["read_*", "list"]
        deny_tools = ["read_secret"]
        journal = false
        standby = 7
        standby_ttl = "90s"

        [servers.ahead]
        image = "i"
        prestart = true
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
    assert_eq!(settings.tmpfs, BTreeMap::from([("/x".to_owned(), 4096)]));
    assert_eq!(settings.max_line, 1 << 20);
    assert_eq!(settings.stop_grace, Duration::from_millis(1500));
    assert_eq!(settings.connect_timeout, Duration::from_millis(500));
    assert_eq!(settings.start_timeout, Duration::from_secs(45));
    assert_eq!(settings.on_failure, OnFailure::Exit);
    assert_eq!(settings.recover_within, Duration::from_secs(5));
    assert_eq!(settings.answer_timeout, Duration::from_secs(6));
    assert_eq!(settings.call_timeout, Some(Duration::from_secs(7)));
    assert_eq!(format!("{:?}", settings.tools), r#"Some([ToolPattern("read_*"), ToolPattern("list")])"#);
    assert_eq!(settings.deny_tools, ["read_secret".parse().unwrap()]);
    assert!(!settings.journal && config.defaults.journal);
    assert_eq!((settings.standby, settings.standby_ttl), (7, Duration::from_secs(90)));
    assert!(!settings.prestart && config.server("ahead").unwrap().settings.prestart);
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
fn unknown_keys_name_the_nearest() {
    assert_server_error(
        "\n\nmemroy = \"1g\"",
        "5: unknown key `memroy` in [servers.a]; did you mean `memory`?",
    );
    assert_error("[server.a]\nimage = \"i\"", "berth.toml:1: unknown key `server`; did you mean `servers`?");
    assert_error("[dind]\nprot = 1", "berth.toml:2: unknown key `prot` in [dind]; did you mean `port`?");
    assert_error(
        "[defaults]\nnetwrok = \"none\"",
        "berth.toml:2: unknown key `netwrok` in [defaults]; did you mean `network`?",
    );
    assert_error("zzz = 1", "berth.toml:1: unknown key `zzz`; known are dind, bake, defaults, servers");
    // Two mistakes: the first line's, and the misspelt key rather than the one that it leaves missing.
    assert_error(
        "[servers.a]\n\nimgae = \"i\"\nmemroy = 1",
        "berth.toml:3: unknown key `imgae` in [servers.a]; did you mean `image`?",
    );
    assert_error(
        "[defaults]\nimage = \"i\"",
        "berth.toml:2: `image` cannot stand in [defaults]; each server names its own, in [servers.NAME]",
    );
}

#[test]
fn wrong_types_say_what_is_right() {
    assert_server_error(
        "memory = true",
        "3: `memory` is a size such as \"512m\", at least \"6m\", not `true`",
    );
    assert_server_error("read_only = \"yes\"", "3: `read_only` is true or false, not `\"yes\"`");
    assert_server_error("network = 1", "3: `network` is \"egress\" or \"none\", not `1`");
    assert_server_error("network = []", "3: `network` is \"egress\" or \"none\", not a list");
    assert_server_error("command = \"node x.js\"", "3: `command` is a list in brackets, not a text");
    assert_server_error("command = [\n\"node\",\n1]", "5: each of `command` is a text in quotes, not `1`");
    assert_server_error("env = [\"A=1\"]", "3: `env` is a table, not a list");
    assert_server_error("tmpfs = \"/tmp\"", "3: `tmpfs` is a table, not a text");
    assert_server_error(
        "workdir = 2020-01-01",
        "3: `workdir` is an absolute path such as \"/tmp\", not a date",
    );
    assert_error("[servers]\na = \"i\"", "berth.toml:2: `a` is a table, not a text");
    assert_error("[[servers]]\na = \"i\"", "berth.toml:1: `servers` is a table, not a list");
    assert_error("[dind]\nport = \"1\"", "berth.toml:2: `port` is a port from 1 to 65535, not `\"1\"`");
}

#[test]
fn bad_values_say_what_is_right() {
    let memory = "`memory` is a size such as \"512m\", at least \"6m\"";
    assert_server_error("memory = \"lots\"", &format!("3: {memory}, not `\"lots\"`"));
    assert_server_error("memory = \"5m\"", &format!("3: {memory}, not `\"5m\"`"));
    assert_server_error("memory = 1024", &format!("3: {memory}, not `1024`"));
    assert_server_error("memory = 99999999999999999999", &format!("3: {memory}, not `99999999999999999999`"));
    assert_server_error("memory = 7e6", &format!("3: {memory}, not `7e6`"));
    let cpus = "3: `cpus` is a number of processors such as 1.5, at least 0.01";
    assert_server_error("cpus = -1", &format!("{cpus}, not `-1`"));
    assert_server_error("cpus = inf", &format!("{cpus}, not `inf`"));
    assert_server_error("pids = 0", "3: `pids` is a number of processes such as 256, at least 2, not `0`");
    assert_server_error(
        "stop_grace = \"soon\"",
        "3: `stop_grace` is a length of time such as \"3s\", at most \"24h\", not `\"soon\"`",
    );
    assert_server_error(
        "start_timeout = 0",
        "3: `start_timeout` is a length of time such as \"10s\", from \"1ms\" to \"24h\", not `0`",
    );
    let standby = "3: `standby` is a number of containers from 0 to 64";
    assert_server_error("standby = 65", &format!("{standby}, not `65`"));
    assert_server_error("standby = -1", &format!("{standby}, not `-1`"));
    assert_server_error("standby = 1.5", &format!("{standby}, not `1.5`"));
    assert_server_error("standby = true", &format!("{standby}, not `true`"));
    assert_server_error(
        "standby_ttl = \"25h\"",
        "3: `standby_ttl` is a length of time such as \"10s\", from \"1ms\" to \"24h\", not `\"25h\"`",
    );
    assert_server_error("prestart = 1", "3: `prestart` is true or false, not `1`");
    assert_server_error(
        "cap_add = [\"net_raw\"]",
        "3: each of `cap_add` is a capability such as \"NET_RAW\", not `\"net_raw\"`",
    );
    assert_server_error(
        "tmpfs = { tmp = \"1m\" }",
        "3: `tmp` in `tmpfs` is no absolute path such as \"/tmp\"",
    );
    assert_server_error("tmpfs = { \"/tmp\" = 0 }", "3: `/tmp` in `tmpfs` has no size; write \"64m\"");
    assert_server_error(
        "command = []",
        "1: `command` is empty in [servers.a]; leave it out for the image's own ENTRYPOINT and CMD, \
         or put the program first",
    );
    assert_error(
        "[servers.a]",
        "berth.toml:1: `image` is missing in [servers.a]; a server needs an image, or the package that it is baked from: `npx` or `uvx`",
    );
    let long = "x".repeat(80);
    assert_server_error(
        &format!("user = \"{long} \""),
        "3: `user` is a user such as \"1000:1000\", not a text",
    );
}

#[test]
fn dind_mistakes_are_explained() {
    assert_error(
        "[dind]\nhost = \"tcp://10.0.0.5:2376\"",
        "berth.toml:1: a TCP `host` needs `certs` in [dind]; \
         name the folder of its ca.pem, cert.pem and key.pem",
    );
    assert_error(
        "[dind]\ncerts = \"/c\"",
        "berth.toml:1: `certs` needs a `host` in [dind]; \
         the daemon that `berth up` makes has certificates of berth's own",
    );
    assert_error("[dind]\nport = 0", "berth.toml:2: `port` is a port from 1 to 65535, not `0`");
    assert_error(
        "[dind]\nbind = \"localhost\"",
        "berth.toml:2: `bind` is an IP address such as \"127.0.0.1\", not `\"localhost\"`",
    );
    assert_error(
        "[dind]\nengine = \"docker\"",
        "berth.toml:2: `engine` is an address such as \"tcp://10.0.0.5:2376\" or \
         \"unix:///var/run/docker.sock\", not `\"docker\"`",
    );
    assert!(parse("[dind]\nhost = \"unix:///s\"").is_ok());
}

#[test]
fn names_are_checked() {
    let hint = "a name is at most 64 letters, digits, `_`, `.` and `-`, with a letter or digit first";
    for name in ["a b", "", "-a", "ä", "a/b"] {
        assert_error(
            &format!("\n[servers.\"{name}\"]\nimage = \"i\""),
            &format!("berth.toml:2: `{name}` cannot be a server's name; {hint}"),
        );
    }
    assert!(parse(&format!("[servers.{}]\nimage = \"i\"", "a".repeat(64))).is_ok());
    assert!(parse(&format!("[servers.{}]\nimage = \"i\"", "a".repeat(65))).is_err());
    assert_server_error(
        "env = { \"A=B\" = \"\" }",
        "3: `A=B` in `env` is no name of a variable; \
         a name is letters, digits, `_`, `.` and `-`, with a letter or `_` first",
    );
    assert_server_error(
        "env = { A = \"\" }\nsecrets = { A = \"\" }",
        "4: `A` stands in both `env` and `secrets`; keep the one in `secrets`",
    );
}

#[test]
fn mistakes_in_values_of_variables_do_not_show_them() {
    let hint = "write `${NAME}`, `${NAME:-default}`, or `$$` for a plain `$`";
    assert_server_error(
        "secrets = { A = \"hunter2${B\" }",
        &format!("3: `A` in `secrets` has a `${{` without its `}}`; {hint}"),
    );
    assert_server_error(
        "[servers.a.env]\nA = \"1\"\nB = \"${hunter-2}\"",
        &format!(
            "5: `B` in `env` has a `${{…}}` that is neither `${{NAME}}` nor `${{NAME:-default}}`; {hint}"
        ),
    );
    assert_server_error(
        "env = { A = \"hunter$two\" }",
        &format!("3: `A` in `env` has a `$` before a name, without braces; {hint}"),
    );
    assert_server_error("secrets = { A = 12345 }", "3: `A` is a text in quotes, not a number");
}

#[test]
fn a_prestarted_server_has_no_value_of_a_session() {
    let refused = |line: u32, why: &str| {
        format!(
            "{line}: server `a` cannot be prestarted: its variable {why}; \
             set `prestart = false` for this server; its containers are on standby all the same"
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
fn broken_toml_has_a_line() {
    let error = |text| parse(text).unwrap_err();
    let unclosed = error("[dind]\nname = \"hunter2\n");
    assert_eq!(unclosed.line(), Some(2));
    assert!(unclosed.message().starts_with("invalid TOML: ") && !unclosed.message().contains('\n'));
    assert!(!unclosed.to_string().contains("hunter2"));
    assert_eq!(error("a = 1\n\n[dind\n").line(), Some(3));
    assert_eq!(error("[dind]\nport = 1\nport = 2\n").line(), Some(3));
    assert_eq!(error("[dind]\r\nport = 1\r\nport = 2\r\n").line(), Some(3));
    assert_eq!(error("[dind]\nport = ").line(), Some(2));
}

proptest! {
    #[test]
    fn no_file_panics(text in r#"(\[|\]|\{|\}|=|"|\n|\$|,|\.|servers|dind|env|a|image|1|\PC){0,40}"#) {
        if let Err(error) = parse(&text) {
            prop_assert!(error.line().is_none_or(|line| line >= 1 && line <= text.matches('\n').count() + 1));
        }
    }
}

/// What a table says that it knows.
fn known(text: &str) -> Vec<String> {
    let error = parse(text).unwrap_err().to_string();
    let (_, known) = error.split_once("known are ").unwrap_or_else(|| panic!("{error}"));
    let mut known: Vec<String> = known.split(", ").map(str::to_owned).collect();
    known.sort();
    known
}

#[test]
fn the_manuals_keys_are_those_that_are_read() {
    let sorted = |keys: &[Key]| {
        let mut keys: Vec<String> = keys.iter().map(|key| key.key.to_owned()).collect();
        keys.sort();
        keys
    };
    assert_eq!(known("[dind]\n\"?\" = 1"), sorted(&dind::KEYS));
    assert_eq!(known("[bake]\n\"?\" = 1"), sorted(&bake::KEYS));
    let mut of_a_server = sorted(&program::KEYS);
    of_a_server.extend(table::settings().iter().map(|setting| setting.key.to_owned()));
    of_a_server.sort();
    assert_eq!(known("[servers.a]\nimage = \"i\"\n\"?\" = 1"), of_a_server);
}

#[test]
fn the_manuals_defaults_are_those_that_hold() {
    let text = format!("[dind]\n{}[bake]\n{}", key::defaults(&dind::KEYS), key::defaults(&bake::KEYS));
    let config = config(&text);
    // What may not be shared depends on where the home is.
    let dind = Dind { share: config.dind.share.clone(), ..Dind::default() };
    assert_eq!((config.dind, config.bake), (dind, Bake::default()));
}

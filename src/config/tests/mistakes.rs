//! The exact words of each mistake in the file.

use proptest::prelude::*;

use super::{assert_error, assert_server_error, parse};

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
    assert_error(
        "zzz = 1",
        "berth.toml:1: unknown key `zzz`; known keys are dind, bake, limits, kubernetes, manager, defaults, servers, \
         profiles",
    );
    // Two mistakes: the first line's, and the misspelt key rather than the one that it leaves missing.
    assert_error(
        "[servers.a]\n\nimgae = \"i\"\nmemroy = 1",
        "berth.toml:3: unknown key `imgae` in [servers.a]; did you mean `image`?",
    );
    assert_error(
        "[defaults]\nimage = \"i\"",
        "berth.toml:2: `image` is not allowed in [defaults]; set it for each server, in [servers.NAME]",
    );
}

#[test]
fn wrong_types_say_what_is_right() {
    assert_server_error(
        "memory = true",
        "3: `memory` must be a size such as \"512m\", at least \"6m\", not `true`",
    );
    let streams = "3: `streams` must be \"auto\", \"direct\" or \"exec\"";
    assert_server_error("streams = \"pipes\"", &format!("{streams}, not `\"pipes\"`"));
    assert_server_error("streams = true", &format!("{streams}, not `true`"));
    let broken = "3: `broken_answers` must be \"repair\" or \"refuse\", not `\"mend\"`";
    assert_server_error("broken_answers = \"mend\"", broken);
    assert_server_error("read_only = \"yes\"", "3: `read_only` must be true or false, not `\"yes\"`");
    let network = "3: `network` must be \"egress\", \"lan\", \"none\" or { allow = [\"api.example.org\"] }";
    assert_server_error("network = 1", &format!("{network}, not `1`"));
    assert_server_error("network = []", &format!("{network}, not a list"));
    assert_server_error("command = \"node x.js\"", "3: `command` must be a list in brackets, not a text");
    assert_server_error(
        "command = [\n\"node\",\n1]",
        "5: each of `command` must be a text in quotes, not `1`",
    );
    assert_server_error("env = [\"A=1\"]", "3: `env` must be a table, not a list");
    assert_server_error("tmpfs = \"/tmp\"", "3: `tmpfs` must be a table, not a text");
    assert_server_error(
        "workdir = 2020-01-01",
        "3: `workdir` must be an absolute path such as \"/tmp\", not a date",
    );
    assert_error("[servers]\na = \"i\"", "berth.toml:2: `a` must be a table, not a text");
    assert_error("[[servers]]\na = \"i\"", "berth.toml:1: `servers` must be a table, not a list");
    assert_error("[dind]\nport = \"1\"", "berth.toml:2: `port` must be a port from 1 to 65535, not `\"1\"`");
}

#[test]
fn a_kernel_of_its_own_has_no_direct_streams() {
    let refused = "server `a` cannot have `streams = \"direct\"` with `isolation = \"gvisor\"`: no pipe leads out of a kernel \
                   of its own; set `streams = \"auto\"` for this server, or `isolation = \"container\"`";
    for way in ["auto", "direct", "exec"] {
        let text =
            format!("[defaults]\nisolation = \"gvisor\"\n[servers.a]\nimage = \"i\"\nstreams = \"{way}\"");
        let said = parse(&text).map(drop).map_err(|error| error.to_string());
        match way {
            "direct" => assert!(said.unwrap_err().ends_with(refused), "{way}"),
            _ => assert_eq!(said, Ok(())),
        }
    }
}

#[test]
fn bad_values_say_what_is_right() {
    let memory = "`memory` must be a size such as \"512m\", at least \"6m\"";
    assert_server_error("memory = \"lots\"", &format!("3: {memory}, not `\"lots\"`"));
    assert_server_error("memory = \"5m\"", &format!("3: {memory}, not `\"5m\"`"));
    assert_server_error("memory = 1024", &format!("3: {memory}, not `1024`"));
    assert_server_error("memory = 99999999999999999999", &format!("3: {memory}, not `99999999999999999999`"));
    assert_server_error("memory = 7e6", &format!("3: {memory}, not `7e6`"));
    let cpus = "3: `cpus` must be a number of processors such as 1.5, at least 0.01";
    assert_server_error("cpus = -1", &format!("{cpus}, not `-1`"));
    assert_server_error("cpus = inf", &format!("{cpus}, not `inf`"));
    assert_server_error(
        "pids = 0",
        "3: `pids` must be a number of processes such as 256, at least 2, not `0`",
    );
    assert_server_error(
        "stop_grace = \"soon\"",
        "3: `stop_grace` must be a length of time such as \"3s\", at most \"24h\", not `\"soon\"`",
    );
    assert_server_error(
        "start_timeout = 0",
        "3: `start_timeout` must be a length of time such as \"10s\", from \"1ms\" to \"24h\", not `0`",
    );
    let standby = "3: `standby` must be a number of containers from 0 to 64, or a range such as \"0..8\" that a manager chooses from";
    assert_server_error("standby = 65", &format!("{standby}, not `65`"));
    assert_server_error("standby = -1", &format!("{standby}, not `-1`"));
    assert_server_error("standby = 1.5", &format!("{standby}, not `1.5`"));
    assert_server_error(
        "standby = { min = 4, max = 2 }",
        "3: `standby` has a `min` of 4 and a `max` of 2 in `standby`",
    );
    assert_server_error("standby = { min = 4 }", "3: `standby` needs a `max` in `standby`");
    assert_server_error("standby = true", &format!("{standby}, not `true`"));
    assert_server_error(
        "standby_ttl = \"25h\"",
        "3: `standby_ttl` must be a length of time such as \"10s\", from \"1ms\" to \"24h\", not `\"25h\"`",
    );
    assert_server_error("prestart = 1", "3: `prestart` must be true or false, not `1`");
    assert_server_error(
        "cap_add = [\"net_raw\"]",
        "3: each of `cap_add` must be a capability such as \"NET_RAW\", not `\"net_raw\"`",
    );
    assert_server_error(
        "tmpfs = { tmp = \"1m\" }",
        "3: `tmp` in `tmpfs` is not an absolute path such as \"/tmp\"",
    );
    assert_server_error(
        "tmpfs = { \"/tmp\" = 0 }",
        "3: `/tmp` in `tmpfs` has no size; write \"64m\", or { size = \"64m\", exec = true }",
    );
    assert_server_error(
        "tmpfs = { \"/x\" = { exec = true } }",
        "3: `/x` in `tmpfs` has no size in [tmpfs.\"/x\"]; write \"64m\", or { size = \"64m\", exec = true }",
    );
    assert_server_error(
        "tmpfs = { \"/x\" = { size = 1, exe = true } }",
        "3: unknown key `exe` in [tmpfs.\"/x\"]; did you mean `exec`?",
    );
    assert_server_error("pull = \"never\"", "3: `pull` must be \"missing\" or \"always\", not `\"never\"`");
    assert_server_error(
        "env_vars = [\"A=hunter2\"]",
        "3: each of `env_vars` must be a variable's name; write `env = { NAME = \"value\" }` for a value of its own",
    );
    assert_server_error(
        "env = { A = \"1\" }\nenv_vars = [\"A\"]",
        "4: `A` has a value, and stands in `env_vars` as well; keep one of the two",
    );
    assert_server_error(
        "env_vars = [\"A\"]\nprestart = true",
        "3: server `a` cannot be prestarted: its variable `A` takes `A` from its client's environment; set `prestart = false` for this server; its containers still wait on standby",
    );
    assert_server_error(
        "command = []",
        "1: `command` is empty in [servers.a]; remove it to run the image's own ENTRYPOINT and CMD, or put the program first",
    );
    assert_error(
        "[servers.a]",
        "berth.toml:1: `image` is missing in [servers.a]; a server needs an image, or the package that it is baked from: `npx`, `uvx` or `uv`",
    );
    let long = "x".repeat(80);
    assert_server_error(
        &format!("user = \"{long} \""),
        "3: `user` must be a user such as \"1000:1000\", not a text",
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
         remove `certs`: berth itself makes the certificates of its own daemon",
    );
    assert_error("[dind]\nport = 0", "berth.toml:2: `port` must be a port from 1 to 65535, not `0`");
    assert_error(
        "[dind]\nbind = \"localhost\"",
        "berth.toml:2: `bind` must be an IP address such as \"127.0.0.1\", not `\"localhost\"`",
    );
    assert_error(
        "[dind]\nengine = \"docker\"",
        "berth.toml:2: `engine` must be an address such as \"tcp://10.0.0.5:2376\" or \
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
        "3: `A=B` in `env` is not a variable's name; \
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
        &format!("3: `A` in `secrets` has an unclosed `${{`; {hint}"),
    );
    assert_server_error(
        "[servers.a.env]\nA = \"1\"\nB = \"${hunter-2}\"",
        &format!("5: `B` in `env` has a `${{…}}` that is not `${{NAME}}` or `${{NAME:-default}}`; {hint}"),
    );
    assert_server_error(
        "env = { A = \"hunter$two\" }",
        &format!("3: `A` in `env` has a `$` before a name, without braces; {hint}"),
    );
    assert_server_error("secrets = { A = 12345 }", "3: `A` must be a text in quotes, not a number");
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

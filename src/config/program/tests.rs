//! What a server runs, as it is read and as it is shown.

use std::path::Path;

use super::super::{Config, Home};

fn parse(text: &str) -> Result<Config, String> {
    let home = Home::from_env(&|name| (name == "HOME").then(|| "/h".to_owned())).unwrap();
    Config::parse(text, Path::new("/b.toml"), &home).map_err(|error| error.to_string())
}

fn server(text: &str) -> super::Server {
    parse(&format!("[servers.a]\n{text}")).unwrap().server("a").unwrap().clone()
}

fn error(text: &str) -> String {
    parse(&format!("[servers.a]\n{text}")).unwrap_err()
}

#[test]
fn a_package_stands_for_its_image() {
    let everything = server("npx = \"@a/b@1 --port '${PORT:-1}'\"\nmemory = \"64m\"");
    let recipe = everything.recipe.clone().unwrap();
    assert_eq!(everything.image, recipe.image());
    assert_eq!(everything.args.as_deref().unwrap(), ["--port", "${PORT:-1}"]);
    assert_eq!(everything.settings.memory, 64 << 20);
    assert_eq!(everything, server("npx = [\"@a/b@1\", \"--port\", \"${PORT:-1}\"]\nmemory = \"64m\""));
    let time = server("uvx = \"time==1\"\nintegrity = \"sha256-x\"");
    assert_eq!(time.recipe.unwrap().integrity.as_deref(), Some("sha256-x"));
    assert_eq!(server("npx = \"b\"\nbase = \"chrome:1\"").recipe.unwrap().base(), "chrome:1");
    let told = server("npx = \"b\"\nenv = { PUPPETEER_SKIP_DOWNLOAD = \"1\", A = \"2\" }").recipe.unwrap();
    assert_eq!(told.env, [("PUPPETEER_SKIP_DOWNLOAD".to_owned(), "1".to_owned())].into());
    let project = server("uv = \"--directory /d run -q --with c server.py --x\"");
    assert_eq!(project.args.as_deref().unwrap(), ["/d/server.py", "--x"]);
    assert_eq!(project.recipe.unwrap().package.words().join(" "), "--directory /d run --with c python");
    let own = server("npx = \"b\"\ncommand = [\"sh\"]");
    assert_eq!((own.args, own.command.unwrap()), (None, vec!["sh".to_owned()]));
}

#[test]
fn a_server_comes_from_one_place() {
    for text in [
        "image = \"i\"\nnpx = \"a\"",
        "image = \"i\"\nuvx = \"a\"",
        "npx = \"a\"\nuvx = \"a\"",
        "npx = \"a\"\nuvx = \"b\"",
        "uvx = \"b\"\nuv = \"--directory /d run x\"",
    ] {
        assert!(
            error(text).contains("`image`, `npx`, `uvx` and `uv` exclude each other"),
            "{text}: {}",
            error(text)
        );
    }
    assert!(
        error("memory = \"1g\"").contains("`image` is missing in [servers.a]; a server needs an image, or")
    );
    assert!(error("image = \"i\"\nbase = \"x\"").contains("`base` needs `npx`, `uvx` or `uv`"));
    assert!(error("image = \"i\"\nintegrity = \"x\"").contains("`integrity` needs `npx` or `uvx`"));
    assert!(error("npx = \"a\"\nargs = []").contains("`args` cannot be used with a package"));
    assert!(parse("[defaults]\nnpx = \"a\"").unwrap_err().contains("`npx` is not allowed in [defaults]"));
}

#[test]
fn mistakes_in_a_package_have_a_line_and_show_no_argument() {
    assert_eq!(
        error("npx = \"./x hunter2\""),
        "/b.toml:2: `npx`: `npx` names no package of a registry; a folder of this machine cannot be baked: \
         start its script with `node /ABSOLUTE/PATH/TO/FILE`"
    );
    assert!(error("npx = \"a 'hunter2\"").contains("`npx` has an unclosed quote"));
    let unclosed = error("npx = \"a hunter2${\"");
    assert!(unclosed.contains("an argument in `npx` has an unclosed `${`") && !unclosed.contains("hunter2"));
    assert!(
        error("image = \"i\"\nargs = [\"$HOME\"]").contains("an argument in `args` has a `$` before a name")
    );
    assert!(error("npx = 1").contains("`npx` must be a text in quotes"));
}

#[test]
fn arguments_take_the_clients_variables() {
    let mut server = server("image = \"i\"\nargs = [\"--key=${API_KEY}\", \"$$x\", \"${N:-1}\"]");
    let words = server.resolve_args(&|name| (name == "API_KEY").then(|| "hunter2".to_owned())).unwrap();
    assert_eq!(server.args.unwrap(), ["--key=hunter2", "$x", "1"]);
    assert_eq!(words.shown, ["--key=[redacted]", "$x", "1"]);
    let mut server = self::server("image = \"i\"\ncommand = [\"serve\", \"--token=sesame\"]");
    assert_eq!(server.resolve_args(&|_| None).unwrap().command, ["serve", "--token=[redacted]"]);
    assert_eq!(words.secrets, ["hunter2"; 2]);
    let mut server = self::server("image = \"i\"\nargs = [\"${X}\"]");
    let error = server.resolve_args(&|_| None).unwrap_err().to_string();
    assert!(error.starts_with("server `a` needs the variable `X` for an argument"), "{error}");
    let refused = self::error("image = \"i\"\nargs = [\"${X}\"]\nprestart = true");
    assert!(refused.contains("its arguments take `X` from its client's environment"), "{refused}");
}

#[test]
fn secrets_among_arguments_are_hidden_at_their_own_place() {
    let text = "image = \"i\"\nargs = [\"--password\", \"${DB_PASS}\", \"/root/x\", \"--url\", \"${U}\", \
                \"--api-key\", \"sesame\", \"--mode=root\"]";
    let mut server = server(text);
    let words = server
        .resolve_args(&|name| match name {
            "DB_PASS" => Some("root".to_owned()),
            "U" => Some("postgres://u:sesame2@h".to_owned()),
            _ => None,
        })
        .unwrap();
    assert_eq!(
        words.shown,
        [
            "--password",
            "[redacted]",
            "/root/x",
            "--url",
            "[redacted]",
            "--api-key",
            "[redacted]",
            "--mode=root"
        ]
    );
    for secret in ["root", "postgres://u:sesame2@h", "sesame2", "sesame"] {
        assert!(words.secrets.iter().any(|known| known == secret), "{secret}: {:?}", words.secrets);
    }
}

#[test]
fn packages_are_baked_as_the_section_says() {
    let config = parse(
        "[bake]\nnode = \"n\"\nuv = \"u\"\nnpm_registry = \"https://r/\"\nca = \"ca.pem\"\nmemory = \"1g\"\ntime = \"5m\"\n\
         [servers.a]\nnpx = \"a\"\n[servers.b]\nnpx = \"a --other\"\n[servers.c]\nuvx = \"c\"\n[servers.d]\nimage = \"i\"",
    )
    .unwrap();
    assert_eq!(config.bake.ca.as_deref(), Some(Path::new("/ca.pem")));
    assert_eq!(config.foreign_images().into_iter().collect::<Vec<_>>(), ["i"]);
    assert_eq!(config.recipes().len(), 2);
    assert!(
        parse("[bake]\nnpm_registry = \"r\"").unwrap_err().contains("must be an address such as \"https://")
    );
    assert!(parse("[bake]\nnodes = \"r\"").unwrap_err().contains("did you mean `node`?"));
}

#[test]
fn a_command_line_is_a_server() {
    let config = parse("[defaults]\nnetwork = \"none\"").unwrap();
    let line = |line: &str| config.server_of_line(&shlex::split(line).unwrap());
    let (server, notes) = line("npx -y @a/b 'x$y'").unwrap();
    assert_eq!((server.name.as_str(), server.args.clone().unwrap()), ("b", vec!["x$$y".to_owned()]));
    assert!(server.recipe.is_some() && notes.is_empty());
    assert_eq!(server.settings.network, crate::values::Network::None);
    let (server, notes) = line("docker run -i --rm -p 1:1 -m 64m -e A img:1 serve").unwrap();
    assert_eq!((server.image.as_str(), server.args.unwrap()), ("img:1", vec!["serve".to_owned()]));
    assert_eq!((server.settings.memory, notes.len()), (64 << 20, 1));
    let passed = line("docker run -e A -e B_TOKEN img").unwrap().0;
    let shown = |lookup| format!("{:?}", passed.resolve_env(lookup).unwrap());
    assert_eq!(shown(&|_| None), "[]", "as docker has it");
    assert_eq!(shown(&|name| Some(name.to_lowercase())), "[A=a, B_TOKEN=[redacted]]");
    assert!(line("serve x").unwrap_err().to_string().contains("berth understands `npx"));
}

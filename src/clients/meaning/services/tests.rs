//! What entries as people have them come to.

use super::*;
use crate::clients::{Asked, Entry, Surroundings};

/// What comes of an entry: its services, its published ports, its volumes, and what is said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Meant {
    services: Vec<String>,
    published: Vec<String>,
    volumes: Vec<String>,
    notes: Vec<String>,
}

fn meant(line: &str, env: &[(&str, &str)]) -> Result<Meant, String> {
    meant_among(line, env, &|_| None)
}

fn meant_among(line: &str, env: &[(&str, &str)], lookup: crate::values::Lookup<'_>) -> Result<Meant, String> {
    let argv = shlex::split(line).unwrap();
    let mut parsed = crate::runner::parse(&argv).map_err(|error| error.to_string())?;
    let env: Vec<(String, String)> =
        env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let entry = Entry { command: argv[0].clone(), args: argv[1..].to_vec(), env, ..Entry::default() };
    let stated = Stated::of(&parsed, &entry, lookup);
    for (name, _) in &entry.env {
        parsed.set_env(name, format!("${{{name}}}"));
    }
    // As the translation leaves what looks secret, or can be moved.
    for (name, template) in &mut parsed.env {
        if !template.contains("${") {
            *template = format!("${{{name}}}");
        }
    }
    parsed.notes.clear();
    let around = Surroundings::new("/work".into(), lookup);
    services(&mut parsed, &stated, &Machine { around: &around, lookup, asked: Asked::default() })?;
    let list = |key: &str| -> Vec<String> {
        let found = parsed.settings.iter().find(|(known, _)| *known == key);
        let list = found.and_then(|(_, list)| list.as_array());
        list.into_iter().flatten().filter_map(|value| value.as_str().map(str::to_owned)).collect()
    };
    Ok(Meant {
        services: list("host_services"),
        published: list("publish"),
        volumes: parsed.volumes.clone(),
        notes: parsed.notes,
    })
}

fn services_of(line: &str, env: &[(&str, &str)]) -> Vec<String> {
    meant(line, env).unwrap().services
}

#[test]
fn addresses_in_arguments_and_variables_become_lines_and_words() {
    let found = meant("npx -y pg-mcp postgres://u:hunter2@localhost/db", &[]).unwrap();
    assert_eq!(found.services, ["5432"]);
    assert!(
        found.notes[0].contains("port 5432 of this machine, by `host_services`: an argument"),
        "{found:?}"
    );
    assert!(!format!("{:?}", found.notes).contains("hunter2"), "a value stays in the client's file");
    assert_eq!(
        services_of(
            "uvx --from redis-mcp-server@latest redis-mcp-server --url redis://localhost:6379/0",
            &[("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", "6379")]
        ),
        ["6379"]
    );
    assert_eq!(
        services_of(
            "docker run -i --rm -e NEO4J_URI=bolt://host.docker.internal:7687 -e NEO4J_TRANSPORT=stdio mcp/neo4j-cypher",
            &[]
        ),
        ["7687"]
    );
    assert_eq!(
        services_of(
            "docker run -i -e ES_URL -e ES_API_KEY x/y stdio",
            &[("ES_URL", "http://localhost:9200")]
        ),
        ["9200"]
    );
    assert_eq!(services_of("npx kafka-mcp --brokers=localhost:9092,localhost:9093", &[]), ["9092", "9093"]);
    assert_eq!(services_of("npx -y x", &[("MCP_SERVER_URL", "http://localhost:4444/servers/U")]), ["4444"]);
    assert_eq!(services_of("npx -y x", &[("HTTPS_PROXY", "http://127.0.0.1:7890")]), ["7890"]);
}

#[test]
fn a_host_and_its_port_stand_apart() {
    assert_eq!(
        services_of(
            "uvx --from mysql-mcp-server mysql_mcp_server",
            &[("MYSQL_HOST", "localhost"), ("MYSQL_PORT", "3311")]
        ),
        ["3311"]
    );
    assert_eq!(services_of("npx x", &[("MYSQL_HOST", "127.0.0.1")]), ["3306"], "known by its name");
    assert_eq!(services_of("npx x", &[("PGHOST", "::1"), ("PGPORT", "5433")]), ["5433"]);
    assert_eq!(services_of("npx x", &[("DB_HOST", "localhost"), ("DB_PORT", "5434")]), ["5434"]);
    assert_eq!(services_of("npx mysql-mcp --host localhost --port 3312", &[]), ["3312"]);
    assert_eq!(services_of("npx mysql-mcp --host localhost --port 8080", &[]), ["3306"], "8080 is its own");
    assert_eq!(
        services_of("docker run -i -e VALKEY_HOST=host.docker.internal -e VALKEY_PORT=6380 a/valkey", &[]),
        ["6380"]
    );
    let found = meant("npx x", &[("DB_HOST", "localhost")]).unwrap();
    assert!(
        found.services.is_empty() && found.notes[0].contains("`DB_HOST` names this machine"),
        "{found:?}"
    );
    // Codex passes on what its own environment has.
    let lookup = |name: &str| (name == "REDIS_HOST").then(|| "localhost".to_owned());
    assert_eq!(meant_among("docker run -i -e REDIS_HOST a/b", &[], &lookup).unwrap().services, ["6379"]);
}

#[test]
fn other_machines_and_listeners_of_the_servers_own_are_no_services() {
    for (line, env) in [
        ("npx x --url https://api.example.org:8443/x", vec![]),
        ("npx x --host 0.0.0.0 --port 8000", vec![]),
        ("npx x --host localhost --port 3000", vec![]),
        ("npx x", vec![("HOST", "127.0.0.1"), ("PORT", "3000")]),
        ("npx x", vec![("MCP_HOST", "localhost"), ("MCP_PORT", "9123")]),
        ("npx x --listen 127.0.0.1:8080", vec![]),
        ("npx x", vec![("ALLOWED_ORIGINS", "http://localhost:3000"), ("NO_PROXY", "localhost,127.0.0.1")]),
        ("npx x", vec![("LOG_LEVEL", "INFO"), ("TRANSPORT", "stdio")]),
        ("docker run -i -p 127.0.0.1:8085:8085 x/y", vec![]),
    ] {
        assert_eq!(
            meant(line, &env).map(|found| (found.services, found.notes)),
            Ok((vec![], vec![])),
            "{line} {env:?}"
        );
    }
}

#[test]
fn names_of_the_machine_become_names_of_the_service() {
    let found =
        meant("docker run -i --add-host=db:host-gateway -e DATABASE_URL=postgres://u@db:5432/x a/b", &[]);
    assert_eq!(found.unwrap().services, ["db:5432"]);
    assert_eq!(
        services_of("podman run -i -e U=http://host.containers.internal:11434 a/b", &[]),
        ["host.containers.internal:11434"]
    );
    let found = meant("docker run -i --add-host=host.docker.internal:host-gateway a/b", &[]).unwrap();
    assert!(found.notes[0].contains("no port of this machine was seen"), "{found:?}");
}

#[test]
fn the_machines_network_is_narrowed_to_what_is_seen() {
    let line = "docker run --rm --network=host -i -e MCP_SERVER_URL=http://localhost:4444/servers/U a/b python3 -m w";
    let found = meant(line, &[]).unwrap();
    assert_eq!(found.services, ["4444"]);
    assert!(found.notes.iter().any(|note| note.contains("narrowed to these ports")), "{found:?}");
    let why = meant("docker run --rm --network=host -i a/b", &[]).unwrap_err();
    assert!(why.contains("`host_services = [\"PORT\"]`"), "{why}");
}

#[test]
fn a_browsers_way_back_is_published_and_its_login_kept() {
    let found = meant(
        "docker run -i --rm -p 127.0.0.1:8085:8085 -e GITHUB_OAUTH_CALLBACK_PORT ghcr.io/github/github-mcp-server",
        &[("GITHUB_OAUTH_CALLBACK_PORT", "8085")],
    );
    let found = found.unwrap();
    assert_eq!((found.published, found.services), (vec!["8085".to_owned()], vec![]));
    assert!(found.notes[0].contains("port 8085 of this machine, by `publish`"), "{:?}", found.notes);
    assert!(found.volumes.is_empty() && found.notes[1].contains("a log-in ends with its session"));
    let found = meant(
        "npx -y @zereight/mcp-gitlab",
        &[
            ("GITLAB_OAUTH_REDIRECT_URI", "http://127.0.0.1:8888/callback"),
            ("GITLAB_API_URL", "https://gitlab.com/api/v4"),
        ],
    );
    let found = found.unwrap();
    assert_eq!((found.published, found.services), (vec!["8888".to_owned()], vec![]));
    assert_eq!(found.volumes, ["mcp-gitlab-login:/login"]);
    // Another port of the machine's is not another's way back.
    let found =
        meant("docker run -i -p 127.0.0.1:9000:80 -e X_REDIRECT_URI=http://localhost:9000/cb a/b", &[]);
    assert_eq!(found.unwrap().published, ["9000:80"]);
}

fn bridge(line: &str) -> Option<String> {
    of_a_bridge(&crate::runner::parse(&shlex::split(line).unwrap()).unwrap().program)
}

#[test]
fn a_bridge_is_left_to_its_client() {
    for line in [
        "npx -y mcp-remote https://mcp.example.org/?key=tvly-hunter2",
        "npx -p mcp-remote@latest mcp-remote-client https://remote.mcp.server/sse",
        "bunx mcp-remote@0.1.2 https://x.org",
        "npx -y supergateway --sse https://x.org/sse",
        "uvx mcp-proxy https://x.org/sse",
    ] {
        let why = bridge(line).unwrap();
        assert!(why.contains("claude mcp add --transport http") && !why.contains("hunter2"), "{line}: {why}");
    }
    for line in [
        "npx supergateway --stdio x",
        "uvx mcp-proxy-for-aws@latest https://x.api.aws/mcp",
        "npx mcp-remote-x a",
    ] {
        assert_eq!(bridge(line), None, "{line}");
    }
}

#[test]
fn programs_of_the_screen_are_known_and_databases_only_hinted_at() {
    let found = meant("uvx --python 3.11 blender-mcp", &[]).unwrap();
    assert_eq!(found.services, ["9876"]);
    assert!(found.notes[0].contains("Blender waits there"), "{found:?}");
    assert_eq!(services_of("npx ollama-mcp", &[("OLLAMA_HOST", "https://ollama.example.org")]), [""; 0]);
    let found = meant("uvx redis-mcp-server", &[]).unwrap();
    assert!(
        found.services.is_empty() && found.notes[0].contains("`host_services = [\"6379\"]`"),
        "{found:?}"
    );
    let found = meant("docker run -i -e SONARQUBE_IDE_PORT a/b", &[("SONARQUBE_IDE_PORT", "64120")]).unwrap();
    assert!(found.notes[0].contains("`SONARQUBE_IDE_PORT` (64120)"), "{found:?}");
}

#[test]
fn a_machine_of_the_local_network_is_told_with_the_line_that_opens_it() {
    let said = |line: &str, env: &[(&str, &str)]| meant(line, env).unwrap().notes.join("\n");
    for (line, env, place) in [
        ("npx x", &[("HA_URL", "http://homeassistant.local:8123")][..], "`HA_URL`"),
        ("npx x", &[("NAS_HOST", "nas")], "`NAS_HOST`"),
        ("npx x", &[("NAS_URL", "http://nas:5000/x")], "`NAS_URL`"),
        ("npx x", &[("DSN", "postgres://u:hunter2@192.168.1.20:5432/x")], "`DSN`"),
        ("npx x", &[("DSN", "u:hunter2@tcp(10.0.0.5:3306)/x")], "`DSN`"),
        ("npx x --url=https://printer.lan/x", &[], "`--url`"),
        ("npx x http://box.home.arpa", &[], "an argument"),
        ("docker run -i -e U=http://172.20.0.3 a/b", &[], "`U`"),
        ("npx x --host 192.168.1.7 --port 1", &[], "`--host`"),
        ("npx x", &[("U", "http://[fd00::1]:80/")], "`U`"),
    ] {
        let said = said(line, env);
        assert!(
            said.contains(&format!("{place} names a machine of the local network")),
            "{line} {env:?}: {said}"
        );
        assert!(said.contains("`network = \"lan\"`") && !said.contains("hunter2"), "{said}");
        assert_eq!(said.contains("write its address"), said.contains("HA_URL"), "{said}");
    }
    for (line, env) in [
        ("npx x", &[("U", "https://api.example.org/192.168.1.1")][..]),
        ("npx x", &[("U", "https://172.32.0.1/x"), ("V", "http://192.167.0.1"), ("W", "http://11.0.0.1")]),
        ("npx x --version 10.0.0.1.2 --allow 10.0.0.0/8", &[]),
        ("npx x", &[("NO_PROXY", "10.0.0.5,nas.lan")]),
        ("npx x", &[("U", "memory://notes"), ("V", "${NAS}"), ("W", "http://${NAS}:80")]),
        ("npx x --name nas.local", &[]),
        ("npx x", &[("DATABASE_URL", "file:./dev.db"), ("DB_URI", "file:dev.db")]),
        ("docker run -i --network none -e U=http://10.0.0.1 a/b", &[]),
    ] {
        assert!(!said(line, env).contains("local network"), "{line} {env:?}: {}", said(line, env));
    }
}

#[test]
fn an_interface_of_a_service_is_no_way_back_of_a_browser() {
    let found = meant("npx x", &[("TOKEN_URL", "http://localhost:9000/oauth/token")]).unwrap();
    assert_eq!((found.services, found.published), (vec!["9000".to_owned()], vec![]));
    let found = meant("npx x", &[("U", "http://localhost:9000/callbacks/list")]).unwrap();
    assert!(found.published.is_empty());
    for (name, url) in [
        ("U", "http://localhost:9000/oauth/callback"),
        ("U", "http://localhost:9000/oauth2callback?x=1"),
        ("REDIRECT_URI", "http://localhost:9000/"),
    ] {
        assert_eq!(meant("npx x", &[(name, url)]).unwrap().published, ["9000"], "{url}");
    }
}

#[test]
fn a_packages_name_alone_opens_no_port_where_its_arguments_say_another_way() {
    assert_eq!(services_of("npx -y mcp-obsidian /home/alex/vault", &[]), [""; 0]);
    assert_eq!(services_of("npx -y obsidian-mcp --vault ./notes", &[]), [""; 0]);
    assert_eq!(services_of("uvx mcp-obsidian", &[("OBSIDIAN_API_KEY", "x")]), ["27124"]);
}

#[test]
fn a_variable_in_a_line_of_a_shell_is_looked_at_by_its_name() {
    let found = meant("bash -c 'export X_REDIRECT_URI=http://localhost:8912/cb && npx x'", &[]).unwrap();
    assert_eq!((found.services, found.published), (vec![], vec!["8912".to_owned()]));
    let found = meant("env MYSQL_HOST=localhost MYSQL_PORT=3399 npx x", &[("EMPTY", "")]).unwrap();
    assert_eq!(found.services, ["3399"]);
    // An empty value hides no address.
    assert_eq!(services_of("npx x http://localhost:4444/x", &[("EMPTY", "")]), ["4444"]);
}

//! The choice between the file, the environment and the docker CLI's files.

use super::*;

const RUN: &str = "/run/user/1000/docker.sock";

fn nothing() -> Said {
    Said {
        host: None,
        certs: None,
        own_certs: Some("/b/certs".into()),
        context: Ok(None),
        sockets: vec![(SOCKET.into(), true), (RUN.into(), true)],
    }
}

fn host(address: &str) -> Said {
    Said { host: Some(address.to_owned()), ..nothing() }
}

fn context(host: &str) -> Context {
    Context {
        name: "far".to_owned(),
        by_variable: false,
        host: host.to_owned(),
        certs: None,
        skips_verification: false,
    }
}

fn in_context(context: Context) -> Said {
    Said { context: Ok(Some(context)), ..nothing() }
}

fn address(dind: &Dind, said: &Said) -> String {
    dind.reachable_engine(said).unwrap().address
}

fn refused(dind: &Dind, said: &Said) -> Option<String> {
    dind.reachable_engine(said).err().map(|error| error.to_string())
}

fn unix(path: &str) -> String {
    format!("unix://{path}")
}

#[test]
fn the_engine_is_the_files_then_docker_hosts_then_the_contexts_then_the_usual_one() {
    let dind = Dind::default();
    assert_eq!(address(&dind, &nothing()), unix(SOCKET));
    let said = in_context(context("unix:///context.sock"));
    assert_eq!(address(&dind, &said), "unix:///context.sock");
    let said = Said { host: Some("unix:///host.sock".to_owned()), ..said };
    let found = dind.reachable_engine(&said).unwrap();
    assert_eq!((found.address.as_str(), found.origin), ("unix:///host.sock", Origin::DockerHost));
    let dind = Dind { engine: Some("unix:///own.sock".to_owned()), ..dind };
    assert_eq!(address(&dind, &said), "unix:///own.sock");
}

#[test]
fn the_environment_is_read_as_the_docker_cli_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let docker = folder.path().to_str().unwrap();
    let gather = |vars: &[(&str, &str)]| {
        Said::gather(&|name| match name {
            "DOCKER_CONFIG" => Some(docker.to_owned()),
            _ => vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()),
        })
    };
    let said = gather(&[("DOCKER_HOST", ""), ("DOCKER_CONTEXT", "")]);
    assert_eq!((said.host, said.context.unwrap()), (None, None));
    let said = gather(&[("DOCKER_HOST", "tcp://h:1"), ("DOCKER_CERT_PATH", "/c")]);
    assert_eq!((said.host.as_deref(), said.certs), (Some("tcp://h:1"), None));
    let verify = ("DOCKER_TLS_VERIFY", "1");
    assert_eq!(gather(&[verify, ("DOCKER_CERT_PATH", "/c")]).certs, Some("/c".into()));
    assert_eq!(gather(&[verify]).certs, Some(docker.into()));
    assert!(gather(&[("DOCKER_CONTEXT", "gone")]).context.is_err());
    std::fs::write(folder.path().join("config.json"), r#"{"currentContext": "gone"}"#).unwrap();
    assert!(gather(&[]).context.is_err());
    assert_eq!(gather(&[("DOCKER_CONTEXT", "default")]).context.unwrap(), None);
}

#[test]
fn a_persons_own_socket_is_taken_where_the_systems_is_not_there() {
    let looked = |found: &[usize]| {
        let vars = [("HOME", "/h")];
        let lookup = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned());
        let paths = sockets(&lookup, 1000).into_iter().enumerate();
        let sockets = paths.map(|(n, path)| (path, found.contains(&n))).collect();
        let found = Dind::default().reachable_engine(&Said { sockets, ..nothing() }).unwrap();
        (found.address, found.origin.to_string())
    };
    assert_eq!(looked(&[0, 1]), (unix(SOCKET), "the default socket".to_owned()));
    assert_eq!(looked(&[1, 2]), (unix(RUN), format!("no socket at `{SOCKET}`")));
    assert_eq!(looked(&[2]).0, "unix:///h/.docker/desktop/docker.sock");
    assert_eq!(looked(&[3, 4]).0, "unix:///h/.colima/default/docker.sock");
    assert_eq!(looked(&[4]).0, "unix:///h/.rd/docker.sock");
    let (address, origin) = looked(&[]);
    assert_eq!(address, unix(SOCKET));
    for path in [SOCKET, RUN, "/h/.docker/desktop/docker.sock", "/h/.rd/docker.sock"] {
        assert!(origin.contains(&format!("`{path}`")), "{origin}");
    }
    let run = sockets(&|name| (name == "XDG_RUNTIME_DIR").then(|| "/run/me".to_owned()), 1000);
    assert_eq!(run, [Path::new(SOCKET), Path::new("/run/me/docker.sock")]);
}

#[test]
fn a_remote_engine_has_the_docker_clis_certificates() {
    let remote = "tcp://10.0.0.5:2376";
    let dind = Dind { bind: [10, 0, 0, 5].into(), ..Dind::default() };
    let certs = |dind: &Dind, said: &Said| dind.reachable_engine(said).unwrap().certs;
    assert_eq!(certs(&dind, &host(remote)), None);
    let verified = |said: Said| Said { certs: Some("/c".into()), ..said };
    assert_eq!(certs(&dind, &verified(host(remote))), Some("/c".into()));
    assert_eq!(certs(&dind, &verified(host(&unix(SOCKET)))), None);
    let with_certs = |host: &str| Context { certs: Some("/tls".into()), ..context(host) };
    assert_eq!(certs(&dind, &verified(in_context(with_certs(remote)))), Some("/tls".into()));
    assert_eq!(certs(&dind, &in_context(with_certs("unix:///s"))), None);
    // The file can name a context's engine, and not its certificates.
    let named = Dind { engine: Some(remote.to_owned()), ..dind };
    assert_eq!(certs(&named, &in_context(with_certs(remote))), Some("/tls".into()));
    assert_eq!(certs(&named, &in_context(with_certs("tcp://10.0.0.6:2376"))), None);
    assert_eq!(certs(&named, &nothing()), None);
}

#[test]
fn our_own_daemon_is_never_its_own_engine() {
    let own = "tcp://127.0.0.1:12376";
    let dind = Dind::default();
    for said in [host(own), host("tcp://localhost:12376/"), in_context(context(own))] {
        assert_eq!(address(&dind, &said), unix(SOCKET), "{said:?}");
    }
    let said = Said { host: Some(own.to_owned()), ..in_context(context("unix:///c.sock")) };
    assert_eq!(address(&dind, &said), "unix:///c.sock", "what it would be without DOCKER_HOST");
    let elsewhere = Dind { port: 12377, ..Dind::default() };
    let reached = |certs: &str| Said { certs: Some(certs.into()), ..host("tcp://127.0.0.9:2376") };
    assert_eq!(address(&dind, &reached("/b/certs")), unix(SOCKET), "its certificates are our own daemon's");
    assert_eq!(address(&dind, &reached("/c")), "tcp://127.0.0.9:2376");
    assert_eq!(address(&elsewhere, &host(own)), own);
}

#[test]
fn a_remote_engines_daemon_has_to_be_where_sessions_find_it() {
    let far = "tcp://10.0.0.5:2376";
    let remote = host(far);
    let other_machine = "the engine `tcp://10.0.0.5:2376` is on another machine; a daemon that listens only on \
                         127.0.0.1 there cannot be reached from here; add `bind = \"0.0.0.0\"`";
    let dind = Dind::default();
    assert_eq!(
        refused(&dind, &remote).unwrap(),
        format!("{other_machine} and `engine = \"{far}\"` to [dind]")
    );
    let named = Dind { engine: Some(far.to_owned()), ..Dind::default() };
    assert_eq!(refused(&named, &nothing()).unwrap(), format!("{other_machine} to [dind]"));
    let open = |dind: Dind| Dind { bind: [0, 0, 0, 0].into(), ..dind };
    assert_eq!(refused(&open(named.clone()), &nothing()), None);
    assert_eq!(
        refused(&open(dind.clone()), &remote).unwrap(),
        "sessions may not find the engine `tcp://10.0.0.5:2376`: their clients may not set DOCKER_HOST; \
         add `engine = \"tcp://10.0.0.5:2376\"` to [dind]"
    );
    let said = refused(&open(dind.clone()), &in_context(context(far))).unwrap();
    assert!(said.contains("the current docker context may change"), "{said}");
    let bound = Dind { bind: [10, 0, 0, 5].into(), ..Dind::default() };
    assert_eq!(refused(&bound, &remote), None);
    for local in ["tcp://127.0.0.2:2376", "tcp://localhost:2376", "tcp://[::1]:2376", "unix:///s"] {
        assert_eq!(refused(&dind, &host(local)), None, "{local}");
    }
    let elsewhere = Dind { host: Some("unix:///s".to_owned()), ..dind };
    assert_eq!(refused(&elsewhere, &remote), None, "`berth up` makes no daemon then");
}

#[test]
fn an_address_of_another_kind_is_an_error() {
    let dind = Dind::default();
    assert_eq!(
        refused(&dind, &host("ssh://me@box")).unwrap(),
        "DOCKER_HOST must be an address such as \"tcp://10.0.0.5:2376\" or \"unix:///var/run/docker.sock\", \
         not `ssh://me@box`; correct it, or set `engine` in [dind]"
    );
    assert_eq!(
        refused(&dind, &in_context(context("ssh://me@box"))).unwrap(),
        "the docker context `far` is at `ssh://me@box`; berth needs an address such as \"tcp://10.0.0.5:2376\" or \
         \"unix:///var/run/docker.sock\"; set `engine` in [dind], or type `docker context use default`"
    );
    let chosen = Context { by_variable: true, ..context("ssh://me@box") };
    assert!(refused(&dind, &in_context(chosen)).unwrap().ends_with("or unset DOCKER_CONTEXT"));
}

#[test]
fn a_context_that_cannot_be_used_is_told_with_who_names_it() {
    let dind = Dind::default();
    let missing = |by_variable| Said {
        context: Err(ContextError::Missing { name: "gone".to_owned(), by_variable }),
        ..nothing()
    };
    assert_eq!(
        refused(&dind, &missing(true)).unwrap(),
        "there is no docker context `gone`, which DOCKER_CONTEXT names; unset DOCKER_CONTEXT"
    );
    assert_eq!(
        refused(&dind, &missing(false)).unwrap(),
        "there is no docker context `gone`, which the docker CLI's file names; type `docker context use default`"
    );
    let outdone = Said { host: Some("unix:///s".to_owned()), ..missing(false) };
    assert_eq!(address(&dind, &outdone), "unix:///s", "DOCKER_HOST goes before it");
    let unverified = |host: &str| in_context(Context { skips_verification: true, ..context(host) });
    let said = refused(&dind, &unverified("tcp://127.0.0.1:2376")).unwrap();
    assert!(said.contains("`SkipTLSVerify`") && said.contains("`docker context update`"), "{said}");
    assert_eq!(address(&dind, &unverified("unix:///s")), "unix:///s", "a socket has no certificate");
}

#[test]
fn who_chose_an_engine_is_told_and_how_another_is_had() {
    let told = |said: &Said| {
        let found = Dind::default().reachable_engine(said).unwrap();
        (found.origin.to_string(), found.start())
    };
    let (origin, start) = told(&nothing());
    assert_eq!(origin, "the default socket");
    assert_eq!(
        start,
        "start it (`sudo systemctl start docker`), or name another engine with DOCKER_HOST or `docker context use`"
    );
    let (origin, start) = told(&host(&unix(RUN)));
    assert_eq!(origin, "from DOCKER_HOST");
    assert_eq!(start, "start it (`systemctl --user start docker`), or correct DOCKER_HOST");
    let (origin, start) = told(&in_context(context("unix:///h/.colima/default/docker.sock")));
    assert_eq!(origin, "the current docker context `far`");
    assert_eq!(start, "start it (`colima start`), or type `docker context use default`");
    let chosen = Context { by_variable: true, ..context("unix:///x.sock") };
    let (origin, start) = told(&in_context(chosen));
    assert_eq!(origin, "the docker context `far`, from DOCKER_CONTEXT");
    assert_eq!(start, "start it, or unset DOCKER_CONTEXT");
}

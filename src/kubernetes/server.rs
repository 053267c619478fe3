//! What runs in a pod: the server's command line and environment, as its helper gets them. What a pod cannot give is
//! refused here, before anything is made. What its image runs by itself is known by then (`image.rs`).

use std::net::SocketAddr;

use mcp_berth::config::Server;
use mcp_berth::dock::records::{self, Record, Start};
use mcp_berth::dock::spec::Spec;
use mcp_berth::failure::{Code, Failure};
use mcp_berth::runner::Runner;

use super::allowed;
use super::loopback;
use super::pod::numbers;

/// Where a baked image has its programs.
const NPM_PROGRAMS: &str = "/opt/berth/node_modules/.bin";
const PYTHON_PROGRAMS: &str = "/opt/berth/bin";

/// The first record of a link. `forwarder`: of a list of names, where it is known.
pub(crate) fn start(spec: &Spec, forwarder: Option<SocketAddr>) -> Result<Vec<u8>, Failure> {
    let settings = &spec.server.settings;
    let words = |words: Vec<String>| words.into_iter().map(String::into_bytes).collect();
    let start = Start {
        reconnect: settings.reconnect,
        grace: settings.stop_grace,
        folder: settings.workdir.clone().unwrap_or_default().into_bytes(),
        options: words([spec.keeper_options(), allowed::options(settings, forwarder)].concat()),
        argv: words(command(&spec.server)?),
        env: words(spec.env.clone()),
    };
    let mut record = Vec::new();
    records::encode(&mut record, &Record::Start(start)).map_err(|_| Failure {
        code: Code::Configuration,
        text: format!(
            "the arguments and variables of `{}` are longer than a pod's keeper takes",
            spec.server.name
        ),
        next: Some(format!("shorten `args` and `env`: together at most {} bytes", records::LONGEST_START)),
    })?;
    Ok(record)
}

/// What the server is told to run.
pub(super) fn command(server: &Server) -> Result<Vec<String>, Failure> {
    let args = server.args.as_deref().unwrap_or_default();
    if let Some(command) = &server.command {
        return Ok([command.as_slice(), args].concat());
    }
    if let Some(program) = baked_program(server) {
        return Ok([&[program], args].concat());
    }
    Err(Failure {
        code: Code::Configuration,
        text: format!("nobody has told what the image `{}` of `{}` runs", server.image, server.name),
        next: Some(format!("set `command` in [servers.{}]", server.name)),
    })
}

/// The program of a package, where it was named.
pub(super) fn baked_program(server: &Server) -> Option<String> {
    let package = &server.recipe.as_ref()?.package;
    let folder = match package.runner {
        Runner::Npx => NPM_PROGRAMS,
        Runner::Uvx => PYTHON_PROGRAMS,
        // It lies where its project wants it.
        Runner::Uv => return None,
    };
    Some(format!("{folder}/{}", package.program.as_deref()?))
}

/// What only a daemon of this machine can give.
pub(crate) fn fits(server: &Server) -> Result<(), Failure> {
    let Some((key, why)) = server.lacking_in_pod() else {
        server.settings.user.as_deref().map_or(Ok(()), |user| numbered(server, user))?;
        return loopback::misnamed(&server.settings).map_or(Ok(()), |service| misnamed(server, service));
    };
    Err(Failure {
        code: Code::Configuration,
        text: format!("the server `{}` cannot have `{key}` in a pod: {why}", server.name),
        next: Some(format!("remove `{key}` from [servers.{}], or set `backend = \"docker\"`", server.name)),
    })
}

/// A name is the image's to resolve; without it the server would be the image's own user, perhaps root.
fn numbered(server: &Server, user: &str) -> Result<(), Failure> {
    if numbers(user).is_some() {
        return Ok(());
    }
    let name = &server.name;
    Err(Failure {
        code: Code::Configuration,
        text: format!(
            "the server `{name}` cannot have `user = \"{user}\"` in a pod: a cluster knows no names of users"
        ),
        next: Some(format!(
            "set `user` in [servers.{name}] to numbers; `docker run --rm --entrypoint id {} {user}` shows them",
            server.image
        )),
    })
}

fn misnamed(server: &Server, service: &str) -> Result<(), Failure> {
    let name = &server.name;
    Err(Failure {
        code: Code::Configuration,
        text: format!(
            "the server `{name}` cannot have the name `{service}` in `host_services` in a pod: a cluster takes letters, digits \
             and hyphens, and none at the end"
        ),
        next: Some(format!("write another in [servers.{name}], or the port alone")),
    })
}

#[cfg(test)]
mod tests {
    use mcp_berth::config::{Policy, Settings};

    use super::*;
    use crate::fake;

    fn spec(command: Option<&[&str]>) -> Spec {
        let mut server = Server::from_image("i:1".parse().unwrap(), Vec::new(), &fake::settings());
        server.command = command.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
        server.args = Some(vec!["-a".to_owned()]);
        Spec { env: vec!["A=1".to_owned()], ..Spec::new(server, "c", "s") }
    }

    #[test]
    fn the_first_record_says_what_runs_and_with_what() {
        let record = start(&spec(Some(&["/p", "b"])), None).unwrap();
        let Ok(Some((length, Record::Start(start)))) = records::decode(&record) else { panic!() };
        assert_eq!(length, record.len());
        assert_eq!(
            (start.argv, start.env),
            (vec![b"/p".to_vec(), b"b".to_vec(), b"-a".to_vec()], vec![b"A=1".to_vec()])
        );
    }

    #[test]
    fn what_a_cluster_does_not_tell_has_to_be_said() {
        assert!(start(&spec(None), None).unwrap_err().text.contains("the image `i:1`"));
        let long =
            Spec { env: vec!["A=".to_owned() + &"x".repeat(records::LONGEST_START)], ..spec(Some(&["p"])) };
        assert!(start(&long, None).unwrap_err().text.contains("longer than a pod's keeper takes"));
    }

    #[test]
    fn what_no_pod_has_is_refused_by_its_key() {
        let refused = |change: fn(&mut Settings)| {
            let mut spec = spec(Some(&["p"]));
            change(&mut spec.server.settings);
            fits(&spec.server)
        };
        assert!(refused(|_| ()).is_ok());
        let key = |change, key: &str| {
            let failure = refused(change).unwrap_err();
            assert!(failure.text.contains(&format!("cannot have `{key}")), "{failure}");
            assert!(failure.next.is_some_and(|next| next.contains("[servers.i]")));
            assert_eq!(failure.code, Code::Configuration);
        };
        key(|settings| settings.prestart = true, "prestart");
        key(|settings| settings.verify = Some(Policy::CosignKey("/k".into())), "verify");
        let service: fn(&mut Settings) = |settings| settings.host_services = vec!["a_b:1".parse().unwrap()];
        assert!(refused(service).unwrap_err().text.contains("the name `a_b` in `host_services`"));
        for user in ["node", "1000:staff", "node:1000", "", "1000:"] {
            let mut spec = spec(Some(&["p"]));
            spec.server.settings.user = Some(user.to_owned());
            let failure = fits(&spec.server).unwrap_err();
            assert!(failure.text.contains(&format!("`user = \"{user}\"`")), "{failure}");
        }
        assert!(refused(|settings| settings.user = Some("1000:1000".to_owned())).is_ok());
    }
}

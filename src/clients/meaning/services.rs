//! Services of this machine that an entry takes for granted, and ports that a browser comes back to: what they are stands in
//! addresses among its arguments and its variables.
//!
//! Only ports come out here, never a value. What is found is written and said: a server gets no port unseen.

mod address;
mod bridge;
mod known;
mod lan;
mod said;

pub use bridge::refusal as of_a_bridge;

use std::collections::{BTreeMap, BTreeSet};

use super::stated::Stated;
use super::words::pieces;
use crate::clients::Machine;
use crate::runner::{Parsed, Program, Runner};
use address::{Mention, mentions};
use known::{app, default_of_product, is_own_listener, is_web, redirects};
use said::{Said, said};

/// The name that every server with services of this machine knows it by.
const USUAL: &str = "host.docker.internal";

/// Where a log-in is kept, in a server that has no home of its own.
const LOGIN_HOME: &str = "/login";

/// What has been seen.
#[derive(Debug, Default)]
struct Seen {
    /// `PORT` or `NAME:PORT`, and where it was seen.
    services: Vec<(String, String)>,
    published: Vec<(u16, String)>,
    /// What names this machine, without a port that could be known.
    portless: BTreeSet<String>,
    /// What may be a port of this machine.
    doubtful: BTreeSet<String>,
    /// What names a machine of the local network, and whether by a name that no container finds.
    local: BTreeMap<String, bool>,
    /// Some address stands there, of whatever machine.
    has_address: bool,
}

/// Adds the lines for services and log-ins. `Err` says why the entry can't be taken over, and what to do.
pub(super) fn services(parsed: &mut Parsed, stated: &Stated, machine: &Machine<'_>) -> Result<(), String> {
    let said = said(stated, machine.lookup);
    let mut seen = look(&said, parsed);
    let words = package_words(&parsed.program);
    // Who names a folder may have no need of the program; and a project's file may name any package.
    let is_certain = !machine.asked.foreign && stated.args.iter().all(|word| pieces(word, None).is_empty());
    match app(&words).filter(|_| !seen.has_address) {
        Some((app, port)) if is_certain => {
            seen.service(port.to_string(), format!("{app} waits there for its server"));
        }
        Some((app, port)) => parsed.notes.push(format!(
            "where it speaks with {app} on this machine, write `host_services = [\"{port}\"]` into its [servers.NAME]"
        )),
        None => {}
    }
    let access = std::mem::take(&mut parsed.host_access);
    let is_without = seen.services.is_empty() && seen.published.is_empty();
    if access.network && is_without {
        return Err("berth does not take over `--network host` of `docker run`, and no address of this machine stands in \
                    the line or its variables; leave the flag out, and write the ports that the server needs into its \
                    [servers.NAME]: `host_services = [\"PORT\"]`"
            .to_owned());
    }
    write(parsed, &seen);
    if access.network {
        parsed.notes.push(
            "`--network host` is narrowed to these ports; `network = \"lan\"` opens the local network"
                .to_owned(),
        );
    }
    if !access.names.is_empty() && is_without {
        parsed.notes.push(format!(
            "`--add-host {}` is left out: no port of this machine was seen; write `host_services = [\"PORT\"]` where the \
             server needs one",
            access.names.join("`, `--add-host ")
        ));
    }
    if let Some((product, port)) = default_of_product(&words).filter(|_| !seen.has_address && is_without) {
        parsed.notes.push(format!(
            "no address stands in the entry: where its {product} runs on this machine, write `host_services = [\"{port}\"]`"
        ));
    }
    Ok(())
}

impl Seen {
    fn service(&mut self, service: String, place: String) {
        if self.services.iter().all(|(known, _)| *known != service) {
            self.services.push((service, place));
        }
    }

    fn publish(&mut self, port: u16, place: String) {
        if self.published.iter().all(|(known, _)| *known != port) {
            self.published.push((port, place));
        }
    }
}

/// Looks at all that an entry says.
fn look(said: &[Said], parsed: &Parsed) -> Seen {
    let mut seen = Seen::default();
    let words = package_words(&parsed.program);
    for one in said {
        if one.is_ignored() {
            continue;
        }
        let found = mentions(&one.value, &parsed.host_access.names);
        seen.has_address |= !found.is_empty() || one.value.contains("://") || one.names_a_host();
        for mention in found {
            take(&mut seen, said, one, &mention, &words);
        }
        if let Some(unfound) = lan::names(&one.value, one.names_a_host(), &parsed.host_access.names) {
            *seen.local.entry(one.place()).or_default() |= unfound;
        }
        if let Some(port) = one.callback_port() {
            seen.publish(port, one.place());
        } else if let Some(port) = one.lone_port(said) {
            seen.doubtful.insert(format!("`{}` ({port})", one.shown));
        }
    }
    // What is published has a listener of the server's own.
    let published: BTreeSet<String> = seen.published.iter().map(|(port, _)| port.to_string()).collect();
    seen.services.retain(|(service, _)| !published.contains(service.rsplit(':').next().unwrap_or_default()));
    seen
}

/// What an address of this machine means where it stands.
fn take(seen: &mut Seen, said: &[Said], one: &Said, mention: &Mention<'_>, words: &[String]) {
    if redirects(&one.name, mention.path) {
        match mention.port.or(mention.default_port()) {
            Some(port) => seen.publish(port, one.place()),
            None => drop(seen.portless.insert(one.place())),
        }
        return;
    }
    let is_plain = mention.scheme.is_none();
    if is_plain && (mention.host == "0.0.0.0" || one.listens()) {
        return;
    }
    let product = default_of_product(&one.words()).or(default_of_product(words));
    let is_own = is_plain && is_own_listener(one.stem().as_deref().unwrap_or(&one.name));
    if is_own && product.is_none() {
        return;
    }
    let beside = || one.stem().and_then(|stem| said.iter().find_map(|other| other.port_of(&stem)));
    let beside = mention.port.or(mention.default_port()).or_else(beside);
    // A server that listens by itself has the ports of the web.
    let port = beside.filter(|port| !(is_own && is_web(*port))).or(product.map(|(_, port)| port));
    match port {
        Some(port) if mention.is_usual() => seen.service(port.to_string(), one.place()),
        Some(port) => seen.service(format!("{}:{port}", mention.host), one.place()),
        None => drop(seen.portless.insert(one.place())),
    }
}

/// Writes the lines, and says them.
fn write(parsed: &mut Parsed, seen: &Seen) {
    for (service, place) in &seen.services {
        parsed.add_to("host_services", service);
        let port = service.rsplit(':').next().unwrap_or_default();
        parsed.notes.push(format!(
            "it reaches port {port} of this machine, by `host_services`: {place}; its container has no other way to it"
        ));
    }
    for (port, place) in &seen.published {
        let is_there = parsed.settings.iter().any(|(key, list)| {
            let ports =
                list.as_array().into_iter().flat_map(|list| list.iter().filter_map(|port| port.as_str()));
            *key == "publish"
                && ports.map(|port| port.split(':').next()).any(|host| host == Some(&port.to_string()))
        });
        if !is_there {
            parsed.add_to("publish", &port.to_string());
        }
        parsed.notes.push(format!(
            "the browser comes back to port {port} of this machine, by `publish`: {place}; one session at a time has it"
        ));
    }
    if !seen.published.is_empty() {
        keep_login(parsed);
    }
    for place in &seen.portless {
        parsed.notes.push(format!(
            "{place} names this machine, and no port is known: write `host_services = [\"PORT\"]` for it"
        ));
    }
    let network =
        parsed.settings.iter().find(|(key, _)| *key == "network").and_then(|(_, value)| value.as_str());
    for (place, unfound) in seen.local.iter().filter(|_| network != Some("none")) {
        let address = if *unfound {
            ", and write its address instead of the name: no container finds a name that ends in `.local`"
        } else {
            ""
        };
        parsed.notes.push(format!(
            "{place} names a machine of the local network, which is closed to servers; write `network = \"lan\"` into its \
             [servers.NAME]{address}"
        ));
    }
    if seen.services.is_empty() {
        for place in &seen.doubtful {
            parsed.notes.push(format!(
                "{place} may be a port of this machine: write it into `host_services` where the server connects to it"
            ));
        }
    }
}

/// The next session need not log in again.
fn keep_login(parsed: &mut Parsed) {
    let has_home = parsed.has_env("HOME");
    if matches!(parsed.program, Program::Package(_)) && !has_home && parsed.volumes.is_empty() {
        let volume = format!("{}-login", parsed.name);
        parsed.volumes.push(format!("{volume}:{LOGIN_HOME}"));
        parsed.set_env("HOME", LOGIN_HOME.to_owned());
        parsed.notes.push(format!(
            "its log-in is kept in the volume `{volume}`, at its HOME; one session of a client at a time has it"
        ));
    } else if parsed.volumes.is_empty() {
        parsed.notes.push(
            "a log-in ends with its session, unless the folder that keeps it is a volume: `volumes = [\"NAME:FOLDER\"]`"
                .to_owned(),
        );
    }
}

/// What a server's package, image or file is called, in words.
fn package_words(program: &Program) -> Vec<String> {
    let names: Vec<&String> = match program {
        // The first of `uv`'s is a folder.
        Program::Package(package) => {
            package.packages.iter().skip(usize::from(package.runner == Runner::Uv)).collect()
        }
        Program::Image { image, .. } => vec![image],
        Program::Script { .. } => Vec::new(),
    };
    names.into_iter().flat_map(|name| known::words(name)).collect()
}

#[cfg(test)]
mod tests;

//! What berth knows of a daemon's objects, read from the daemon's answers. A field that bollard's models leave open is
//! empty or zero here. One of the few files that name bollard.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models;
use serde_json::Value;

use crate::docker_cli::Credential;

/// An image, as far as berth must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub id: String,
    /// As registries have it, where it came from one.
    pub repo_digests: Vec<String>,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub user: String,
    /// Digests of the layers' contents: the same in each daemon that has the image.
    pub layers: Vec<String>,
    pub created: String,
    pub bytes: u64,
    pub labels: HashMap<String, String>,
}

impl Image {
    /// All digests that it is known by: those of registries, then its own.
    pub fn digests(&self) -> Vec<String> {
        digests(&self.id, self.repo_digests.iter().map(String::as_str))
    }

    /// Whether its id is its manifest's digest, as a containerd image store has it. By its configuration's digest, which is the
    /// id elsewhere, nobody knows it there.
    pub fn is_of_containerd(&self) -> bool {
        self.repo_digests
            .iter()
            .any(|name| name.rsplit_once('@').is_some_and(|(_, digest)| digest == self.id))
    }

    /// Whether both are one image, though two image stores may give it two ids.
    pub fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
            || (self.layers == other.layers
                && self.created == other.created
                && self.entrypoint == other.entrypoint
                && self.cmd == other.cmd)
    }
}

/// Of `NAME@DIGEST` and of an image's id; one image has several where stores differ.
pub(in crate::dock) fn digests<'a>(id: &str, repo_digests: impl Iterator<Item = &'a str>) -> Vec<String> {
    let of_registries = repo_digests.filter_map(|name| Some(name.rsplit_once('@')?.1));
    let mut digests: Vec<String> = Vec::new();
    for digest in of_registries.chain([id]) {
        if !digests.iter().any(|known| known == digest) {
            digests.push(digest.to_owned());
        }
    }
    digests
}

/// A row of the daemon's list of containers.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: String,
    pub name: String,
    pub labels: HashMap<String, String>,
    /// The id of its image, whatever its image's name means by now.
    pub image: String,
    /// What its first process was started with.
    pub command: String,
    pub running: bool,
    /// It was never started, or has ended: not running, and not paused or on its way either.
    pub stopped: bool,
    /// Seconds since the epoch, by the daemon's clock.
    pub created: i64,
}

impl Listed {
    /// From a row of `GET /containers/json`. What it doesn't say, or says in a new way, is empty: daemons differ.
    pub(in crate::dock) fn read(row: &Value) -> Self {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let labels = row["Labels"].as_object().into_iter().flatten();
        let labels = labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        let state = text("State");
        Self {
            id: text("Id"),
            name: row["Names"][0].as_str().unwrap_or_default().trim_start_matches('/').to_owned(),
            labels: labels.collect(),
            image: text("ImageID"),
            command: text("Command"),
            running: state == "running",
            stopped: ["created", "exited", "dead"].contains(&state.as_str()),
            created: row["Created"].as_i64().unwrap_or_default(),
        }
    }
}

/// One container, inspected.
#[derive(Debug, Clone)]
pub struct Container {
    pub id: String,
    pub image: String,
    pub labels: HashMap<String, String>,
    pub running: bool,
    /// Its first process, as the daemon numbers processes.
    pub pid: i64,
    pub status: String,
    /// `healthy`, `unhealthy`, `starting`, or empty where the container has no health check.
    pub health: String,
    /// What the last health check printed.
    pub health_log: String,
    pub exit_code: i64,
    /// How often the engine has started it again since somebody did.
    pub restarts: i64,
    pub oom_killed: bool,
    pub created_at: String,
    pub started_at: String,
    /// The end of its life before, where it runs.
    pub finished_at: String,
    pub address: Option<String>,
}

/// A process of a container, as the engine's machine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: i64,
    /// A name or a number, cut off where it is long.
    pub user: String,
    pub command_line: String,
}

/// What a container uses at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    pub memory_bytes: u64,
    pub cpu_percent: f64,
    /// Of all processors together, since the container's start.
    pub cpu_total: Duration,
    /// Processes and their threads.
    pub pids: u64,
}

/// The daemon itself.
#[derive(Debug, Clone)]
pub struct Version {
    pub engine: String,
    pub api: String,
    /// The release of the kernel under it.
    pub kernel: String,
    /// Whether it is Podman behind an API like Docker's.
    pub is_podman: bool,
}

pub(super) fn image(image: models::ImageInspect) -> Image {
    let config = image.config.unwrap_or_default();
    Image {
        id: image.id.unwrap_or_default(),
        repo_digests: image.repo_digests.unwrap_or_default(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
        user: config.user.unwrap_or_default(),
        layers: image.root_fs.and_then(|fs| fs.layers).unwrap_or_default(),
        created: image.created.unwrap_or_default(),
        bytes: image.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        labels: config.labels.unwrap_or_default(),
    }
}

pub(super) fn listed(row: models::ContainerSummary) -> Listed {
    use models::ContainerSummaryStateEnum as State;

    let name = row.names.unwrap_or_default().into_iter().next().unwrap_or_default();
    Listed {
        id: row.id.unwrap_or_default(),
        name: name.trim_start_matches('/').to_owned(),
        labels: row.labels.unwrap_or_default(),
        image: row.image_id.unwrap_or_default(),
        command: row.command.unwrap_or_default(),
        running: row.state == Some(State::RUNNING),
        stopped: matches!(row.state, Some(State::CREATED | State::EXITED | State::DEAD)),
        created: row.created.unwrap_or_default(),
    }
}

/// Whether a container may write to a volume.
pub(super) fn writes(row: &models::ContainerSummary, volume: &str) -> bool {
    let mut mounts = row.mounts.iter().flatten();
    mounts.any(|mount| mount.name.as_deref() == Some(volume) && mount.rw == Some(true))
}

pub(super) fn container(container: models::ContainerInspectResponse) -> Container {
    let state = container.state.unwrap_or_default();
    let health = state.health.unwrap_or_default();
    let config = container.config.unwrap_or_default();
    let networks = container.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    Container {
        id: container.id.unwrap_or_default(),
        image: container.image.unwrap_or_default(),
        labels: config.labels.unwrap_or_default(),
        running: state.running.unwrap_or_default(),
        pid: state.pid.unwrap_or_default(),
        status: state.status.map(|status| status.to_string()).unwrap_or_default(),
        health: health.status.map(|status| status.to_string()).unwrap_or_default(),
        health_log: health.log.and_then(|log| log.last()?.output.clone()).unwrap_or_default(),
        exit_code: state.exit_code.unwrap_or_default(),
        restarts: container.restart_count.unwrap_or_default(),
        oom_killed: state.oom_killed.unwrap_or_default(),
        created_at: container.created.unwrap_or_default(),
        started_at: state.started_at.unwrap_or_default(),
        finished_at: state.finished_at.unwrap_or_default(),
        address: networks.into_values().find_map(|n| n.ip_address.filter(|ip| !ip.is_empty())),
    }
}

/// In percent of one processor. Of two samples it is the time that was used between them, as `docker stats` computes it; of
/// one it is that since the container was `created`.
#[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
pub(super) fn usage(sample: models::ContainerStatsResponse, created: i64) -> Usage {
    let memory = sample.memory_stats.unwrap_or_default();
    let cache = memory
        .stats
        .as_ref()
        .and_then(|stats| stats.get("total_inactive_file").or_else(|| stats.get("inactive_file")).copied());
    let total = |stats: &models::ContainerCpuStats| {
        let used = stats.cpu_usage.as_ref().and_then(|usage| usage.total_usage).unwrap_or_default();
        (used, stats.system_cpu_usage.unwrap_or_default(), stats.online_cpus.unwrap_or(1))
    };
    let (used, system, processors) = sample.cpu_stats.as_ref().map(total).unwrap_or_default();
    let (used_before, system_before, _) = sample.precpu_stats.as_ref().map(total).unwrap_or_default();
    let elapsed = system.saturating_sub(system_before) as f64;
    let cpu_percent = if system_before == 0 {
        let now = sample.read.and_then(|read| read.parse::<jiff::Timestamp>().ok());
        let alive = now.map_or(0.0, |now| now.as_duration().as_secs_f64() - created as f64);
        // The daemon gives whole seconds: of a younger container nothing can be said.
        if alive < 1.0 { 0.0 } else { used as f64 / 1e9 / alive * 100.0 }
    } else if elapsed > 0.0 {
        used.saturating_sub(used_before) as f64 / elapsed * f64::from(processors) * 100.0
    } else {
        0.0
    };
    Usage {
        memory_bytes: memory.usage.unwrap_or_default().saturating_sub(cache.unwrap_or_default()),
        cpu_percent,
        cpu_total: Duration::from_nanos(used),
        pids: sample.pids_stats.and_then(|pids| pids.current).unwrap_or_default(),
    }
}

/// A row of `ps`: the process's id, its user, its command line.
pub(super) fn process(row: Vec<String>) -> Option<Process> {
    let [pid, user, args] = <[String; 3]>::try_from(row).ok()?;
    Some(Process { pid: pid.parse().ok()?, user, command_line: bare(&args).to_owned() })
}

pub(super) fn version(version: models::SystemVersion) -> Version {
    let mut components = version.components.iter().flatten();
    Version {
        is_podman: components.any(|component| component.name == "Podman Engine"),
        engine: version.version.unwrap_or_default(),
        api: version.api_version.unwrap_or_default(),
        kernel: version.kernel_version.unwrap_or_default(),
    }
}

/// Whether the daemon has made up a volume's name: 64 hex digits, and from Engine 23 on a label that says so.
pub(super) fn is_nameless(name: &str, labels: &HashMap<String, String>) -> bool {
    const ANONYMOUS: &str = "com.docker.volume.anonymous";
    name.len() == 64
        && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        && labels.keys().all(|key| key == ANONYMOUS)
}

/// For the header of a pull.
pub(super) fn credential(credential: &Credential) -> bollard::auth::DockerCredentials {
    let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    bollard::auth::DockerCredentials {
        username: said(&credential.username),
        password: said(&credential.password),
        serveraddress: said(&credential.server),
        identitytoken: said(&credential.identity_token),
        registrytoken: said(&credential.registry_token),
        ..Default::default()
    }
}

/// A command line without the process's name, which busybox's `ps` puts before it in braces where the two differ.
pub(super) fn bare(args: &str) -> &str {
    args.strip_prefix('{').and_then(|rest| rest.split_once("} ")).map_or(args, |(_, args)| args)
}

/// Without a tag or a digest the daemon would pull every tag that there is.
pub(super) fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busyboxs_name_of_a_process_is_no_part_of_its_command_line() {
        let line = "/.berth/keeper hold for 73465db4e39d client-session=4711";
        assert_eq!(bare(&format!("{{73465db4e39d}} {line}")), line);
        for as_it_is in [line, "{}", "{a}", "sh -c {a} b", ""] {
            assert_eq!(bare(as_it_is), as_it_is);
        }
    }

    #[test]
    fn the_processor_is_told_of_the_time_between_two_samples_or_since_the_start() {
        let sample = |before: u64| {
            let sample = serde_json::json!({
                "read": "1970-01-01T00:01:50Z",
                "cpu_stats": { "cpu_usage": { "total_usage": 3_000_000_000_u64 }, "system_cpu_usage": 900_u64 * 1_000_000_000,
                               "online_cpus": 2 },
                "precpu_stats": { "cpu_usage": { "total_usage": before }, "system_cpu_usage": 898 * before },
                "memory_stats": { "usage": 4096 },
                "pids_stats": { "current": 3 },
            });
            serde_json::from_value::<models::ContainerStatsResponse>(sample).unwrap()
        };
        let usage = |before, created| usage(sample(before), created);
        let expected =
            Usage { memory_bytes: 4096, cpu_percent: 30.0, cpu_total: Duration::from_secs(3), pids: 3 };
        assert_eq!(usage(0, 100), expected, "3 s of 10 s");
        assert!(usage(0, 110).cpu_percent.abs() < f64::EPSILON, "it is younger than can be told");
        assert!(usage(0, 200).cpu_percent.abs() < f64::EPSILON, "clocks may disagree");
        // 2 s of the 2 s that each of two processors had, all of them together 2 s.
        assert_eq!(usage(1_000_000_000, 0), Usage { cpu_percent: 200.0, ..expected });
    }

    #[test]
    fn rows_of_ps_are_processes() {
        let row = |cells: &[&str]| process(cells.iter().map(|cell| (*cell).to_owned()).collect());
        let expected = Process { pid: 7, user: "2118909+".into(), command_line: "/x a".into() };
        assert_eq!(row(&["7", "2118909+", "{x} /x a"]), Some(expected));
        assert_eq!((row(&["PID", "USER", "COMMAND"]), row(&["7", "root"])), (None, None));
    }

    #[test]
    fn a_volume_that_somebody_has_named_is_not_nameless() {
        let name = "68c85c6b89d92292de985061c2a8091bd16ef8c98cf43ac96d62b34d8304feff";
        let labels = |key: &str| HashMap::from([(key.to_owned(), String::new())]);
        assert!(is_nameless(name, &HashMap::new()), "an older engine's");
        assert!(is_nameless(name, &labels("com.docker.volume.anonymous")));
        assert!(!is_nameless(name, &labels("mine")));
        for named in ["memory", "berth-keeper-342ba5d1bd58", &name[1..], &name.to_uppercase()] {
            assert!(!is_nameless(named, &HashMap::new()), "{named}");
        }
    }

    #[test]
    fn one_tag_is_pulled_and_not_all() {
        for (image, expected) in [
            ("berth-time", "berth-time:latest"),
            ("box:5000/time", "box:5000/time:latest"),
            ("box:5000/time:2", "box:5000/time:2"),
            ("time@sha256:ab", "time@sha256:ab"),
        ] {
            assert_eq!(tagged(image), expected);
        }
    }
}

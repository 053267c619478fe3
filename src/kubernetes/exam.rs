//! `berth validate` in a cluster: the library's examination, with eyes for pods.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use futures::{FutureExt, StreamExt, stream};
use http::{Request, Uri};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::ListParams;
use mcp_berth::cli::ValidateArgs;
use mcp_berth::commands;
use mcp_berth::config::{Config, Settings};
use mcp_berth::dock::roster::Entry;
use mcp_berth::exam::check::Seen;
use mcp_berth::exam::inside::{Inside, Running, Surroundings, Way};
use mcp_berth::validate::checks::Observations;
use mcp_berth::validate::checks::cluster::Cluster as Observed;
use mcp_berth::validate::checks::tls::Attempt;
use mcp_berth::validate::place::Place;
use mcp_berth::values::Network;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::io::{CopyToBytes, SinkWriter};

use super::cluster::Cluster;
use super::keeper::KEEPER;
use super::pod::{CONTAINER, LABEL_MANAGED_BY, MANAGER};
use super::pump::{Ended, What};
use super::sweep::{Among, LOOKED_AT_WITHIN, sweep};
use super::{ground, names, roster};

/// An API server that has not answered by then is not well.
const WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A network plug-in hears of a pod and writes its rules by then.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);

/// `berth validate`.
pub(crate) async fn validate(
    args: &ValidateArgs,
    config: &Config,
    config_file: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let plan = commands::validate::plan(args, config, config_file)?;
    let cluster = Cluster::connect(&config.kubernetes).await?;
    let settings = plan.server.settings.clone();
    let pods = Pods { cluster, config, settings, server: plan.server.name.clone() };
    Box::pin(commands::validate::examine(args, &plan, &pods)).await
}

/// A namespace whose sessions are examined.
struct Pods<'a> {
    cluster: Cluster,
    config: &'a Config,
    /// The examined server's, and its name.
    settings: Settings,
    server: String,
}

impl Pods<'_> {
    async fn look(&self) -> Observed {
        let began = Instant::now();
        let version = timeout(WITHIN, self.cluster.client.apiserver_version()).await;
        let version = match version {
            Ok(version) => version.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", WITHIN.as_secs())),
        };
        let took = began.elapsed();
        let (address, stranger) = match Cluster::stranger(&self.config.kubernetes).await {
            Ok((address, client)) => (address, knock(&client, &self.cluster.namespace).await),
            Err(failure) => (String::new(), Attempt::Unknown(failure.text)),
        };
        let problems = match &version {
            Ok(_) => Box::pin(ground::problems(self.config, self.cluster.clone())).await,
            Err(_) => Vec::new(),
        };
        Observed {
            address,
            namespace: self.cluster.namespace.clone(),
            version: version.map(|version| (version.git_version, took)),
            stranger,
            problems,
        }
    }

    async fn list(&self) -> Seen<Vec<Entry>> {
        let listed = timeout(WITHIN, roster::entries(&self.cluster)).await;
        let listed = listed.map_err(|_| "the API server does not answer".to_owned())?;
        let mut entries = listed.map_err(|failure| failure.text)?;
        for entry in &mut entries {
            if let Some(pod) = entry.id.strip_prefix(roster::MARK) {
                entry.id = pod.to_owned();
            }
            // A label may have had to be cut.
            if entry.server == names::label(&self.server) {
                entry.server.clone_from(&self.server);
            }
        }
        Ok(entries)
    }

    async fn left(&self, known: &[String]) -> Seen<Vec<String>> {
        let swept = sweep(&self.cluster, Among::All).await;
        swept.map_err(|error| error.to_string())?;
        let ours = ListParams::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGER}"));
        let listed = self.cluster.pods().list(&ours).await.map_err(|error| error.to_string())?;
        let names = listed.items.into_iter().filter_map(|pod| pod.metadata.name);
        Ok(names.filter(|name| known.contains(name)).collect())
    }
}

impl Place for Pods<'_> {
    fn look<'a>(&'a self, seen: &'a mut Observations) -> LocalBoxFuture<'a, ()> {
        async { seen.cluster = Some(self.look().await) }.boxed_local()
    }

    fn list(&self) -> LocalBoxFuture<'_, Seen<Vec<Entry>>> {
        self.list().boxed_local()
    }

    fn inside(&self, container: &str) -> Inside {
        Inside::new(InPod { cluster: self.cluster.clone(), pod: container.to_owned() })
    }

    /// The API server's: as pods know it, and as the kubeconfig does.
    fn doors<'a>(&'a self, _: &'a Inside) -> LocalBoxFuture<'a, Result<Vec<SocketAddr>, String>> {
        async {
            if self.settings.network == Network::Lan {
                return Err("`network = \"lan\"` lets a session reach it".to_owned());
            }
            let mut doors = ground::api_server(&self.cluster).await;
            if let Ok((address, _)) = Cluster::stranger(&self.config.kubernetes).await {
                doors.extend(addresses(&address).await);
            }
            doors.sort_unstable();
            doors.dedup();
            Ok(doors)
        }
        .boxed_local()
    }

    /// The API server was asked by a stranger before.
    fn knock<'a>(&'a self, _: &'a mut Observations) -> LocalBoxFuture<'a, ()> {
        async {}.boxed_local()
    }

    fn forbidden(&self) -> &'static [&'static str] {
        &[
            "/var/run/secrets/kubernetes.io/serviceaccount/token",
            "/run/secrets/kubernetes.io/serviceaccount/token",
            "/run/containerd/containerd.sock",
            "/var/run/docker.sock",
        ]
    }

    fn settles_within(&self) -> Duration {
        SETTLES_WITHIN
    }

    fn waits_for_the_killed(&self) -> Duration {
        self.settings.reconnect
    }

    /// Their pods, when another berth has looked for what is left.
    fn leftovers<'a>(
        &'a self,
        known: &'a [String],
        within: Duration,
    ) -> LocalBoxFuture<'a, Seen<Vec<String>>> {
        async move {
            let until = Instant::now() + LOOKED_AT_WITHIN + within;
            loop {
                let left = timeout(WITHIN, self.left(known)).await;
                let left = left.map_err(|_| "the API server does not answer".to_owned())??;
                if left.is_empty() || Instant::now() > until {
                    return Ok(left);
                }
                sleep(LOOK_EVERY).await;
            }
        }
        .boxed_local()
    }
}

/// Asks for the pods without credentials.
async fn knock(client: &Client, namespace: &str) -> Attempt {
    let uri = format!("/api/v1/namespaces/{namespace}/pods?limit=1");
    let request = match Request::get(uri).body(Vec::new()) {
        Ok(request) => request,
        Err(error) => return Attempt::Unknown(error.to_string()),
    };
    match timeout(WITHIN, client.request_text(request)).await {
        Ok(Ok(_)) => Attempt::Answered(200),
        Ok(Err(kube::Error::Api(status))) => Attempt::Answered(status.code),
        Ok(Err(error)) => Attempt::Unknown(error.to_string()),
        Err(_) => Attempt::Unknown(format!("no answer within {} s", WITHIN.as_secs())),
    }
}

/// Where a URL leads to.
async fn addresses(url: &str) -> Vec<SocketAddr> {
    let Ok(url) = url.parse::<Uri>() else { return Vec::new() };
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 });
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    tokio::net::lookup_host((host, port)).await.map(Iterator::collect).unwrap_or_default()
}

/// The way into a pod: an exec beside the server.
struct InPod {
    cluster: Cluster,
    pod: String,
}

impl Way for InPod {
    fn start<'a>(&'a self, probe: &'a [&'a str]) -> LocalBoxFuture<'a, Seen<Running>> {
        async move {
            let command: Vec<&str> = [KEEPER, "probe"].into_iter().chain(probe.iter().copied()).collect();
            let place = self.cluster.place(&self.pod);
            let opened = place.open(&self.cluster.client, What::Exec(&command)).await;
            let (to, from) = opened.map_err(|error| error.to_string())?;
            let (tell, code) = oneshot::channel();
            let output = stream::unfold((from, Some(tell)), |(mut from, mut tell)| async {
                let error = match from.next().await? {
                    Ok(bytes) => return Some((Ok(bytes), (from, tell))),
                    Err(error) => error,
                };
                let ended = error.get_ref().and_then(|error| error.downcast_ref::<Ended>());
                match ended.and_then(Ended::exit_code).zip(tell.take()) {
                    Some((code, tell)) => {
                        let _ = tell.send(code.into());
                        None
                    }
                    None => Some((Err(error.to_string()), (from, None))),
                }
            });
            let code = async { code.await.map_err(|_| "its stream was cut".to_owned()) };
            Ok(Running {
                input: Box::new(SinkWriter::new(CopyToBytes::new(to))),
                output: output.boxed_local(),
                code: code.boxed_local(),
            })
        }
        .boxed_local()
    }

    fn surroundings(&self) -> LocalBoxFuture<'_, Seen<Surroundings>> {
        async {
            loop {
                let pod = self.cluster.pods().get(&self.pod).await.map_err(|error| error.to_string())?;
                let around = surroundings(&pod);
                // The API server hears of it a moment after the server's first answer.
                if !around.addresses.is_empty() {
                    return Ok(around);
                }
                sleep(LOOK_EVERY).await;
            }
        }
        .boxed_local()
    }
}

fn surroundings(pod: &Pod) -> Surroundings {
    let addresses = pod.status.iter().flat_map(|status| status.pod_ips.iter().flatten());
    let addresses = addresses.filter_map(|address| address.ip.parse().ok()).collect();
    let spec = pod.spec.as_ref();
    // A folder in memory is the pod's own, as Docker's tmpfs is a container's.
    let in_memory = |name: &str| {
        let mut volumes = spec.into_iter().flat_map(|spec| spec.volumes.iter().flatten());
        let volume = volumes.find(|volume| volume.name == name);
        let folder = volume.and_then(|volume| volume.empty_dir.as_ref());
        folder.and_then(|folder| folder.medium.as_deref()) == Some("Memory")
    };
    let containers = spec.into_iter().flat_map(|spec| &spec.containers);
    let mounts =
        containers.filter(|it| it.name == CONTAINER).flat_map(|it| it.volume_mounts.iter().flatten());
    let writable = mounts.filter(|mount| mount.read_only != Some(true) && !in_memory(&mount.name));
    Surroundings {
        addresses,
        gateways: Vec::new(),
        writable_mounts: writable.map(|mount| mount.mount_path.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_pods_surroundings_are_read_from_what_the_api_server_says() {
        let mount = |name: &str, path: &str| json!({ "name": name, "mountPath": path });
        let mut keeper = mount("berth", "/.berth");
        keeper["readOnly"] = true.into();
        let pod = json!({
            "metadata": {},
            "spec": {
                "volumes": [
                    { "name": "tmpfs-0", "emptyDir": { "medium": "Memory" } },
                    { "name": "berth", "emptyDir": {} },
                    { "name": "data", "persistentVolumeClaim": { "claimName": "c" } },
                ],
                "containers": [
                    { "name": "sidecar", "volumeMounts": [mount("data", "/elsewhere")] },
                    { "name": CONTAINER, "volumeMounts": [keeper, mount("tmpfs-0", "/tmp"), mount("data", "/data")] },
                ],
            },
            "status": { "podIPs": [{ "ip": "10.1.0.7" }] },
        });
        let seen = surroundings(&serde_json::from_value(pod).unwrap());
        assert_eq!(seen.addresses, ["10.1.0.7".parse::<IpAddr>().unwrap()]);
        assert_eq!(seen.writable_mounts, ["/data"]);
    }

    #[tokio::test]
    async fn a_urls_place_is_where_its_server_listens() {
        let to = async |url: &str| addresses(url).await;
        assert_eq!(to("https://10.0.0.1:6443/").await, ["10.0.0.1:6443".parse().unwrap()]);
        assert_eq!(to("https://[fd00::1]/").await, ["[fd00::1]:443".parse().unwrap()]);
        assert!(to("nothing of the kind").await.is_empty());
    }
}

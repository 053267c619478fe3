//! The cluster that sessions run in: who berth is there, and in which namespace.
//!
//! It is found as kubectl finds it (`kubeconfig`), and asked by the same way, with the same credentials. In a pod without any
//! kubeconfig the service account counts.

mod bodies;
mod credentials;
mod kubeconfig;
mod way;

use std::env;
use std::time::Duration;

use hyper_util::client::legacy;
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::client::ConfigExt;
use kube::config::{AuthInfo, InClusterError, KubeConfigOptions};
use kube::{Api, Client, Config};
use mcp_berth::commands::variable;
use mcp_berth::config::Kubernetes;
use mcp_berth::failure::{Code, Failure, chain};
use tower::util::MapRequestLayer;
use tower::{BoxError, ServiceBuilder};

use super::parent;
use super::pod::CONTAINER;
use super::pump::Place;
use bodies::Bodies;
pub(crate) use credentials::{LOG_IN, no_credentials};
use credentials::{PlugIn, TokenFile};
use kubeconfig::LOOK;
use way::Way;

/// Set in every pod.
const IN_A_POD: &str = "KUBERNETES_SERVICE_HOST";
/// A plug-in for credentials may ask its cloud.
const CREDENTIALS_WITHIN: Duration = Duration::from_secs(15);
/// The kernel sends the first packet again after 1, 3, 7, 15 s: who begins anew finds a network sooner that is back.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
/// A webhook may take 30 s. Who waits longer, for an answer or its next piece, may wait for a connection that was cut.
const ANSWERED_WITHIN: Duration = Duration::from_secs(35);
/// A connection that was idle for longer may have been cut, and nothing tells.
const IDLE: Duration = Duration::from_secs(5);

/// A namespace of a cluster.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) settings: Kubernetes,
    /// The pod that berth runs in itself, where it owns its sessions' pods.
    pub(crate) parent: Option<OwnerReference>,
}

impl Cluster {
    /// Reads who berth is there. Nothing is asked yet, but of a plug-in for credentials.
    pub(crate) async fn connect(settings: &Kubernetes) -> Result<Self, Failure> {
        let (config, proxy, parent) = Self::config(settings).await?;
        let namespace = settings.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        // An owner is in the same namespace; elsewhere the name would be nobody's.
        let parent = parent.filter(|_| namespace == config.default_namespace);
        let client = client_within(CREDENTIALS_WITHIN, config, proxy).await?;
        Ok(Self { client, namespace, settings: settings.clone(), parent })
    }

    /// The API server's address, and a client that says to nobody who it is.
    pub(crate) async fn stranger(settings: &Kubernetes) -> Result<(String, Client), Failure> {
        let (mut config, proxy, _) = Self::config(settings).await?;
        config.auth_info = AuthInfo::default();
        let address = config.cluster_url.to_string();
        Ok((address, client_within(CREDENTIALS_WITHIN, config, proxy).await?))
    }

    /// Who berth is there, the way to it, and the pod that berth itself is in.
    async fn config(
        settings: &Kubernetes,
    ) -> Result<(Config, Option<Intercept>, Option<OwnerReference>), Failure> {
        let (mut proxy, mut parent) = (None, None);
        let config = match kubeconfig::read(settings.kubeconfig.as_deref())? {
            Some(mut read) => {
                credentials::keep_input(&mut read);
                proxy = kubeconfig::proxy_of(&read, settings.context.as_deref());
                let options = KubeConfigOptions { context: settings.context.clone(), ..Default::default() };
                let config = Config::from_custom_kubeconfig(read, &options).await;
                config.map_err(|error| kubeconfig::unusable(&error))?
            }
            None if env::var_os(IN_A_POD).is_some() => {
                let config = Config::incluster_env().map_err(|error| no_account(&error))?;
                if let Some(context) = &settings.context {
                    return Err(Failure {
                        code: Code::Configuration,
                        text: format!("`context = \"{context}\"` needs a kubeconfig, and this pod has none"),
                        next: Some("remove `context` from [kubernetes], or set `kubeconfig`".to_owned()),
                    });
                }
                parent = parent::from_env(|name| env::var(name).ok());
                config
            }
            None => {
                return Err(Failure {
                    code: Code::Configuration,
                    text: "there is no kubeconfig: neither `KUBECONFIG` nor `~/.kube/config` names a cluster"
                        .to_owned(),
                    next: Some("set `kubeconfig` in [kubernetes], or `KUBECONFIG`".to_owned()),
                });
            }
        };
        let proxy = way::proxy(proxy.as_deref(), &config.cluster_url, variable)?;
        Ok((config, proxy, parent))
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The server's container of a pod.
    pub(crate) fn place(&self, pod: &str) -> Place {
        let (namespace, container) = (self.namespace.clone(), CONTAINER.to_owned());
        Place { namespace, pod: pod.to_owned(), container }
    }
}

/// A plug-in for credentials runs meanwhile, and everything else goes on.
async fn client_within(
    within: Duration,
    config: Config,
    proxy: Option<Intercept>,
) -> Result<Client, Failure> {
    let address = config.cluster_url.to_string();
    let plug_in = PlugIn::of(&config.auth_info);
    let unusable = |why: String, next: &str| Failure {
        code: Code::Configuration,
        text: format!("cannot use the cluster `{address}`: {why}"),
        next: Some(next.to_owned()),
    };
    let made = tokio::task::spawn_blocking(move || client(config, proxy.as_ref(), ANSWERED_WITHIN));
    match tokio::time::timeout(within, made).await {
        Ok(Ok(Ok(client))) => Ok(client),
        Ok(Ok(Err(kube::Error::Auth(error)))) => {
            Err(unusable(plug_in.failed(&error), &plug_in.mended_by(&error)))
        }
        Ok(Ok(Err(error))) => Err(unusable(chain(&error), LOOK)),
        Ok(Err(error)) => Err(unusable(chain(&error), LOOK)),
        Err(_) => Err(unusable(format!("there were no credentials within {within:?}"), LOG_IN)),
    }
}

/// Like `kube`'s own, but for the way there, and for a file's token.
fn client(mut config: Config, proxy: Option<&Intercept>, answered_within: Duration) -> kube::Result<Client> {
    let plug_in = PlugIn::of(&config.auth_info);
    let file = TokenFile::take(&mut config.auth_info).map_err(kube::Error::Auth)?;
    let auth = config.auth_layer()?;
    if auth.is_some() {
        // A plug-in that has given a token just now need not run again for a certificate.
        config.auth_info.exec = None;
    }
    config.connect_timeout = Some(CONNECTED_WITHIN);
    let connector = config.rustls_https_connector_with_connector(Way::new(&config, proxy)?)?;
    let connections = legacy::Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).build(connector);
    let service = ServiceBuilder::new()
        .map_err(move |error: BoxError| plug_in.discreet(error))
        .layer(config.base_uri_layer())
        // A plug-in for credentials may be asked once more before.
        .timeout(answered_within)
        .option_layer(auth)
        .option_layer(file.map(|file| MapRequestLayer::new(move |request| file.show(request))))
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(Bodies::new(connections, answered_within));
    Ok(Client::new(service, config.default_namespace))
}

fn no_account(error: &InClusterError) -> Failure {
    Failure {
        code: Code::Configuration,
        text: format!("this pod has no service account to use: {}", chain(error)),
        next: Some(
            "give it one (`serviceAccountName`, `automountServiceAccountToken: true`), or set `kubeconfig` in \
             [kubernetes]"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use kube::config::Kubeconfig;
    use serde_json::json;

    use super::*;

    fn file(folder: &Path, name: &str, context: &str, server: &str) -> PathBuf {
        let file = folder.join(name);
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {context}\n\
             contexts: [{{name: {context}, context: {{cluster: {context}, user: u, namespace: of-{context}}}}}]\n\
             clusters: [{{name: {context}, cluster: {{server: \"{server}\"}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    #[tokio::test]
    async fn a_file_context_and_namespace_are_found_as_kubectl_finds_them() {
        let folder = tempfile::tempdir().unwrap();
        let one = file(folder.path(), "one", "a", "http://127.0.0.1:1");
        let mut settings = Kubernetes::default();
        settings.kubeconfig = Some(one);
        assert_eq!(Cluster::connect(&settings).await.unwrap().namespace, "of-a");
        settings.namespace = Some("own".to_owned());
        assert_eq!(Cluster::connect(&settings).await.unwrap().namespace, "own");
        settings.context = Some("nowhere".to_owned());
        let failure = Cluster::connect(&settings).await.err().unwrap();
        assert!(failure.text.contains("nowhere") && failure.next.is_some(), "{failure}");
    }

    /// Of a file whose credentials a script gives.
    async fn plugged_in(script: &str) -> Config {
        let exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
            "env": [{ "name": "SECRET", "value": "hidden" }], "interactiveMode": "IfAvailable",
        });
        let mut kubeconfig: Kubeconfig = serde_json::from_value(json!({
            "clusters": [{ "name": "c", "cluster": { "server": "http://127.0.0.1:1" } }],
            "users": [{ "name": "u", "user": { "exec": exec } }],
            "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
            "current-context": "x",
        }))
        .unwrap();
        credentials::keep_input(&mut kubeconfig);
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
    }

    #[tokio::test]
    async fn a_plug_in_for_credentials_runs_once_and_reads_nothing_of_the_clients() {
        let runs = tempfile::NamedTempFile::new().unwrap();
        let script = r#"case "$KUBERNETES_EXEC_INFO" in *'"interactive":false'*) ;; *) exit 4 ;; esac
            echo run >> RUNS; [ -z "$(cat)" ] && echo '{ "kind": "ExecCredential", "status": { "token": "t" } }'"#;
        let script = script.replace("RUNS", runs.path().to_str().unwrap());
        client_within(CREDENTIALS_WITHIN, plugged_in(&script).await, None).await.unwrap();
        assert_eq!(std::fs::read_to_string(runs.path()).unwrap(), "run\n");
    }

    #[tokio::test]
    async fn a_plug_in_that_fails_keeps_its_secrets() {
        for script in ["echo \"$SECRET\"; echo \"$SECRET\" >&2; exit 3", "echo \"{ $SECRET: [\""] {
            let config = plugged_in(script).await;
            let auth = config.auth_layer().err().unwrap();
            let kube::Error::Auth(error) = auth else { panic!("{auth}") };
            let later = PlugIn::of(&config.auth_info).discreet(Box::new(error));
            let failure = client_within(CREDENTIALS_WITHIN, config, None).await.err().unwrap();
            for text in [failure.to_string(), later.to_string(), format!("{later:?}")] {
                assert!(text.contains("the plug-in for credentials") && !text.contains("hidden"), "{text}");
            }
            assert_eq!(failure.next.as_deref(), Some(LOG_IN));
        }
    }

    #[tokio::test]
    async fn a_plug_in_that_does_not_end_when_its_token_is_old_holds_up_no_request() {
        let folder = tempfile::tempdir().unwrap();
        let ran = tempfile::NamedTempFile::new().unwrap();
        let script = r#"while [ -s RAN ] && [ -d FOLDER ]; do sleep 0.05; done; echo ran > RAN
            echo '{ "kind": "ExecCredential", "status": { "token": "t", "expirationTimestamp": "2020-01-01T00:00:00Z" } }'"#;
        let script = script.replace("RAN", ran.path().to_str().unwrap());
        let script = script.replace("FOLDER", folder.path().to_str().unwrap());
        let config = plugged_in(&script).await;
        let made = tokio::task::spawn_blocking(|| client(config, None, Duration::from_millis(50)));
        let client = made.await.unwrap().unwrap();
        let asked = tokio::time::timeout(Duration::from_secs(10), client.apiserver_version());
        let error = asked.await.unwrap().unwrap_err();
        assert!(chain(&error).contains("timed out"), "{error}");
    }

    #[tokio::test]
    async fn a_plug_in_that_does_not_end_holds_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        // Until the test is over.
        let script = format!("while [ -d {} ]; do sleep 0.05; done", folder.path().display());
        let within = Duration::from_millis(50);
        let failure = client_within(within, plugged_in(&script).await, None).await.err().unwrap();
        assert!(failure.text.ends_with("there were no credentials within 50ms"), "{failure}");
    }
}

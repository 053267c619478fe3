//! The cluster that sessions run in: who berth is there, and in which namespace.
//!
//! It is found as kubectl finds it: a file that is named, the list in `KUBECONFIG`, the file in the person's home. In a pod
//! without any of them the service account counts.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::core::v1::Pod;
use kube::client::{AuthError, ConfigExt};
use kube::config::{ExecInteractiveMode, InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config};
use mcp_berth::config::Kubernetes;
use mcp_berth::failure::{Code, Failure, chain};
use tower::{BoxError, ServiceBuilder};

use super::pod::CONTAINER;
use super::pump::Place;

/// Set in every pod.
const IN_A_POD: &str = "KUBERNETES_SERVICE_HOST";
/// A plug-in for credentials may ask its cloud.
const CREDENTIALS_WITHIN: Duration = Duration::from_secs(15);
/// What a person does who has no credentials.
pub(crate) const LOG_IN: &str = "try `kubectl auth whoami`, and log in to the cluster";
const LOOK: &str = "look at it with `kubectl config view`, or set `kubeconfig` and `context` in [kubernetes]";

/// A namespace of a cluster.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) settings: Kubernetes,
}

impl Cluster {
    /// Reads who berth is there. Nothing is asked yet, but of a plug-in for credentials.
    pub(crate) async fn connect(settings: &Kubernetes) -> Result<Self, Failure> {
        let config = match kubeconfig(settings.kubeconfig.as_deref())? {
            Some(mut kubeconfig) => {
                keep_input(&mut kubeconfig);
                let options = KubeConfigOptions { context: settings.context.clone(), ..Default::default() };
                let read = Config::from_custom_kubeconfig(kubeconfig, &options).await;
                read.map_err(|error| unusable(&error))?
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
        let namespace = settings.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = client_within(CREDENTIALS_WITHIN, config).await?;
        Ok(Self { client, namespace, settings: settings.clone() })
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

/// What a plug-in for credentials would read is the client's.
fn keep_input(kubeconfig: &mut Kubeconfig) {
    let infos = kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut());
    for exec in infos.filter_map(|info| info.exec.as_mut()) {
        exec.interactive_mode = Some(ExecInteractiveMode::Never);
    }
}

/// A plug-in for credentials runs meanwhile, and everything else goes on.
async fn client_within(within: Duration, config: Config) -> Result<Client, Failure> {
    let address = config.cluster_url.to_string();
    let unusable = |why: String, next: &str| Failure {
        code: Code::Configuration,
        text: format!("cannot use the cluster `{address}`: {why}"),
        next: Some(next.to_owned()),
    };
    match tokio::time::timeout(within, tokio::task::spawn_blocking(|| client(config))).await {
        Ok(Ok(Ok(client))) => Ok(client),
        Ok(Ok(Err(kube::Error::Auth(error)))) => Err(unusable(no_credentials(&error), LOG_IN)),
        Ok(Ok(Err(error))) => Err(unusable(chain(&error), LOOK)),
        Ok(Err(error)) => Err(unusable(chain(&error), LOOK)),
        Err(_) => Err(unusable(format!("there were no credentials within {within:?}"), LOG_IN)),
    }
}

/// A plug-in's command and its output hold secrets, so nobody is told of them.
pub(crate) fn no_credentials(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecRun { out, .. } => format!("the plug-in for credentials failed ({})", out.status),
        AuthError::AuthExecParse(_) => "the plug-in for credentials gave none".to_owned(),
        AuthError::AuthExec(_) => "the `auth-provider` gives no credentials; `exec` may".to_owned(),
        error => chain(error),
    }
}

/// Such an error among those of requests: credentials are asked for again when they are too old.
fn discreet(error: BoxError) -> BoxError {
    match error.downcast::<AuthError>() {
        Ok(error) => no_credentials(&error).into(),
        Err(error) => error,
    }
}

/// Like `kube`'s own, but that nothing small waits: two frames in a row would take 40 ms, until the first is acknowledged.
fn client(config: Config) -> kube::Result<Client> {
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(config.connect_timeout);
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let service = ServiceBuilder::new()
        .map_err(discreet)
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(legacy::Client::builder(TokioExecutor::new()).build(connector));
    Ok(Client::new(service, config.default_namespace))
}

/// `None`: there is no file.
fn kubeconfig(named: Option<&Path>) -> Result<Option<Kubeconfig>, Failure> {
    if let Some(file) = named {
        return Kubeconfig::read_from(file).map(Some).map_err(|error| unusable(&error));
    }
    let listed = env::var_os("KUBECONFIG").filter(|list| !list.is_empty());
    let files: Vec<PathBuf> = match &listed {
        Some(list) => env::split_paths(list).collect(),
        None => env::home_dir().map(|home| home.join(".kube/config")).into_iter().collect(),
    };
    merged(&files)
}

/// The first file to say something counts; one that is not there says nothing, as with kubectl.
fn merged(files: &[PathBuf]) -> Result<Option<Kubeconfig>, Failure> {
    let there = files.iter().filter(|file| file.exists());
    let merged = there.map(Kubeconfig::read_from).reduce(|first, next| first?.merge(next?));
    merged.transpose().map_err(|error| unusable(&error))
}

fn unusable(error: &KubeconfigError) -> Failure {
    let text = format!("cannot use the kubeconfig: {}", chain(error));
    Failure { code: Code::Configuration, text, next: Some(LOOK.to_owned()) }
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
        let two = file(folder.path(), "two", "b", "http://127.0.0.1:2");
        let missing = folder.path().join("missing");
        let merged = merged(&[missing.clone(), one.clone(), two.clone()]).unwrap().unwrap();
        assert_eq!(merged.current_context.as_deref(), Some("a"), "the first one that says it");
        assert_eq!(merged.contexts.len(), 2);
        assert!(super::merged(&[missing]).unwrap().is_none());
        let mut settings = Kubernetes::default();
        settings.kubeconfig = Some(one);
        assert_eq!(Cluster::connect(&settings).await.unwrap().namespace, "of-a");
        settings.namespace = Some("own".to_owned());
        assert_eq!(Cluster::connect(&settings).await.unwrap().namespace, "own");
        settings.context = Some("nowhere".to_owned());
        let failure = Cluster::connect(&settings).await.err().unwrap();
        assert!(failure.text.contains("nowhere") && failure.next.is_some(), "{failure}");
    }

    #[tokio::test]
    async fn a_file_that_is_named_must_be_there() {
        let mut settings = Kubernetes::default();
        settings.kubeconfig = Some("/nowhere/config".into());
        let failure = Cluster::connect(&settings).await.err().unwrap();
        assert_eq!(failure.code, Code::Configuration);
        assert!(failure.text.contains("/nowhere/config"), "{failure}");
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
        keep_input(&mut kubeconfig);
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
    }

    #[tokio::test]
    async fn a_plug_in_for_credentials_reads_nothing_of_the_clients() {
        let script = r#"case "$KUBERNETES_EXEC_INFO" in *'"interactive":false'*) ;; *) exit 4 ;; esac
            [ -z "$(cat)" ] && echo '{ "kind": "ExecCredential", "status": { "token": "t" } }'"#;
        client_within(CREDENTIALS_WITHIN, plugged_in(script).await).await.unwrap();
    }

    #[tokio::test]
    async fn a_plug_in_that_fails_keeps_its_secrets() {
        for script in ["echo \"$SECRET\"; echo \"$SECRET\" >&2; exit 3", "echo \"{ $SECRET: [\""] {
            let config = plugged_in(script).await;
            let auth = config.auth_layer().err().unwrap();
            let kube::Error::Auth(error) = auth else { panic!("{auth}") };
            let later = discreet(Box::new(error));
            let failure = client_within(CREDENTIALS_WITHIN, config).await.err().unwrap();
            for text in [failure.to_string(), later.to_string(), format!("{later:?}")] {
                assert!(text.contains("the plug-in for credentials") && !text.contains("hidden"), "{text}");
            }
            assert_eq!(failure.next.as_deref(), Some(LOG_IN));
        }
    }

    #[tokio::test]
    async fn a_plug_in_that_does_not_end_holds_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        // Until the test is over.
        let script = format!("while [ -d {} ]; do sleep 0.05; done", folder.path().display());
        let within = Duration::from_millis(50);
        let failure = client_within(within, plugged_in(&script).await).await.err().unwrap();
        assert!(failure.text.ends_with("there were no credentials within 50ms"), "{failure}");
    }
}

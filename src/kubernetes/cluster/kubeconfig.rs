//! The kubeconfig, read as kubectl reads it: a file that is named, the list in `KUBECONFIG`, the file in the person's home.

use std::env;
use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, Kubeconfig, KubeconfigError};
use mcp_berth::failure::{Code, Failure, chain};

pub(super) const LOOK: &str =
    "look at it with `kubectl config view`, or set `kubeconfig` and `context` in [kubernetes]";

/// `None`: there is no file.
pub(super) fn read(named: Option<&Path>) -> Result<Option<Kubeconfig>, Failure> {
    if let Some(file) = named {
        return of_file(file).map(Some).map_err(|error| unusable(&error));
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
    let merged = there.map(|file| of_file(file)).reduce(|first, next| first?.merge(next?));
    merged.transpose().map_err(|error| unusable(&error))
}

pub(super) fn unusable(error: &KubeconfigError) -> Failure {
    let text = format!("cannot use the kubeconfig: {}", chain(error));
    Failure { code: Code::Configuration, text, next: Some(LOOK.to_owned()) }
}

/// What is empty there is not said: kubectl itself writes `current-context: ""`.
fn of_file(file: &Path) -> Result<Kubeconfig, KubeconfigError> {
    let mut config = Kubeconfig::read_from(file)?;
    said(&mut config.current_context);
    for context in config.contexts.iter_mut().filter_map(|named| named.context.as_mut()) {
        said(&mut context.namespace);
        said(&mut context.user);
    }
    for cluster in config.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        said(&mut cluster.certificate_authority);
        said(&mut cluster.certificate_authority_data);
        said(&mut cluster.tls_server_name);
        said(&mut cluster.proxy_url);
    }
    for info in config.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        if let Some(of_user) = said_of_user(info) {
            *info = of_user;
        }
    }
    Ok(config)
}

fn said(text: &mut Option<String>) {
    text.take_if(|text| text.is_empty());
}

/// Some of a user's are secrets, and whether one is empty shows in its written form alone.
fn said_of_user(info: &AuthInfo) -> Option<AuthInfo> {
    let mut fields = serde_json::to_value(info).ok()?;
    fields.as_object_mut()?.retain(|_, value| value != "");
    serde_json::from_value(fields).ok()
}

/// The proxy of a context's cluster.
pub(super) fn proxy_of(config: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let context = context.or(config.current_context.as_deref())?;
    let context = config.contexts.iter().find(|named| named.name == context)?.context.as_ref()?;
    let cluster = config.clusters.iter().find(|named| named.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.clone()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(folder: &Path, name: &str, text: &serde_json::Value) -> PathBuf {
        let file = folder.join(name);
        std::fs::write(&file, text.to_string()).unwrap();
        file
    }

    fn of(context: &str, current: &str) -> serde_json::Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": current,
            "contexts": [{ "name": context, "context": { "cluster": context, "user": "u", "namespace": "" } }],
            "clusters": [{ "name": context, "cluster": {
                "server": "http://127.0.0.1:1", "certificate-authority-data": "", "proxy-url": format!("http://{context}"),
            } }],
            "users": [{ "name": "u", "user": { "token": "", "client-key-data": "", "tokenFile": "t" } }],
        })
    }

    #[test]
    fn of_a_list_the_first_file_to_say_something_counts_and_what_is_empty_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let one = file(folder.path(), "one", &of("a", ""));
        let two = file(folder.path(), "two", &of("b", "b"));
        let three = file(folder.path(), "three", &of("a", "a"));
        let missing = folder.path().join("missing");
        let config = merged(&[missing.clone(), one, two, three]).unwrap().unwrap();
        assert_eq!(config.current_context.as_deref(), Some("b"));
        assert_eq!(config.contexts.len(), 2);
        assert_eq!(config.contexts[0].context.as_ref().unwrap().namespace, None);
        assert_eq!(config.clusters[0].cluster.as_ref().unwrap().certificate_authority_data, None);
        let user = config.auth_infos[0].auth_info.as_ref().unwrap();
        assert!(user.token.is_none() && user.client_key_data.is_none());
        assert_eq!(user.token_file.as_deref(), folder.path().join("t").to_str(), "beside its file");
        assert_eq!(proxy_of(&config, None).as_deref(), Some("http://b"), "the current one's");
        assert_eq!(proxy_of(&config, Some("a")).as_deref(), Some("http://a"));
        assert_eq!(proxy_of(&config, Some("c")), None);
        assert!(merged(&[missing]).unwrap().is_none());
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let failure = read(Some(Path::new("/nowhere/config"))).unwrap_err();
        assert_eq!(failure.code, Code::Configuration);
        assert!(failure.text.contains("/nowhere/config"), "{failure}");
    }
}

//! An API server of the tests' own: a store of objects by their paths.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::super::network::PolicyLabel;
use super::super::{Cluster, LABEL_MANAGED_BY, MANAGER, PROBER};
use super::config;

/// An API server's objects by their paths. Discovery knows what `discovered` says.
#[derive(Default)]
pub(super) struct Store {
    pub(super) objects: BTreeMap<String, Value>,
    pub(super) version: u64,
    /// The method and path of each request that changes something.
    pub(super) changes: Vec<String>,
    pub(super) created: Vec<Value>,
    /// Requests that are refused.
    pub(super) forbidden: Vec<String>,
}

pub(super) type Shared = Arc<Mutex<Store>>;

pub(super) fn status(code: StatusCode, reason: &str) -> (StatusCode, Value) {
    (
        code,
        json!({ "kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": reason, "message": reason }),
    )
}

impl Store {
    fn answer(
        &mut self,
        method: &Method,
        path: &str,
        query: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let request = format!("{method} {path}");
        if self.forbidden.contains(&request) {
            return status(StatusCode::FORBIDDEN, "Forbidden");
        }
        if *method == Method::GET {
            return self.read(path, query);
        }
        let was = self.objects.get(path).cloned();
        let done = match (method, was) {
            (&Method::DELETE, None) => return status(StatusCode::NOT_FOUND, "NotFound"),
            (&Method::DELETE, Some(was)) => {
                self.objects.remove(path);
                was
            }
            (_, was) => {
                let mut object = body.unwrap_or_default();
                if *method == Method::POST {
                    self.created.push(object.clone());
                }
                let path = match *method {
                    Method::POST => {
                        format!("{path}/{}", object["metadata"]["name"].as_str().unwrap_or_default())
                    }
                    _ => path.to_owned(),
                };
                let was = if *method == Method::POST { self.objects.get(&path).cloned() } else { was };
                if *method == Method::POST && was.is_some() {
                    return status(StatusCode::CONFLICT, "AlreadyExists");
                }
                let version = was.as_ref().map(|was| was["metadata"]["resourceVersion"].clone());
                object["metadata"]["resourceVersion"] = version.unwrap_or_default();
                // To apply what is there already changes nothing.
                if was.as_ref() == Some(&object) {
                    return (StatusCode::OK, object);
                }
                self.version += 1;
                object["metadata"]["resourceVersion"] = self.version.to_string().into();
                self.objects.insert(path, object.clone());
                object
            }
        };
        self.changes.push(request);
        (StatusCode::OK, done)
    }

    fn read(&self, path: &str, query: &str) -> (StatusCode, Value) {
        if ["/api", "/apis"].contains(&path) {
            return (StatusCode::OK, discovered(path == "/api"));
        }
        if let Some(object) = self.objects.get(path) {
            return (StatusCode::OK, object.clone());
        }
        // A collection's last word is a kind, which no object here is called.
        if ![
            "pods",
            "configmaps",
            "roles",
            "rolebindings",
            "serviceaccounts",
            "resourcequotas",
            "limitranges",
            "networkpolicies",
            "deployments",
            "services",
        ]
        .iter()
        .any(|plural| path.ends_with(&format!("/{plural}")))
        {
            return status(StatusCode::NOT_FOUND, "NotFound");
        }
        let ours_only = query.contains("labelSelector=");
        let within = format!("{path}/");
        let items: Vec<Value> = self
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with(&within))
            .map(|(_, object)| object.clone())
            .filter(|object| !ours_only || is_selected(object, query))
            .collect();
        (StatusCode::OK, json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": items }))
    }
}

/// By the label of who made it: the selector names one value of it, or both. And by that of a list of names, if it has it.
fn is_selected(object: &Value, query: &str) -> bool {
    let labels = &object["metadata"]["labels"];
    let by = &labels[LABEL_MANAGED_BY];
    let is_wanted = !query.contains("network%3Dallow") || labels[PolicyLabel::KEY] == "allow";
    is_wanted && (by == MANAGER || (by == PROBER && query.contains(PROBER)))
}

/// Pods and configuration maps are all that this API server has beside what berth makes.
fn discovered(core: bool) -> Value {
    let kind = |plural: &str, kind: &str| {
        json!({
            "resource": plural, "scope": "Namespaced", "verbs": ["list"], "singularResource": "",
            "responseKind": { "group": "", "version": "v1", "kind": kind },
        })
    };
    let resources = json!([kind("pods", "Pod"), kind("configmaps", "ConfigMap")]);
    let items =
        json!([{ "metadata": { "name": "" }, "versions": [{ "version": "v1", "resources": resources }] }]);
    json!({
        "apiVersion": "apidiscovery.k8s.io/v2", "kind": "APIGroupDiscoveryList", "metadata": {},
        "items": if core { items } else { json!([]) },
    })
}

pub(super) fn server() -> (Cluster, Shared) {
    let store = Shared::default();
    let shared = store.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let store = shared.clone();
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
            let body = serde_json::from_slice(&bytes).ok();
            let (code, answer) = store.lock().unwrap().answer(&parts.method, path, query, body);
            let response = Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()));
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    let settings = config("").kubernetes;
    (Cluster { client: Client::new(service, "n"), namespace: "n".to_owned(), settings, parent: None }, store)
}

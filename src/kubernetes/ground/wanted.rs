//! What `up` makes: an object of Kubernetes' with the reason for it.

use serde_json::{Value, json};

use super::{LABEL_MANAGED_BY, MANAGER};

/// An object, and why it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(super) why: Vec<String>,
    pub(super) object: Value,
}

impl Wanted {
    pub(super) fn new(kind: (&str, &str), (namespace, name): (&str, &str), why: &str, rest: Value) -> Self {
        let mut object = json!({
            "apiVersion": kind.0,
            "kind": kind.1,
            "metadata": { "name": name, "namespace": namespace, "labels": { LABEL_MANAGED_BY: MANAGER } },
        });
        if let (Value::Object(object), Value::Object(rest)) = (&mut object, rest) {
            object.extend(rest);
        }
        Self { why: vec![why.to_owned()], object }
    }

    pub(super) fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    pub(super) fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }
}

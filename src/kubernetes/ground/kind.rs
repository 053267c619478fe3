//! The kinds of objects that are made and taken back.

use kube::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};

use super::Cluster;

/// What has a keeper. Each version of berth has one of its own, and another one's stays until `down`.
pub(super) const CONFIG_MAP: &str = "ConfigMap";

/// Group, version, kind and plural, in the order in which `down` removes them: whoever loses the role can start nothing, and
/// the policies hold until the last.
const KINDS: [(&str, &str, &str, &str); 9] = [
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    ("", "v1", "ServiceAccount", "serviceaccounts"),
    ("apps", "v1", "Deployment", "deployments"),
    ("", "v1", "Service", "services"),
    ("", "v1", "ResourceQuota", "resourcequotas"),
    ("", "v1", "LimitRange", "limitranges"),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    ("", "v1", CONFIG_MAP, "configmaps"),
];

fn resource((group, version, kind, plural): (&str, &str, &str, &str)) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = ApiResource> {
    KINDS.into_iter().map(resource)
}

/// What holds sessions' volumes; only who says so loses them.
pub(super) fn claims() -> ApiResource {
    resource(("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"))
}

pub(super) fn of(kind: &str) -> Option<ApiResource> {
    KINDS.into_iter().find(|known| known.2 == kind).map(resource)
}

pub(super) fn api(cluster: &Cluster, resource: &ApiResource) -> Api<DynamicObject> {
    Api::namespaced_with(cluster.client.clone(), &cluster.namespace, resource)
}

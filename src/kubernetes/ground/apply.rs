//! `berth kubernetes up`: makes what is missing. A second run changes nothing, and says so.

use std::fmt;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use mcp_berth::config::Config;
use mcp_berth::failure::{Code, Failure};
use mcp_berth::human::count;

use super::refused::{code, failure};
use super::wanted::Wanted;
use super::{Cluster, LABEL_MANAGED_BY, MANAGER, forwarder, kind, living, objects};

/// On a namespace that `up` has made: `down` may delete it.
pub(super) const ANNOTATION_MADE: &str = "mcp-berth.io/made-by-up";

/// What has become of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Made,
    Changed,
    Removed,
    Same,
}

/// What was done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Done {
    namespace: String,
    changes: Vec<(Change, String)>,
    notes: Vec<String>,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (change, what) in &self.changes {
            match change {
                Change::Made => writeln!(f, "made     {what}")?,
                Change::Changed => writeln!(f, "changed  {what}")?,
                Change::Removed => writeln!(f, "removed  {what}")?,
                Change::Same => {}
            }
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        let same = self.changes.iter().filter(|(change, _)| *change == Change::Same).count();
        let namespace = &self.namespace;
        if same == self.changes.len() {
            return writeln!(f, "the namespace `{namespace}` is ready: nothing has changed");
        }
        let done = count(self.changes.len() - same, "change");
        writeln!(f, "the namespace `{namespace}` is ready: {done}, {same} as before")
    }
}

/// Whose a namespace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Berths(Change),
    Others,
    /// Whoever asks may not see namespaces.
    Unseen,
}

pub(super) async fn up(cluster: &Cluster, config: &Config, force: bool) -> Result<Done, Failure> {
    let mut params = PatchParams::apply(MANAGER);
    params.force = force;
    let name = &cluster.namespace;
    let (itself, profile) = objects::namespace(config, name);
    let mut done = Done { namespace: name.clone(), changes: Vec::new(), notes: Vec::new() };
    let mut wanted = objects::own(config, name);
    wanted.extend(objects::keeper(config, name));
    wanted.extend(forwarder::objects(config, name));
    let whose = namespace(cluster, &itself, &params).await?;
    match whose {
        Whose::Berths(change) => {
            done.changes.push((change, format!("Namespace {name}")));
            done.notes.extend(profile.why.iter().map(|why| format!("Pod Security is `baseline`: {why}")));
            done.notes.extend(profile.refused);
            wanted.extend(objects::limits(config, name));
        }
        Whose::Others | Whose::Unseen => {
            let why = if whose == Whose::Others {
                format!("somebody else made the namespace `{name}`")
            } else {
                "you may not see namespaces".to_owned()
            };
            done.notes.push(format!("{why}: its Pod Security, quota and limits are left as they are"));
        }
    }
    for wanted in &wanted {
        let change = apply(cluster, wanted, &params).await?;
        done.changes.push((change, format!("{} {}", wanted.kind(), wanted.name())));
    }
    if matches!(whose, Whose::Berths(_)) {
        prune(cluster, &wanted, &mut done).await?;
    }
    Ok(done)
}

/// Makes the namespace where there is none; another's is left alone.
async fn namespace(cluster: &Cluster, wanted: &Wanted, params: &PatchParams) -> Result<Whose, Failure> {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let name = &cluster.namespace;
    let what = |verb: &str| format!("{verb} the namespace `{name}`");
    let mut object = wanted.object.clone();
    object["metadata"]["annotations"] = serde_json::json!({ ANNOTATION_MADE: "true" });
    let mut before = match namespaces.get_opt(name).await {
        Ok(before) => before,
        Err(error) if code(&error) == Some(403) => return Ok(Whose::Unseen),
        Err(error) => return Err(failure(&what("look at"), &error)),
    };
    let is_new = before.is_none();
    if is_new {
        // No label: what `create` sets is another manager's, and a change of it by `apply` a conflict with oneself.
        let bare = serde_json::json!({
            "metadata": { "name": name, "annotations": object["metadata"]["annotations"] },
        });
        let object = serde_json::from_value(bare).map_err(|error| broken(&error))?;
        match namespaces.create(&PostParams::default(), &object).await {
            Ok(_) => {}
            // Somebody was faster: it is theirs.
            Err(error) if code(&error) == Some(409) => {
                before = namespaces.get_opt(name).await.map_err(|error| failure(&what("look at"), &error))?;
            }
            Err(error) => return Err(failure(&what("create"), &error)),
        }
    }
    if let Some(before) = &before {
        if before.metadata.deletion_timestamp.is_some() {
            return Err(Failure {
                code: Code::Unavailable,
                text: format!("the namespace `{name}` is being deleted"),
                next: Some(format!("wait for its end: kubectl wait --for=delete namespace/{name}")),
            });
        }
        if !is_made_by_us(before) {
            return Ok(Whose::Others);
        }
    }
    let applied = namespaces.patch(name, params, &Patch::Apply(&object)).await;
    let applied = applied.map_err(|error| failure(&what("change"), &error))?;
    Ok(Whose::Berths(match before {
        None => Change::Made,
        Some(before) if before.metadata.resource_version == applied.metadata.resource_version => Change::Same,
        Some(_) => Change::Changed,
    }))
}

pub(super) fn is_made_by_us(namespace: &Namespace) -> bool {
    namespace.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(ANNOTATION_MADE))
}

fn broken(error: &serde_json::Error) -> Failure {
    Failure {
        code: Code::Internal,
        text: format!("an object of berth's own is malformed: {error}"),
        next: None,
    }
}

async fn apply(cluster: &Cluster, wanted: &Wanted, params: &PatchParams) -> Result<Change, Failure> {
    let (kind, name) = (wanted.kind(), wanted.name());
    let resource = kind::of(kind).ok_or_else(|| Failure {
        code: Code::Internal,
        text: format!("berth knows no kind `{kind}`"),
        next: None,
    })?;
    let api = kind::api(cluster, &resource);
    let what = |verb: &str| format!("{verb} the {kind} `{name}` in the namespace `{}`", cluster.namespace);
    let before = api.get_opt(name).await.map_err(|error| failure(&what("look at"), &error))?;
    if before.as_ref().is_some_and(|before| !is_ours(before)) {
        return Err(Failure {
            code: Code::Configuration,
            text: format!("the {kind} `{name}` in the namespace `{}` is not berth's", cluster.namespace),
            next: Some("delete or rename it, or set another `namespace` in [kubernetes]".to_owned()),
        });
    }
    let applied = api.patch(name, params, &Patch::Apply(&wanted.object)).await;
    let applied = applied.map_err(|error| failure(&what("apply"), &error))?;
    Ok(match before {
        None => Change::Made,
        Some(before) if before.metadata.resource_version == applied.metadata.resource_version => Change::Same,
        Some(_) => Change::Changed,
    })
}

fn is_ours(object: &DynamicObject) -> bool {
    let label = object.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_MANAGED_BY));
    label.is_some_and(|label| label == MANAGER)
}

/// Removes what a former configuration wanted. Another person's may want it still: what living pods need stays.
async fn prune(cluster: &Cluster, wanted: &[Wanted], done: &mut Done) -> Result<(), Failure> {
    let mut needing = None;
    // Others may have another version of berth, and sessions whose pods wait for its keeper.
    for resource in kind::all().filter(|resource| resource.kind != kind::CONFIG_MAP) {
        let kind = &resource.kind;
        for name in ours(cluster, &resource).await? {
            if wanted.iter().any(|wanted| wanted.kind() == kind && wanted.name() == name) {
                continue;
            }
            if forwarder::is_its(&name) {
                let pods = match needing {
                    Some(pods) => pods,
                    None => *needing.insert(living::with_list(cluster).await?),
                };
                if pods > 0 {
                    continue;
                }
            }
            remove(cluster, &resource, &name).await?;
            done.changes.push((Change::Removed, format!("{kind} {name}")));
        }
    }
    if let Some(pods @ 1..) = needing {
        done.notes.push(format!(
            "the forwarder stays, as {} in the namespace `{}` still {} a list of names: type `berth kubernetes up` again when \
             no such pod is left",
            count(pods, "pod"),
            cluster.namespace,
            if pods == 1 { "has" } else { "have" }
        ));
    }
    Ok(())
}

/// The names of berth's objects of a kind.
pub(super) async fn ours(
    cluster: &Cluster,
    resource: &kube::core::ApiResource,
) -> Result<Vec<String>, Failure> {
    let params = ListParams::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGER}"));
    let listed = kind::api(cluster, resource).list_metadata(&params).await;
    let what = || format!("list {} in the namespace `{}`", resource.plural, cluster.namespace);
    let listed = listed.map_err(|error| failure(&what(), &error))?;
    Ok(listed.items.into_iter().filter_map(|object| object.metadata.name).collect())
}

/// Whether it was there.
pub(super) async fn remove(
    cluster: &Cluster,
    resource: &kube::core::ApiResource,
    name: &str,
) -> Result<bool, Failure> {
    let what = || format!("delete the {} `{name}` in the namespace `{}`", resource.kind, cluster.namespace);
    match kind::api(cluster, resource).delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(true),
        Err(error) if code(&error) == Some(404) => Ok(false),
        Err(error) => Err(failure(&what(), &error)),
    }
}

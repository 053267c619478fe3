//! `berth kubernetes lists FOLDER`: which pod may reach which names, for the forwarder beside it (`keeper/egress/far.rs`).
//!
//! A file for each address of a session's pod has its list. A pod has its address until its server's container has ended,
//! be it about to go or not. Where two pods with unlike lists say the same address, neither has a file: one of them has
//! ended, the cluster does not say so yet, and the newer one need not be the one that goes on. `.fresh` is written anew for
//! as long as the API server answers.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{ListParams, WatchEvent, WatchParams};
use mcp_berth::failure::{Code, Failure, chain};

use super::allowed::ANNOTATION_ALLOW;
use super::cluster::Cluster;
use super::ground::network::PolicyLabel;
use super::pod::{LABEL_MANAGED_BY, MANAGER, end_of_server};

/// Written again and again.
const FRESH: &str = ".fresh";
/// In seconds: so long a watch lasts, and its end in order shows that the API server is there.
const WATCHED_FOR: u32 = 20;
/// What lasts longer was cut off.
const CUT_AFTER: Duration = Duration::from_secs(30);
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Keeps the folder as the cluster is.
pub(crate) async fn keep(cluster: &Cluster, folder: &Path) -> anyhow::Result<Infallible> {
    let mut files = Files::open(folder)?;
    loop {
        let error = match follow(cluster, &mut files).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        if let Trouble::Folder(error) = error {
            return Err(Failure {
                code: Code::Unavailable,
                text: format!("cannot write to `{}`: {error}", folder.display()),
                next: Some("mount a folder there that may be written to".to_owned()),
            }
            .into());
        }
        tracing::warn!("cannot watch the sessions' pods: {error}");
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{}", chain(.0))]
    Cluster(#[from] kube::Error),
    #[error("{0}")]
    Folder(#[from] io::Error),
    #[error("no answer within {CUT_AFTER:?}")]
    Cut(#[from] tokio::time::error::Elapsed),
}

async fn follow(cluster: &Cluster, files: &mut Files<'_>) -> Result<Infallible, Trouble> {
    let labels = format!("{LABEL_MANAGED_BY}={MANAGER},{}={}", PolicyLabel::KEY, PolicyLabel::Allow.as_str());
    let pods = cluster.pods();
    let params = ListParams::default().labels(&labels);
    let listed = tokio::time::timeout(CUT_AFTER, pods.list(&params)).await??;
    let mut book = Book::default();
    listed.items.iter().for_each(|pod| book.note(pod));
    files.write(&book)?;
    let mut version = listed.metadata.resource_version.unwrap_or_default();
    let params = WatchParams::default().labels(&labels).timeout(WATCHED_FOR);
    loop {
        let seen = tokio::time::timeout(CUT_AFTER, pods.watch(&params, &version)).await??;
        files.refresh()?;
        let mut seen = pin!(seen);
        while let Some(event) = tokio::time::timeout(CUT_AFTER, seen.next()).await? {
            match event? {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                    version = pod.resource_version().unwrap_or(version);
                    book.note(&pod);
                }
                WatchEvent::Deleted(pod) => {
                    version = pod.resource_version().unwrap_or(version);
                    book.forget(&pod);
                }
                WatchEvent::Bookmark(mark) => version = mark.metadata.resource_version,
                WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
            }
            files.write(&book)?;
        }
    }
}

/// The pods that may have an address.
#[derive(Debug, Default)]
struct Book(HashMap<String, Known>);

#[derive(Debug)]
struct Known {
    addresses: Vec<String>,
    list: String,
}

impl Book {
    fn note(&mut self, pod: &Pod) {
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        // What goes on beside the server has no list.
        if matches!(phase, Some("Succeeded" | "Failed")) || end_of_server(pod).is_some() {
            return self.forget(pod);
        }
        let all = status.and_then(|status| status.pod_ips.as_deref()).unwrap_or_default();
        let known = Known {
            addresses: all.iter().map(|address| address.ip.clone()).collect(),
            list: pod.annotations().get(ANNOTATION_ALLOW).cloned().unwrap_or_default(),
        };
        self.0.insert(pod.uid().unwrap_or_default(), known);
    }

    fn forget(&mut self, pod: &Pod) {
        self.0.remove(&pod.uid().unwrap_or_default());
    }

    fn lists(&self) -> BTreeMap<&str, &str> {
        let mut lists = BTreeMap::new();
        for Known { addresses, list } in self.0.values() {
            for address in addresses {
                let said = lists.entry(&**address).or_insert(Some(&**list));
                if *said != Some(&**list) {
                    *said = None;
                }
            }
        }
        lists.into_iter().filter_map(|(address, list)| Some((address, list?))).collect()
    }
}

/// What stands in the folder.
#[derive(Debug)]
struct Files<'a> {
    folder: &'a Path,
    written: BTreeMap<String, String>,
}

impl<'a> Files<'a> {
    /// What a former process has left is nobody's.
    fn open(folder: &'a Path) -> io::Result<Self> {
        for file in fs::read_dir(folder)? {
            fs::remove_file(file?.path())?;
        }
        Ok(Self { folder, written: BTreeMap::new() })
    }

    fn write(&mut self, book: &Book) -> io::Result<()> {
        let lists = book.lists();
        let gone: Vec<String> =
            self.written.keys().filter(|address| !lists.contains_key(&***address)).cloned().collect();
        for address in gone {
            fs::remove_file(self.folder.join(&address))?;
            self.written.remove(&address);
        }
        for (address, list) in lists {
            if self.written.get(address).is_none_or(|written| written != list) {
                self.put(address, list)?;
                self.written.insert(address.to_owned(), list.to_owned());
            }
        }
        self.refresh()
    }

    fn refresh(&self) -> io::Result<()> {
        self.put(FRESH, "")
    }

    /// Whole, or not at all.
    fn put(&self, name: &str, text: &str) -> io::Result<()> {
        let new = self.folder.join(".new");
        fs::write(&new, text)?;
        fs::rename(new, self.folder.join(name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake;

    fn pod(uid: &str, address: &str, phase: &str, list: &str) -> Pod {
        pod_with(uid, address, &json!({ "phase": phase }), list)
    }

    fn pod_with(uid: &str, address: &str, status: &Value, list: &str) -> Pod {
        let mut pod = json!({ "metadata": { "uid": uid, "annotations": { ANNOTATION_ALLOW: list } }, "status": status });
        pod["status"]["podIPs"] = json!([{ "ip": address }]);
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn each_address_has_the_list_of_the_one_pod_that_lives_there() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("10.0.0.9"), "left").unwrap();
        let read = |address: &str| fs::read_to_string(folder.path().join(address)).ok();
        let mut files = Files::open(folder.path()).unwrap();
        assert_eq!(read("10.0.0.9"), None);
        let mut book = Book::default();
        book.note(&pod("a", "10.0.0.1", "Running", "a.org"));
        book.note(&pod("b", "10.0.0.2", "Running", "b.org\nc.org"));
        files.write(&book).unwrap();
        assert_eq!((read("10.0.0.1"), read("10.0.0.2")), (Some("a.org".into()), Some("b.org\nc.org".into())));
        // The address is another's before the cluster says which one has ended.
        book.note(&pod("c", "10.0.0.1", "Pending", "d.org"));
        files.write(&book).unwrap();
        assert_eq!(read("10.0.0.1"), None, "it may be either's");
        book.note(&pod("a", "10.0.0.1", "Succeeded", "a.org"));
        book.forget(&pod("b", "10.0.0.2", "Running", ""));
        files.write(&book).unwrap();
        assert_eq!((read("10.0.0.1"), read("10.0.0.2")), (Some("d.org".into()), None));
        book.note(&pod("e", "10.0.0.1", "Running", "d.org"));
        files.write(&book).unwrap();
        assert_eq!(read("10.0.0.1"), Some("d.org".into()), "both have this list");
        assert!(read(FRESH).is_some());
    }

    #[test]
    fn a_pod_has_its_address_until_its_server_has_ended() {
        let list = |pod: &Pod| {
            let mut book = Book::default();
            book.note(pod);
            book.lists().get("10.0.0.1").map(|list| (*list).to_owned())
        };
        let mut going = pod("a", "10.0.0.1", "Running", "a.org");
        going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(list(&going), Some("a.org".to_owned()), "its server may have its last word");
        let ended = |container: &str| {
            let statuses = fake::ended(container, "2026-01-01T00:00:00Z");
            let status = json!({ "phase": "Running", "containerStatuses": statuses });
            list(&pod_with("a", "10.0.0.1", &status, "a.org"))
        };
        assert_eq!((ended("server"), ended("sidecar")), (None, Some("a.org".to_owned())));
    }
}

//! `berth kubernetes lists FOLDER`: which pod may reach which names, for the forwarder beside it (`keeper/egress/far.rs`).
//!
//! A file for each address of a session's pod has its list. Where two pods say the same address, the newer one has it: the
//! other has ended, and the cluster does not say so yet. `.fresh` is written anew for as long as the API server answers.

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
use super::pod::{LABEL_MANAGED_BY, MANAGER};

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
    made: Option<i64>,
    addresses: Vec<String>,
    list: String,
}

impl Book {
    fn note(&mut self, pod: &Pod) {
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return self.forget(pod);
        }
        let all = status.and_then(|status| status.pod_ips.as_deref()).unwrap_or_default();
        let known = Known {
            made: pod.creation_timestamp().map(|at| at.0.as_second()),
            addresses: all.iter().map(|address| address.ip.clone()).collect(),
            list: pod.annotations().get(ANNOTATION_ALLOW).cloned().unwrap_or_default(),
        };
        self.0.insert(pod.uid().unwrap_or_default(), known);
    }

    fn forget(&mut self, pod: &Pod) {
        self.0.remove(&pod.uid().unwrap_or_default());
    }

    fn lists(&self) -> BTreeMap<&str, &str> {
        let mut pods: Vec<&Known> = self.0.values().collect();
        pods.sort_by_key(|pod| pod.made);
        pods.iter().flat_map(|pod| pod.addresses.iter().map(|address| (&**address, &*pod.list))).collect()
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
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, made: u8, address: &str, phase: &str, list: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "uid": uid, "creationTimestamp": format!("2026-01-01T00:00:{made:02}Z"),
                "annotations": { ANNOTATION_ALLOW: list },
            },
            "status": { "phase": phase, "podIPs": [{ "ip": address }] },
        }))
        .unwrap()
    }

    #[test]
    fn each_address_has_the_list_of_the_newest_pod_that_lives() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("10.0.0.9"), "left").unwrap();
        let read = |address: &str| fs::read_to_string(folder.path().join(address)).ok();
        let mut files = Files::open(folder.path()).unwrap();
        assert_eq!(read("10.0.0.9"), None);
        let mut book = Book::default();
        book.note(&pod("a", 1, "10.0.0.1", "Running", "a.org"));
        book.note(&pod("b", 2, "10.0.0.2", "Running", "b.org\nc.org"));
        files.write(&book).unwrap();
        assert_eq!((read("10.0.0.1"), read("10.0.0.2")), (Some("a.org".into()), Some("b.org\nc.org".into())));
        // The address is another's before the cluster says that the first one has ended.
        book.note(&pod("c", 3, "10.0.0.1", "Pending", "d.org"));
        files.write(&book).unwrap();
        assert_eq!(read("10.0.0.1"), Some("d.org".into()));
        book.note(&pod("a", 1, "10.0.0.1", "Succeeded", "a.org"));
        book.forget(&pod("b", 2, "10.0.0.2", "Running", ""));
        files.write(&book).unwrap();
        assert_eq!((read("10.0.0.1"), read("10.0.0.2")), (Some("d.org".into()), None));
        assert!(read(FRESH).is_some());
    }
}

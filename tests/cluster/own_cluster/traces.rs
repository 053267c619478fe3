//! What a server is told stays between it and berth: not in the audit log, not in etcd, not in the logs of a node.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use memchr::memmem;
use serde_json::json;

use crate::harness::{Cluster, Place};

const ARGUMENT: &str = "argument-that-nobody-may-read";
const VARIABLE: &str = "variable-that-nobody-may-read";
const SECRET: &str = "secret-that-nobody-may-read";
const PAYLOAD: &str = "payload-that-nobody-may-read";
const ANSWER: &str = "answer-that-nobody-may-read";

/// Images and their contents: a hundred times as large as all else.
const IMAGES: &str = "containerd";

/// All files below, without those of images.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    // Kubernetes removes some meanwhile.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && entry.file_name() != IMAGES => files(&entry.path(), found),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

/// For each text the files that say it.
fn that_say<'a>(texts: &[&'a str], files: &[PathBuf]) -> BTreeMap<&'a str, Vec<PathBuf>> {
    let finders: Vec<_> = texts.iter().map(|text| (*text, memmem::Finder::new(text.as_bytes()))).collect();
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for file in files {
        let Ok(bytes) = fs::read(file) else { continue };
        for (text, finder) in &finders {
            if finder.find(&bytes).is_some() {
                found.entry(*text).or_default().push(file.clone());
            }
        }
    }
    found
}

#[test]
#[ignore = "needs a cluster"]
fn what_a_server_is_told_is_found_nowhere_in_the_cluster() {
    let cluster = Cluster::of_this_machine();
    let logs = cluster.path("logs");
    let place = Place::new("traces").with(&format!(
        "\n[servers.told]\nimage = \"berth-fixture\"\ncommand = [\"/berth-fixture\", \"{ARGUMENT}\"]\n\
         env = {{ TOLD = \"{VARIABLE}\" }}\nsecrets = {{ HIDDEN = \"${{TOLD_HERE}}\" }}\n"
    ));
    let mut session = place.run("told").env("TOLD_HERE", SECRET).client("traces").started();
    assert!(session.call_text("env", json!({ "name": "TOLD" })).contains(VARIABLE));
    assert!(session.call_text("env", json!({ "name": "HIDDEN" })).contains(SECRET));
    assert!(session.call_text("read", json!({ "path": "/proc/self/cmdline" })).contains(ARGUMENT));
    assert_eq!(session.call_text("echo", json!({ "text": PAYLOAD })), PAYLOAD);
    session.call("stderr", json!({ "text": ANSWER }));
    session.expect_stderr(ANSWER);
    let pod = session.container();
    session.close();
    session.wait();

    let state = logs.parent().expect("the cluster's folder");
    let mut all = Vec::new();
    files(state, &mut all);
    let mut found = that_say(&[&pod, ARGUMENT, VARIABLE, SECRET, PAYLOAD, ANSWER], &all);
    // It is looked for where such things would be.
    let named = found.remove(pod.as_str()).unwrap_or_default();
    for place in ["audit", "etcd/", "-kubelet"] {
        let is_named = named.iter().any(|file| file.to_string_lossy().contains(place));
        assert!(is_named, "{pod} is not found in {place}, but in {named:?}");
    }
    assert_eq!(found, BTreeMap::new());
}

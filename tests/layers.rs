//! The house's floors: a module names only modules below it, and no files name each other in a circle.
//!
//! The test reads the text of `src`, without its tests. The keeper is a program of its own. A folder's parts may use
//! the definitions of the folder's own file. There are no other exceptions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// From the roof to the ground. Modules of one floor do not know each other.
const FLOORS: [&[&str]; 13] = [
    &["backup", "kubernetes", "main", "manager"],
    &["commands"],
    &["chaos", "doctor", "offer", "validate"],
    &["cli"],
    &["backend", "clients", "exam", "help"],
    &["bake"],
    &["dind"],
    &["signatures"],
    &["dock", "history", "logging", "secrets", "session"],
    &["config"],
    &["catalogue", "docker_cli", "observe", "runner"],
    &["rpc", "values"],
    &["failure", "human", "regular"],
];

/// Programs of their own, and the list of the modules.
const APART: [&str; 6] = ["build", "keeper", "keyring", "lib", "pod_keeper", "verifier"];

/// A place where one file names another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Naming {
    from: String,
    line: usize,
    to: String,
}

fn top(file: &str) -> &str {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    path.split('/').next().unwrap_or(path)
}

fn floor(file: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&top(file)))
}

/// The code of a file: no comments, no tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Every path in a `use` tree, `a::{b, c::d}` taken apart.
fn paths(tree: &str) -> Vec<String> {
    let Some((before, rest)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap_or_default().trim().to_owned()];
    };
    let inside = rest.rsplit_once('}').map_or(rest, |(inside, _)| inside);
    let (mut depth, mut items) = (0, vec![String::new()]);
    for char in inside.chars() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(item) = items.last_mut() {
            item.push(char);
        }
    }
    let items = items.iter().filter(|item| !item.trim().is_empty());
    items.flat_map(|item| paths(&format!("{}{}", before.trim(), item.trim()))).collect()
}

/// The file that `path`, written in `file`, leads to: where the name itself is defined, if a folder's face hands it on.
fn target(file: &str, path: &str, files: &BTreeMap<String, String>) -> Option<String> {
    let here: Vec<&str> = file.trim_start_matches("src/").trim_end_matches(".rs").split('/').collect();
    let mut parts: Vec<&str> = path.split("::").map(str::trim).collect();
    let mut base = here.clone();
    match *parts.first()? {
        // These are crates of their own.
        "crate" if ["backup", "kubernetes", "manager"].contains(&top(file)) => {
            base.truncate(1);
            parts.remove(0);
        }
        "crate" | "mcp_berth" => {
            base.clear();
            parts.remove(0);
        }
        "self" => _ = parts.remove(0),
        "super" => {
            while parts.first() == Some(&"super") {
                base.pop();
                parts.remove(0);
            }
        }
        // A child of this very module, or somebody else's crate.
        child => files.contains_key(&format!("src/{}/{child}.rs", here.join("/"))).then_some(())?,
    }
    base.extend(parts);
    let name = |length: usize| format!("src/{}.rs", base[..length].join("/"));
    let length = (1..=base.len()).rev().find(|length| files.contains_key(&name(*length)))?;
    let face = name(length);
    let handed_on = base.get(length).and_then(|item| {
        let code = code(&files[&face]);
        let uses = code.split("use ").skip(1).filter_map(|rest| rest.split_once(';'));
        let mut handed_on =
            uses.flat_map(|(tree, _)| paths(tree)).filter(|path| path.ends_with(&format!("::{item}")));
        handed_on.find_map(|path| {
            let child = path.split("::").next()?.to_owned();
            files.contains_key(&format!("{}/{child}.rs", face.trim_end_matches(".rs"))).then_some(path)
        })
    });
    match handed_on {
        Some(path) => target(&face, &path, files),
        None => Some(face),
    }
}

/// A folder's parts may use what its face defines: that is no circle between folders.
fn is_its_face(to: &str, from: &str) -> bool {
    from.starts_with(&format!("{}/", to.trim_end_matches(".rs")))
}

fn namings(files: &BTreeMap<String, String>) -> BTreeSet<Naming> {
    let mut namings = BTreeSet::new();
    for (file, text) in files {
        let code = code(text);
        let mut found: Vec<(usize, String)> = Vec::new();
        for (at, _) in code.match_indices("use ") {
            let starts = code[..at].chars().next_back().is_none_or(char::is_whitespace);
            if let Some((tree, _)) = code[at + 4..].split_once(';').filter(|_| starts) {
                found.extend(paths(tree).into_iter().map(|path| (at, path)));
            }
        }
        for word in ["crate::", "super::"] {
            for (at, _) in code.match_indices(word) {
                let path: String = code[at..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':'))
                    .collect();
                found.push((at, path.trim_end_matches(':').to_owned()));
            }
        }
        // A visibility names nobody.
        found.retain(|(at, _)| !code[..*at].ends_with("(in "));
        for (at, path) in found {
            if let Some(to) = target(file, &path, files).filter(|to| to != file) {
                let line = code[..at].matches('\n').count() + 1;
                namings.insert(Naming { from: file.clone(), line, to });
            }
        }
    }
    namings
}

/// The files that are named, through others, by what they name.
fn circle<'a>(start: &'a str, namings: &'a BTreeSet<Naming>) -> Option<Vec<&'a Naming>> {
    let mut ways: Vec<Vec<&Naming>> =
        namings.iter().filter(|naming| naming.from == start).map(|first| vec![first]).collect();
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        let here = &way.last()?.to;
        if here == start {
            return Some(way);
        }
        if seen.insert(here.as_str()) {
            ways.extend(namings.iter().filter(|naming| naming.from == *here).map(|next| {
                let mut way = way.clone();
                way.push(next);
                way
            }));
        }
    }
    None
}

fn faults(files: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    let inside: BTreeMap<_, _> = files
        .iter()
        .filter(|(file, _)| !APART.contains(&top(file)))
        .map(|(file, text)| (file.clone(), text.clone()))
        .collect();
    faults.extend(
        inside.keys().filter(|file| floor(file).is_none()).map(|file| format!("{file} has no floor")),
    );
    let namings = namings(&inside);
    for Naming { from, line, to } in &namings {
        if top(from) != top(to) && floor(to) <= floor(from) {
            faults.push(format!("{from}:{line} names {to}, which does not stand below it"));
        }
    }
    let namings = namings.into_iter().filter(|naming| !is_its_face(&naming.to, &naming.from)).collect();
    let mut told = BTreeSet::new();
    for file in inside.keys().filter(|file| file.as_str() != "src/main.rs") {
        if told.contains(file.as_str()) {
            continue;
        }
        if let Some(way) = circle(file, &namings) {
            told.extend(way.iter().map(|naming| naming.from.as_str()));
            let steps: Vec<String> =
                way.iter().map(|step| format!("{}:{} -> {}", step.from, step.line, step.to)).collect();
            faults.push(format!("a circle: {}", steps.join(", ")));
        }
    }
    faults
}

fn read(folder: &Path, files: &mut BTreeMap<String, String>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_of_tests = path.file_stem().is_some_and(|name| name == "tests");
        if path.is_dir() && !is_of_tests {
            read(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_of_tests {
            let file = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&path);
            files.insert(file.to_string_lossy().into_owned(), fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

#[test]
fn nobody_names_what_stands_above_and_there_are_no_circles() {
    let mut files = BTreeMap::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files).unwrap();
    assert!(namings(&files).len() > 500, "the imports are not found any more");
    for module in FLOORS.iter().flat_map(|floor| floor.iter()) {
        assert!(
            files.contains_key(&format!("src/{module}.rs"))
                || files.contains_key(&format!("src/{module}/main.rs")),
            "there is no `{module}`: take it off its floor"
        );
    }
    let faults = faults(&files);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

fn house(files: &[(&str, &str)]) -> Vec<String> {
    faults(&files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect())
}

#[test]
fn what_runs_upwards_is_found_with_its_line() {
    let docker = ("src/dock.rs", "pub struct Lease;\n");
    let up = "//! Doc.\n\nuse crate::{\n    dock::Lease,\n};\n";
    assert_eq!(
        house(&[docker, ("src/session.rs", up)]),
        ["src/session.rs:3 names src/dock.rs, which does not stand below it"]
    );
    let inline = "fn f() {\n    crate::dock::f();\n}\n";
    assert_eq!(
        house(&[docker, ("src/rpc.rs", "mod scan;\n"), ("src/rpc/scan.rs", inline)]),
        ["src/rpc/scan.rs:2 names src/dock.rs, which does not stand below it"]
    );
    assert_eq!(house(&[docker, ("src/dind.rs", up)]), [""; 0]);
    let in_tests = format!("// crate::dock\n#[cfg(test)]\nmod tests {{\n    {up}}}\n");
    assert_eq!(house(&[docker, ("src/rpc.rs", &in_tests)]), [""; 0], "tests may look at whatever they want");
    assert_eq!(house(&[("src/attic.rs", "")]), ["src/attic.rs has no floor"]);
    let down = ("src/manager/run.rs", "use crate::index::Index;\nuse mcp_berth::dock::Lease;\n");
    let index = ("src/manager/index.rs", "");
    assert_eq!(house(&[docker, down, index]), [""; 0], "the manager's `crate` is its own");
    let manager = house(&[("src/manager/run.rs", ""), ("src/commands.rs", "use crate::manager::run;\n")]);
    assert_eq!(
        manager,
        ["src/commands.rs:1 names src/manager/run.rs, which does not stand below it"],
        "no session is to carry it"
    );
}

#[test]
fn a_circle_is_found_with_its_lines() {
    let found = house(&[
        ("src/dock.rs", "mod a;\nmod b;\nuse a::A;\n"),
        ("src/dock/a.rs", "use super::b::B;\n"),
        ("src/dock/b.rs", "use std::io;\nuse super::A;\nuse super::c;\n"),
    ]);
    assert_eq!(found.len(), 1, "{found:?}");
    for step in ["src/dock/a.rs:1 -> src/dock/b.rs", "src/dock/b.rs:2 -> src/dock/a.rs"] {
        assert!(found[0].contains(step), "{step} in {found:?}");
    }
}

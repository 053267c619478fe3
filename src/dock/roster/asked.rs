//! Which sessions a person means by a word: a container, a session, a client's session, a process, a project.

use std::path::{Component, Path, PathBuf};

use super::Entry;
use crate::dock::owner::{self, Parent};

/// Of a container's id as people write it.
const SHORTEST_ID: usize = 12;

/// A word, and all that it may mean.
#[derive(Debug, Clone)]
pub struct Asked {
    word: String,
    client_session: Option<String>,
    parent: Option<Parent>,
    project: Option<String>,
}

impl Asked {
    /// `folder` is where a relative path begins.
    pub fn new(word: &str, folder: &Path) -> Self {
        let is_path = word.contains('/') || [".", ".."].contains(&word);
        let project = is_path.then(|| resolved(&folder.join(word)));
        Self {
            word: word.to_owned(),
            client_session: owner::id(word),
            parent: word.parse().ok().map(Parent::here),
            project: project.and_then(|project| owner::folder(&project.to_string_lossy())),
        }
    }

    /// The entries that are meant. The first meaning that fits any of them is the word's; what is on standby has no session.
    pub fn among(&self, mut entries: Vec<Entry>) -> Vec<Entry> {
        let meanings = [Self::is_name, Self::is_client_session, Self::is_parent, Self::is_project];
        let meant = meanings.into_iter().find(|fits| entries.iter().any(|entry| fits(self, entry)));
        entries.retain(|entry| meant.is_some_and(|fits| fits(self, entry)));
        entries
    }

    /// A container's name or id, or berth's own id of a session.
    fn is_name(&self, entry: &Entry) -> bool {
        let is_id = self.word.len() >= SHORTEST_ID && entry.id.starts_with(&self.word);
        let is_session = !entry.owner.session.is_empty() && entry.owner.session == self.word;
        entry.name == self.word || is_session || is_id
    }

    fn is_client_session(&self, entry: &Entry) -> bool {
        self.client_session.is_some() && entry.owner.client_session == self.client_session
    }

    fn is_parent(&self, entry: &Entry) -> bool {
        // A machine without a name may be any.
        let is_known = self.parent.as_ref().is_some_and(|parent| !parent.machine.is_empty());
        is_known && entry.owner.parent == self.parent
    }

    /// Whether these are meant by a number alone, which another process may have had before.
    pub fn is_by_process(&self, entries: &[Entry]) -> bool {
        entries
            .iter()
            .any(|entry| self.is_parent(entry) && !self.is_name(entry) && !self.is_client_session(entry))
    }

    fn is_project(&self, entry: &Entry) -> bool {
        self.project.is_some() && entry.owner.project == self.project
    }
}

/// A path without `.`, `..` and what stands behind its last folder; links are not followed.
fn resolved(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(resolved.pop()),
            Component::CurDir => {}
            other => resolved.push(other),
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::dock::owner::Owner;
    use crate::values::Isolation;

    fn entry(name: &str, owner: Owner) -> Entry {
        Entry {
            id: format!("{name:0<64}").replace(['m', 'p', '-'], "f"),
            name: name.to_owned(),
            client: String::new(),
            server: String::new(),
            owner,
            way: None,
            isolation: Isolation::Container,
            spec: String::new(),
            user: String::new(),
            state: State::Active,
            running: true,
            created: 0,
            list: None,
            place: None,
        }
    }

    fn meant(word: &str) -> Vec<String> {
        let of = |session: &str, client: Option<&str>, project: &str, pid: u32| Owner {
            parent: Some(Parent::here(pid)),
            ..Owner::new(session, client, Some(project))
        };
        let mut elsewhere = of("aa6", None, "/b", 4711);
        elsewhere.parent = elsewhere.parent.map(|parent| Parent { machine: "another".into(), ..parent });
        let entries = vec![
            entry("mcp-a-1", of("aa1", Some("0199"), "/home/me/a", 4711)),
            entry("mcp-a-2", of("aa2", Some("0199"), "/home/me/a/b", 4711)),
            // A client that calls its session as another's container is called.
            entry("mcp-a-3", of("aa3", Some("mcp-a-1"), "/home/me/a", 8)),
            entry("mcp-a-4", of("4711", Some("8"), "/c", 9)),
            entry("mcp-a-5.standby", Owner::default()),
            entry("mcp-a-6", elsewhere),
        ];
        let asked = Asked::new(word, Path::new("/home/me"));
        asked.among(entries).into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn a_container_or_a_session_is_one_and_goes_before_all_else() {
        assert_eq!(meant("mcp-a-1"), ["mcp-a-1"]);
        assert_eq!(meant("aa2"), ["mcp-a-2"]);
        assert_eq!(meant("4711"), ["mcp-a-4"], "a session's id, though it is a process's, too");
        assert_eq!(meant("mcp-a-5.standby"), ["mcp-a-5.standby"]);
        let id = entry("mcp-a-2", Owner::default()).id;
        assert_eq!((meant(&id), meant(&id[..12])), (vec!["mcp-a-2".to_owned()], vec!["mcp-a-2".to_owned()]));
        assert_eq!(meant(&id[..11]), [""; 0], "too short");
    }

    #[test]
    fn a_clients_session_a_process_and_a_project_are_all_that_belong_to_it() {
        assert_eq!(meant("0199"), ["mcp-a-1", "mcp-a-2"]);
        assert_eq!(meant("8"), ["mcp-a-4"], "a client's session goes before a process");
        assert_eq!(meant("9"), ["mcp-a-4"], "this machine's");
        for folder in ["/home/me/a", "/home/me/a/", "./a", "a/", "../me/a/./b/.."] {
            assert_eq!(meant(folder), ["mcp-a-1", "mcp-a-3"], "{folder}");
        }
        assert_eq!(meant("a/b"), ["mcp-a-2"]);
        assert_eq!(meant("."), [""; 0], "a folder of a project is the project itself alone");
        for nobody in ["a", "", "10", "/", "0"] {
            assert_eq!(meant(nobody), [""; 0], "{nobody}");
        }
    }

    #[test]
    fn a_process_of_another_machine_is_another() {
        let here = entry("mcp-a-1", Owner { parent: Some(Parent::here(5)), ..Owner::default() });
        let mut there = here.clone();
        there.owner.parent = Some(Parent { pid: 5, machine: "another".to_owned() });
        assert_eq!(Asked::new("5", Path::new("/")).among(vec![here, there]).len(), 1);
    }
}

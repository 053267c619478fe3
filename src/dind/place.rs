//! Where berth runs, seen from the engine: on its machine, in one of its containers, or elsewhere. Also the note of
//! what `berth up` has found out about that place.
//!
//! The note lies beside the certificates and counts for one container or one machine only. So several of them can share
//! the folder, and none is misled. A lost note costs one `berth up`.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::certs::{self, CertError};
use crate::config::{Apart, Config, Dind, Home};
use crate::dock::docker::Engine;
use crate::dock::labels::machine;

const NOTE: &str = "place.json";
/// Fewer digits of a container's id could be a word.
const SHORTEST_ID: usize = 12;

/// What is true at one place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// A container's id, or the name of a machine.
    place: String,
    /// The engine's address.
    engine: String,
    /// How the daemon is reached, where it is not by the address of the configuration.
    way: Option<Way>,
    /// Folders of `share` that the engine does not have, or has others in the place of.
    #[serde(default)]
    unseen: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Way {
    /// The address of the configuration: with another one, this is no longer true.
    instead_of: String,
    address: String,
}

impl Note {
    /// The note, if it is of this place.
    fn here(home: &Home) -> Option<Self> {
        let text = std::fs::read_to_string(note(home)).ok()?;
        let note: Self = serde_json::from_str(&text).ok()?;
        is_here(&note.place, &names()).then_some(note)
    }

    /// Writes it, or removes it where it says nothing.
    fn keep(&self, home: &Home) -> Result<(), CertError> {
        if self.way.is_none() && self.unseen.is_empty() {
            forget(home);
            return Ok(());
        }
        let text = serde_json::to_vec(self).unwrap_or_default();
        certs::files::write(&note(home), &text)
    }
}

/// Where the note lies, if there is one.
pub fn note(home: &Home) -> PathBuf {
    home.certs.join(NOTE)
}

/// There is no daemon any more of which something could be known.
pub(super) fn forget(home: &Home) {
    drop(std::fs::remove_file(note(home)));
}

/// Has the configuration know what was found out about the engine's files.
pub fn recall(config: &mut Config, home: &Home) {
    let Some(note) = Note::here(home) else { return };
    let contained = is_id(&note.place);
    let (engine, unseen) = (note.engine, note.unseen);
    config.dind.share = std::mem::take(&mut config.dind.share).apart(Apart { engine, unseen, contained });
}

/// The address by which the daemon of the configuration is reached here, where it is another.
pub(super) fn address(dind: &Dind, home: &Home) -> Option<String> {
    if dind.host.is_some() {
        return None;
    }
    let way = Note::here(home)?.way?;
    (way.instead_of == dind.daemon(home).address).then_some(way.address)
}

/// Notes that the engine has whatever is shared.
pub(super) fn note_seen(home: &Home) -> Result<(), CertError> {
    match Note::here(home) {
        Some(note) => Note { unseen: Vec::new(), ..note }.keep(home),
        None => Ok(()),
    }
}

/// A place that was found out: whose id or name it is, and which engine it is seen from.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The container that berth runs in, if it is one of the engine's.
    pub(super) container: Option<String>,
    engine: String,
}

impl Place {
    /// Asks `engine` whether berth runs in a container of its own.
    pub(super) async fn find(engine: &Engine, home: &Home) -> Self {
        Self { container: container(engine, home).await, engine: engine.endpoint().to_string() }
    }

    /// Notes that the daemon is reached at `address`, or as the configuration has it.
    pub(super) fn note_way(&self, dind: &Dind, home: &Home, address: Option<&str>) -> Result<(), CertError> {
        let instead_of = dind.daemon(home).address;
        let way = address.map(|address| Way { instead_of, address: address.to_owned() });
        Note { way, ..self.note(home) }.keep(home)
    }

    /// Notes which shared folders the engine does not have.
    pub(super) fn note_unseen(&self, home: &Home, unseen: Vec<PathBuf>) -> Result<(), CertError> {
        Note { unseen, ..self.note(home) }.keep(home)
    }

    fn note(&self, home: &Home) -> Note {
        let place = self.container.clone().unwrap_or_else(machine);
        let known = Note::here(home).filter(|note| note.place == place).unwrap_or_default();
        Note { place, engine: self.engine.clone(), ..known }
    }

    /// What the engine's files are not, for a configuration's message.
    pub(super) fn apart(&self, unseen: Vec<PathBuf>) -> Apart {
        Apart { engine: self.engine.clone(), unseen, contained: self.container.is_some() }
    }
}

/// The id of the container of `engine` that berth runs in. Its names are hints that anybody may have; what proves it is
/// a file that berth makes for the purpose and that the engine finds in that container.
async fn container(engine: &Engine, home: &Home) -> Option<String> {
    let mut proofs: Option<Vec<Proof>> = None;
    for name in names() {
        let Ok(Ok(Some(found))) = within(engine.inspect(&name)).await else { continue };
        for proof in proofs.get_or_insert_with(|| Proof::of(home)) {
            if let Ok(Ok(true)) = within(engine.has_path(&found.id, &proof.0.to_string_lossy())).await {
                return Some(found.id);
            }
        }
    }
    None
}

async fn within<T>(question: impl Future<Output = T>) -> Result<T, tokio::time::error::Elapsed> {
    tokio::time::timeout(super::ANSWER_WITHIN, question).await
}

/// An empty file of a name that no other has; gone when it is dropped.
struct Proof(PathBuf);

impl Proof {
    /// Several, since a file system in memory is out of an engine's sight.
    fn of(home: &Home) -> Vec<Self> {
        [home.state.clone(), std::env::temp_dir()].iter().filter_map(|folder| Self::make(folder)).collect()
    }

    fn make(folder: &Path) -> Option<Self> {
        let unique = format!(".berth-{}-{}", std::process::id(), Timestamp::now().as_nanosecond());
        let path = folder.join(unique);
        std::fs::File::create_new(&path).ok()?;
        Some(Self(path))
    }
}

impl Drop for Proof {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// What the container may be called that this process is in.
fn names() -> Vec<String> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    names_in(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"), &machine())
}

fn names_in(mounts: &str, groups: &str, hostname: &str) -> Vec<String> {
    // Docker mounts these three from the container's own folder; other mounts may be of other containers.
    let own = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, target) = (fields.next()?, fields.next()?);
        own.contains(&target).then_some(root)
    });
    let words =
        mounted.chain(groups.lines()).flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric()));
    let mut names: Vec<String> = Vec::new();
    for name in words.filter(|word| word.len() == 64 && is_id(word)).chain([hostname]) {
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Whether one of the `names` of where this process is means `place`.
fn is_here(place: &str, names: &[String]) -> bool {
    names
        .iter()
        .any(|name| name == place || (is_id(name) && is_id(place) && place.starts_with(name.as_str())))
}

fn is_id(name: &str) -> bool {
    name.len() >= SHORTEST_ID && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "2eea6aa9a1789c8910045297d5839514727d12e2bdca5189dbb6ad48e6bce6d0";
    const OTHER: &str = "d57fc99f1b867cd3ac9eb3ca5aa053409196406e0ef7dbdcf9a8f913f02f9d10";

    fn home(folder: &Path) -> Home {
        let lookup = |name: &str| (name == "BERTH_HOME").then(|| folder.to_str().unwrap().to_owned());
        std::fs::create_dir_all(folder.join("certs")).unwrap();
        Home::from_env(&lookup).unwrap()
    }

    fn here() -> Place {
        Place { container: None, engine: "unix:///s".to_owned() }
    }

    #[test]
    fn a_container_is_named_by_its_own_mounts_its_group_and_its_host_name() {
        let mounts = format!(
            "91 74 254:0 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw - ext4 /dev/vda rw\n\
             92 74 254:0 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/vda rw\n\
             93 74 0:50 /containers/{OTHER}/mounts/shm /var/lib/docker/containers/{OTHER}/mounts/shm rw - tmpfs shm rw\n"
        );
        assert_eq!(names_in(&mounts, "0::/\n", "box"), [ID, "box"], "another's memory is not its own");
        let groups = format!("1:name=systemd:/docker/{ID}\n0::/system.slice/docker-{OTHER}.scope\n");
        assert_eq!(names_in("", &groups, &ID[..12]), [ID, OTHER, &ID[..12]]);
        assert_eq!(names_in("22 1 254:1 / / rw - ext4 /dev/vda1 rw\n", "0::/init.scope\n", "box"), ["box"]);
    }

    #[test]
    fn a_place_is_known_by_any_of_its_names_and_no_other_is() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(is_here(ID, &names(&[ID])) && is_here(ID, &names(&["x", &ID[..12]])));
        assert!(is_here("box", &names(&["box"])));
        for stranger in [&names(&[OTHER, "box"]), &names(&[&ID[..8]]), &names(&[""]), &names(&[])] {
            assert!(!is_here(ID, stranger), "{stranger:?}");
        }
        assert!(!is_here("box2", &names(&["box"])));
    }

    #[test]
    fn a_note_holds_for_its_address_and_its_place_until_it_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (home, dind) = (home(folder.path()), Dind::default());
        assert_eq!(address(&dind, &home), None);
        here().note_way(&dind, &home, Some("tcp://berth-dind:2376")).unwrap();
        assert_eq!(address(&dind, &home).as_deref(), Some("tcp://berth-dind:2376"));
        assert_eq!(address(&Dind { port: 1, ..dind.clone() }, &home), None, "it stands for another address");
        assert_eq!(address(&Dind { host: Some("unix:///d".to_owned()), ..dind.clone() }, &home), None);

        let elsewhere = Place { container: Some(ID.to_owned()), ..here() };
        elsewhere.note_unseen(&home, vec!["/work".into()]).unwrap();
        assert_eq!(address(&dind, &home), None, "it is another place's now");

        here().note_way(&dind, &home, Some("tcp://berth-dind:2376")).unwrap();
        here().note_unseen(&home, vec!["/work".into()]).unwrap();
        here().note_way(&dind, &home, None).unwrap();
        assert!(note(&home).exists(), "there is still something to say");
        here().note_unseen(&home, Vec::new()).unwrap();
        assert!(!note(&home).exists());
    }

    #[test]
    fn a_note_that_is_broken_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let home = home(folder.path());
        for text in ["", "{}", "[1]", "\0"] {
            std::fs::write(note(&home), text).unwrap();
            assert_eq!(address(&Dind::default(), &home), None, "{text:?}");
        }
    }
}

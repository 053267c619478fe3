//! `volumes`: a server's memory from session to session, kept in the daemon.

use super::error::{ConfigError, Place};
use super::mount::target_path;
use super::reader::Section;
use crate::values::is_server_name;
use crate::values::{Value, ValueError, from_str};

from_str!(Volume);

/// A volume of a server's. As a flag the same text: `NAME:TARGET[:OPTION,…]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of its own behind the volume")]
pub struct Volume {
    /// As the person calls it; what the daemon calls it, `dock::volume` says.
    pub name: String,
    pub target: String,
    pub writable: bool,
    /// All kinds of clients have one and the same.
    pub shared: bool,
    /// Several sessions may write at once.
    pub concurrent: bool,
    /// Of a cluster: the claim of this name, which somebody else has made.
    pub claim: bool,
    pub(super) place: Option<Place>,
}

impl Value for Volume {
    const EXPECTED: &'static str = "a volume such as \"memory:/data\", with \":ro\", \":shared\", \":concurrent\", \":claim\" or several of these behind it";

    fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (name, target, options) = (parts.next()?, target_path(parts.next()?)?, parts.next());
        if !is_server_name(name) || parts.next().is_some() {
            return None;
        }
        let mut volume = Self {
            name: name.to_owned(),
            target,
            writable: true,
            shared: false,
            concurrent: false,
            claim: false,
            place: None,
        };
        for option in options.into_iter().flat_map(|options| options.split(',')) {
            match option {
                "ro" => volume.writable = false,
                "rw" => volume.writable = true,
                "shared" => volume.shared = true,
                "concurrent" => volume.concurrent = true,
                "claim" => volume.claim = true,
                _ => return None,
            }
        }
        Some(volume)
    }
}

pub(super) fn read_volumes(
    section: &mut Section,
    key: &'static str,
) -> Result<Option<Vec<Volume>>, ConfigError> {
    let Some(item) = section.take_item(key) else { return Ok(None) };
    let mut volumes: Vec<Volume> = item.list()?;
    for volume in &mut volumes {
        volume.place = Some(item.place());
    }
    Ok(Some(volumes))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Config, Home, Overrides};
    use super::*;

    fn parse(keys: &str) -> Result<Config, ConfigError> {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let text = format!("[defaults]\nvolumes = [\"all:/all\"]\n[servers.a]\nimage = \"i\"\n{keys}\n");
        Config::parse(&text, Path::new("berth.toml"), &home)
    }

    fn error(keys: &str) -> String {
        parse(keys).unwrap_err().to_string()
    }

    #[test]
    fn a_volume_is_ones_own_and_written_unless_it_is_said() {
        let read = |text: &str| {
            let volume = text.parse::<Volume>().unwrap();
            assert!(!volume.concurrent, "{text}");
            (volume.name, volume.target, volume.writable, volume.shared)
        };
        let expected = |writable, shared| ("memory".to_owned(), "/data".to_owned(), writable, shared);
        assert_eq!(read("memory:/data"), expected(true, false));
        assert_eq!(read("memory:/data/:rw"), expected(true, false));
        assert_eq!(read("memory:/data:ro"), expected(false, false));
        assert_eq!(read("memory:/data:shared"), expected(true, true));
        assert_eq!(read("memory:/data:shared,ro"), expected(false, true));
        let many: Volume = "memory:/data:shared,concurrent".parse().unwrap();
        assert!(many.writable && many.shared && many.concurrent && !many.claim);
        assert!("work:/work:claim".parse::<Volume>().unwrap().claim);
        for wrong in [
            "",
            "memory",
            "memory:data",
            ":/data",
            "a b:/data",
            "../x:/data",
            "/host:/data",
            "m:/d:",
            "m:/d:x",
            "m:/d:ro:rw",
            "m:/d/../e",
        ] {
            let said = wrong.parse::<Volume>().unwrap_err().to_string();
            assert!(said.starts_with("expected a volume such as \"memory:/data\""), "{wrong}: {said}");
        }
        let said = error("volumes = [\"~/x:/data\"]");
        assert!(said.starts_with("berth.toml:5: each of `volumes` must be a volume such as"), "{said}");
    }

    #[test]
    fn a_server_with_volumes_waits_for_nobody() {
        use crate::values::Standby;

        let config = parse("volumes = [\"memory:/data\"]\nstandby = 3").unwrap();
        let mut server = config.server("a").unwrap().clone();
        server.settle((1, 1), true);
        assert_eq!((server.settings.standby, server.settings.user), (Standby::NONE, None));
        let said = error("prestart = true");
        let expected = "berth.toml:2: server `a` cannot be prestarted: its volume `all` allows one session at a time; \
                        set `prestart = false` for this server";
        assert_eq!(said, expected);
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let keys = "volumes = [\"notes:/n:concurrent\", \"seen:/s:ro\"]\nprestart = true";
        let text = format!("[servers.a]\nimage = \"i\"\n{keys}\n");
        let said = Config::parse(&text, Path::new("berth.toml"), &home).unwrap_err().to_string();
        assert!(
            said.contains("cannot be prestarted: its volume `notes` is mounted for a session alone"),
            "{said}"
        );
    }

    #[test]
    fn volumes_and_mounts_are_each_in_a_place_of_their_own() {
        let said = error("volumes = [\"memory:/data\"]\nmounts = [\"/x:/data/x\"]");
        assert!(said.contains("at `/data/x`: it overlaps `/data`"), "{said}");
        let said = error("volumes = [\"memory:/.berth\"]");
        assert!(said.contains("berth.toml:5: server `a` cannot have a mount at `/.berth`"), "{said}");
        let said = error("volumes = [\"all:/data:shared\"]");
        assert!(said.contains("server `a` has the volume `all` twice; remove one of them"), "{said}");
    }

    #[test]
    fn layers_add_their_volumes_target_by_target() {
        let names = |keys: &str, flag: &str| {
            let over = Overrides::default().with("volumes", &[flag]);
            let server = parse(keys).unwrap().server("a").unwrap().with_overrides(&over);
            server.settings.volumes.into_iter().map(|volume| volume.name).collect::<Vec<_>>()
        };
        assert_eq!(names("volumes = [\"own:/own\"]", "flag:/flag"), ["all", "own", "flag"]);
        assert_eq!(names("volumes = [\"own:/all\"]", "flag:/flag"), ["own", "flag"]);
        assert_eq!(names("volumes = []", "flag:/flag"), ["flag"]);
    }
}

//! A backup that somebody else made, on a machine that has nothing yet, and on one that has.

use super::*;
use crate::file::{Content, write};
use crate::manifest::Manifest;
use mcp_berth::human::hex;
use sha2::{Digest, Sha256};

/// A machine, and a backup of parts that are given as text.
struct Machine {
    folder: tempfile::TempDir,
    home: Home,
    /// The configuration's file.
    target: PathBuf,
    args: RestoreArgs,
}

impl Machine {
    fn new(parts: &[(Kind, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("home").to_str().unwrap().to_owned();
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| at.clone())).unwrap();
        let file = folder.path().join("backup");
        let (parts, mut contents): (Vec<_>, Vec<_>) = parts
            .iter()
            .map(|(kind, text)| {
                let sha256 = hex(&Sha256::digest(text));
                let (path, size) = (kind.path().unwrap(), text.len() as u64);
                (Part { path, size, sha256, kind: kind.clone() }, Content::Bytes(text.as_bytes().to_vec()))
            })
            .unzip();
        write(&file, &Manifest::new(parts), &mut contents).unwrap();
        let args = RestoreArgs { file, identity: None, dry_run: false, force: false };
        Self { folder, target: home.config_file.clone(), home, args }
    }

    fn restore(&self) -> Restore<'_> {
        let backup = Arc::new(Checked::read(&self.args.file).unwrap());
        let (args, home, target) = (&self.args, &self.home, self.target.clone());
        let (report, is_own) = (Report::of(args.dry_run), is_own(folder_of(&target), home));
        Restore { args, home, target, backup, report, trust: Trust::Own, is_own }
    }

    fn has(&self, text: &str) {
        put(&self.home.config_file, text.as_bytes()).unwrap();
    }
}

#[test]
fn secrets_lie_where_a_persons_own_configuration_has_them_and_below_the_folder_of_a_backups() {
    let victims = tempfile::tempdir().unwrap();
    let victim = victims.path().join("authorized_keys");
    let name = victim.to_str().unwrap();
    let hostile =
        format!("[servers.a]\nimage = \"i\"\nenv_file = [\"{name}\", \"a.env\", \"state/token\"]\n");
    let machine = || Machine::new(&[(Kind::Configuration, &hostile)]);
    let given = |restore: &mut Restore<'_>| {
        let config = restore.configuration(None).unwrap();
        let files = [name, "./a.env", "./state/token"].map(|name| (name.to_owned(), "A=1".to_owned()));
        let secrets = Secrets { configuration: None, files: files.into() };
        restore.secret_files(secrets, &config).unwrap();
        let own = restore.home.config_file.with_file_name("a.env");
        assert_eq!(std::fs::read_to_string(own).unwrap(), "A=1");
        assert!(Path::new(name).exists() || !restore.home.state.join("token").exists());
        victim.exists()
    };
    let mut new = machine();
    new.args.force = true;
    assert!(!given(&mut new.restore()), "nobody saw where it leads");
    new.args.force = false;
    assert!(!given(&mut new.restore()), "it is the backup's own still");
    new.args.force = true;
    assert!(given(&mut new.restore()), "a person insists");
    std::fs::remove_file(&victim).unwrap();
    let own = machine();
    own.has(&format!("# mine\n{hostile}"));
    assert!(given(&mut own.restore()), "a person named it");
}

#[test]
fn a_folder_that_other_programs_have_files_in_gets_the_configuration_alone() {
    let name = "autostart/a.desktop";
    let hostile = format!("[servers.a]\nimage = \"i\"\nenv_file = [\"{name}\"]\n");
    let folder = tempfile::tempdir().unwrap();
    let put_into = |folder: &Path, force: bool| {
        let mut machine = Machine::new(&[(Kind::Configuration, &hostile)]);
        machine.target = folder.join("x.toml");
        machine.args.force = force;
        let mut restore = machine.restore();
        let config = restore.configuration(None).unwrap();
        let files = [(format!("./{name}"), "A=1".to_owned())];
        restore.secret_files(Secrets { configuration: None, files: files.into() }, &config).unwrap();
        let end = restore.report.end();
        assert!(folder.join("x.toml").exists());
        (folder.join(name).exists(), end.is_ok())
    };
    let own = folder.path().join("own");
    assert_eq!(put_into(&own, false), (true, true), "nobody else has anything there");
    assert_eq!(put_into(&own, false), (true, true), "what is there already stays");
    let shared = folder.path().join("shared");
    std::fs::create_dir_all(shared.join("systemd")).unwrap();
    assert_eq!(put_into(&shared, true), (false, false), "nobody saw where it leads");
    assert_eq!(put_into(&shared, false), (false, false), "a second run is not a person's look");
    assert_eq!(put_into(&shared, true), (true, true), "a person insists");
}

#[test]
fn a_configuration_that_cannot_be_read_is_told_before_volumes_are_left_out() {
    let machine = Machine::new(&[(Kind::Images, "[]")]);
    assert!(machine.restore().configuration(None).is_ok(), "none is as good as an empty one");
    machine.has("[servers.a]\nimagine = 1\n");
    assert!(machine.restore().configuration(None).is_err());
}

#[test]
fn what_a_person_made_of_the_restored_configuration_stays() {
    let mut machine = Machine::new(&[(Kind::Configuration, "# theirs\n")]);
    machine.has("# mine\n");
    let beside = machine.home.config_file.with_file_name("berth.toml.restored");
    let text = || std::fs::read_to_string(&beside).unwrap();
    machine.restore().configuration(None).unwrap();
    assert_eq!(text(), "# theirs\n");
    std::fs::write(&beside, "# edited\n").unwrap();
    machine.restore().configuration(None).unwrap();
    assert_eq!(text(), "# edited\n");
    machine.args.force = true;
    machine.restore().configuration(None).unwrap();
    assert_eq!(text(), "# theirs\n");
    assert!(machine.folder.path().join("home/berth.toml").exists());
}

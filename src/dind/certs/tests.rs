use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

const START: i64 = 1_800_000_000;

fn at(day: i64) -> Timestamp {
    Timestamp::from_second(START + day * 86_400).unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("a/certs")
    }

    fn ensure(&self, host: &str, day: i64) -> Vec<&'static str> {
        ensure(&self.path(), &names(&[host]), at(day)).unwrap()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path().join(name), content).unwrap();
    }

    fn der(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path().join(name)).unwrap()
    }
}

const ALL: [&str; 6] = [CA_KEY, CA, SERVER_KEY, SERVER_CERT, CLIENT_KEY, CLIENT_CERT];

#[test]
fn everything_is_made_once() {
    let folder = Folder::new();
    assert_eq!(folder.ensure("box", 0), ALL);
    assert_eq!(folder.ensure("box", 0), [""; 0]);
    assert_eq!(folder.ensure("box", 334), [""; 0], "31 days are left");
}

#[test]
fn the_last_thirty_days_renew_the_certificates_and_keep_the_keys() {
    let folder = Folder::new();
    folder.ensure("box", 0);
    let (key, serial) = (folder.read(CLIENT_KEY), serial(&folder.der(CLIENT_CERT)));
    assert_eq!(folder.ensure("box", 336), [SERVER_CERT, CLIENT_CERT]);
    assert_eq!(folder.read(CLIENT_KEY), key);
    assert_ne!(serial, self::serial(&folder.der(CLIENT_CERT)));
    assert_eq!(client_days_left(&folder.path(), at(336)), Some(365));
    // Long after, too: the machine was off.
    assert_eq!(folder.ensure("box", 2000), [SERVER_CERT, CLIENT_CERT]);
}

fn serial(cert: &CertificateDer) -> String {
    x509_parser::parse_x509_certificate(cert).unwrap().1.raw_serial_as_string()
}

#[test]
fn an_old_authority_takes_its_certificates_with_it() {
    let folder = Folder::new();
    folder.ensure("box", 0);
    // Signed 100 days before the authority's end: they can't outlive it.
    assert_eq!(folder.ensure("box", 3550), [SERVER_CERT, CLIENT_CERT]);
    assert_eq!(client_days_left(&folder.path(), at(3550)), Some(100));
    let written = folder.ensure("box", 3625);
    assert_eq!(written, [CA_KEY, CA, SERVER_CERT, CLIENT_CERT]);
    assert_eq!(folder.ensure("box", 3625), [""; 0]);
}

#[test]
fn a_clock_set_back_makes_new_ones() {
    let folder = Folder::new();
    folder.ensure("box", 400);
    assert_eq!(folder.ensure("box", 0), [CA_KEY, CA, SERVER_CERT, CLIENT_CERT]);
}

#[test]
fn both_ends_clocks_may_differ() {
    let folder = Folder::new();
    folder.ensure("box", 0);
    let authority = Authority::read(&folder.path(), at(0)).unwrap();
    let early = at(0) - Duration::from_mins(5);
    assert!(authority.accepts(&Role::Client, &folder.read(CLIENT_CERT), &folder.read(CLIENT_KEY), early));
}

#[test]
fn other_names_make_a_new_server_certificate_only() {
    let folder = Folder::new();
    folder.ensure("box", 0);
    assert_eq!(folder.ensure("10.1.2.3", 0), [SERVER_CERT]);
    assert_eq!(folder.ensure("10.1.2.3", 0), [""; 0]);
    assert_eq!(sans(&folder.der(SERVER_CERT)), ["127.0.0.1", "::1", "localhost", "10.1.2.3"]);
}

#[test]
fn a_name_that_no_certificate_can_hold_is_left_out() {
    let folder = Folder::new();
    let long = "x".repeat(64);
    folder.ensure(&long, 0);
    assert_eq!(sans(&folder.der(SERVER_CERT)).len(), 3);
    assert_eq!(folder.ensure(&long, 0), [""; 0]);
    assert_eq!(folder.ensure("under_score.and-dash", 0), [SERVER_CERT]);
    assert_eq!(folder.ensure("under_score.and-dash", 0), [""; 0]);
}

fn sans(cert: &CertificateDer) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let (_, parsed) = x509_parser::parse_x509_certificate(cert).unwrap();
    let san = parsed.subject_alternative_name().unwrap().unwrap();
    let text = |name: &GeneralName| match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(v4) => IpAddr::from(v4).to_string(),
            Err(_) => IpAddr::from(<[u8; 16]>::try_from(*bytes).unwrap()).to_string(),
        },
        other => panic!("{other:?}"),
    };
    san.value.general_names.iter().map(text).collect()
}

#[test]
fn each_certificate_is_for_its_end_alone() {
    let folder = Folder::new();
    folder.ensure("box", 0);
    let usage = |name: &str| {
        let der = folder.der(name);
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        (usage.server_auth, usage.client_auth)
    };
    assert_eq!(usage(SERVER_CERT), (true, false));
    assert_eq!(usage(CLIENT_CERT), (false, true));
    let authority = Authority::read(&folder.path(), at(0)).unwrap();
    assert!(!authority.accepts(&Role::Client, &folder.read(SERVER_CERT), &folder.read(SERVER_KEY), at(0)));
    let host = names(&["box"]);
    let server = Role::Server(&host);
    assert!(authority.accepts(&server, &folder.read(SERVER_CERT), &folder.read(SERVER_KEY), at(0)));
    assert!(!authority.accepts(&server, &folder.read(CLIENT_CERT), &folder.read(CLIENT_KEY), at(0)));
}

#[test]
fn what_is_broken_or_gone_is_made_again() {
    for (broken, expected) in [
        (CA, &[CA_KEY, CA, SERVER_CERT, CLIENT_CERT][..]),
        (CA_KEY, &[CA_KEY, CA, SERVER_CERT, CLIENT_CERT]),
        (SERVER_CERT, &[SERVER_CERT]),
        (SERVER_KEY, &[SERVER_KEY, SERVER_CERT]),
        (CLIENT_CERT, &[CLIENT_CERT]),
        (CLIENT_KEY, &[CLIENT_KEY, CLIENT_CERT]),
    ] {
        let folder = Folder::new();
        folder.ensure("box", 0);
        folder.write(broken, "-----BEGIN CERTIFICATE-----\nAAAA\n");
        assert_eq!(folder.ensure("box", 0), expected, "broken: {broken}");
        fs::remove_file(folder.path().join(broken)).unwrap();
        assert_eq!(folder.ensure("box", 0), expected, "gone: {broken}");
        assert_eq!(folder.ensure("box", 0), [""; 0]);
    }
}

#[test]
fn what_belongs_to_another_is_made_again() {
    let (folder, other) = (Folder::new(), Folder::new());
    folder.ensure("box", 0);
    other.ensure("box", 0);
    folder.write(CLIENT_KEY, &other.read(CLIENT_KEY));
    assert_eq!(folder.ensure("box", 0), [CLIENT_CERT], "a key without its certificate");
    folder.write(CA, &other.read(CA));
    assert_eq!(
        folder.ensure("box", 0),
        [CA_KEY, CA, SERVER_CERT, CLIENT_CERT],
        "a certificate without its key"
    );
    folder.write(SERVER_KEY, &other.read(SERVER_KEY));
    folder.write(SERVER_CERT, &other.read(SERVER_CERT));
    assert_eq!(folder.ensure("box", 0), [SERVER_CERT], "a pair of another authority");
}

#[test]
fn only_the_owner_can_read() {
    let folder = Folder::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    folder.ensure("box", 0);
    let check = || {
        assert_eq!(mode(&folder.path()), 0o700);
        for name in ALL {
            assert_eq!(mode(&folder.path().join(name)), 0o600, "{name}");
        }
    };
    check();
    for name in ALL {
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder.ensure("box", 0);
    check();
}

#[test]
fn nothing_else_is_left_in_the_folder() {
    let folder = Folder::new();
    folder.ensure("box", 0);
    let mut found: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let mut all = ALL;
    all.sort_unstable();
    assert_eq!(found, all);
}

#[test]
fn the_container_gets_the_servers_files_and_never_the_authoritys_key() {
    let folder = Folder::new();
    folder.ensure("box", 0);
    let files = server_files(&folder.path()).unwrap();
    let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
    assert_eq!(names, [CA, SERVER_CERT, SERVER_KEY]);
    assert_eq!(server_certificate(&folder.path()).unwrap(), folder.der(SERVER_CERT));
}

#[test]
fn the_last_month_is_warned_of_and_its_first_day_is_the_first_of_renewal() {
    let folder = Folder::new();
    folder.ensure("box", 0);
    let said = |day| warning("the client's", client_days_left(&folder.path(), at(day)).unwrap());
    assert_eq!(said(335), None, "30 days are left");
    assert_eq!(said(336).unwrap(), "the client's certificate expires in 29 days");
    assert_eq!(said(364).unwrap(), "the client's certificate expires in 1 day");
    assert_eq!(said(365).unwrap(), "the client's certificate expires within a day");
    assert_eq!(said(366), None, "connections fail by now, and say why");
    assert!(!folder.ensure("box", 336).is_empty(), "what is warned of can be renewed");
}

#[test]
fn an_authoritys_fingerprint_is_its_own() {
    let (folder, other) = (Folder::new(), Folder::new());
    assert_eq!(fingerprint(&folder.path()), None);
    folder.ensure("box", 0);
    other.ensure("box", 0);
    let ours = fingerprint(&folder.path()).unwrap();
    assert_eq!(ours.len(), 16);
    assert_ne!(fingerprint(&other.path()).unwrap(), ours);
    folder.ensure("box", 336);
    assert_eq!(fingerprint(&folder.path()).unwrap(), ours, "renewal keeps the authority");
}

#[test]
fn days_are_counted_past_the_end() {
    let folder = Folder::new();
    folder.ensure("box", 0);
    for (day, left) in [(0, 365), (364, 1), (365, 0), (366, -1)] {
        assert_eq!(client_days_left(&folder.path(), at(day)), Some(left));
    }
}

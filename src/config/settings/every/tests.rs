//! Each entry as it is read, and a new entry.

use std::time::Duration;

use super::*;
use crate::values::{BrokenAnswers, Journaling, OnFailure, Pids};

#[test]
fn every_default_is_a_value_of_its_setting() {
    defaults(every_setting()).unwrap();
    assert_ne!(Settings::default(), Settings::blank());
    let memory = |size: &str| Tmpfs { bytes: size.parse::<ByteSize>().unwrap().bytes(), exec: false };
    let tmpfs: BTreeMap<String, Tmpfs> =
        crate::values::DEFAULT_TMPFS.map(|(path, size)| (path.to_owned(), memory(size))).into();
    assert_eq!(Settings::default().tmpfs, tmpfs, "`docker run` lines add to it");
}

#[test]
fn no_key_and_no_option_is_there_twice() {
    for (n, setting) in every_setting().iter().enumerate() {
        for other in &every_setting()[n + 1..] {
            assert_ne!(setting.key, other.key);
            let long = |setting: &Setting| setting.option.map(|option| option.long);
            assert!(long(setting).is_none() || long(setting) != long(other), "{setting:?}");
        }
    }
}

#[test]
fn a_new_entry_is_read_from_the_file() {
    let new =
        Setting::one::<Pids>("sailors", DefaultValue::Value("7"), "most sailors", |settings, sailors| {
            settings.pids = sailors.count();
        });
    let table = [new];
    let mut settings = Settings::default();
    settings.apply(&defaults(&table).unwrap());
    assert_eq!(settings.pids, 7);
    let source = Source::new(Path::new("b.toml"), "sailors = 9\n");
    let mut section = source.root().unwrap();
    settings.apply(&Overrides::read(&mut section, &table).unwrap());
    section.finish().unwrap();
    assert_eq!(settings.pids, 9);
    let source = Source::new(Path::new("b.toml"), "sailors = \"many\"\n");
    let error = Overrides::read(&mut source.root().unwrap(), &table).unwrap_err().to_string();
    assert!(error.starts_with("b.toml:1: `sailors` must be "), "{error}");
}

#[test]
fn the_defaults_are_these() {
    let minutes = Duration::from_mins;
    let expected = Settings {
        network: crate::values::Network::Egress,
        memory: 512 << 20,
        nano_cpus: 1_000_000_000,
        pids: 256,
        tmpfs: BTreeMap::from([("/tmp".to_owned(), Tmpfs { bytes: 256 << 20, exec: false })]),
        no_new_privileges: true,
        max_line: 16 << 20,
        stop_grace: Duration::from_secs(3),
        connect_timeout: Duration::from_secs(10),
        start_timeout: Duration::from_secs(30),
        standby: Standby::fixed(1),
        standby_ttl: minutes(30),
        on_failure: OnFailure::Restart,
        reconnect: Duration::from_secs(15),
        recover_within: minutes(1),
        name_timeout: Duration::from_millis(150),
        answer_timeout: minutes(2),
        broken_answers: BrokenAnswers::Repair,
        journal: Journaling::Calls,
        protect: crate::config::protect::PROTECTED.map(|name| name.parse().unwrap()).into(),
        ..Settings::blank()
    };
    assert_eq!(Settings::default(), expected);
    let blank = Settings::blank();
    assert!(!blank.read_only && !blank.prestart && blank.user.is_none() && blank.call_timeout.is_none());
    assert!(
        blank.tools.is_none() && blank.cap_add.is_empty() && blank.env.is_empty() && blank.mounts.is_empty()
    );
}

#[test]
fn an_option_of_two_values_takes_no_third() {
    let setting =
        Setting::one::<bool>("x", DefaultValue::Words("none"), "x", |settings, x| settings.reserve = x);
    assert_eq!(setting.check("true"), Ok(()));
    assert_eq!(setting.check("false"), Ok(()));
    assert_eq!(setting.check("yes"), Err("expected true or false".to_owned()));
}

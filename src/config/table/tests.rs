//! Each entry as it is read, and a new one.

use super::*;

#[test]
fn every_default_is_a_value_of_its_setting() {
    defaults(settings()).unwrap();
    assert_ne!(Settings::default(), Settings::blank());
    let tmpfs: BTreeMap<String, u64> =
        crate::values::DEFAULT_TMPFS.map(|(path, size)| (path.to_owned(), size)).into();
    assert_eq!(Settings::default().tmpfs, tmpfs, "`docker run` lines add to it");
}

#[test]
fn no_key_and_no_option_is_there_twice() {
    for (n, setting) in settings().iter().enumerate() {
        for other in &settings()[n + 1..] {
            assert_ne!(setting.key, other.key);
            let long = |setting: &Setting| setting.option.map(|option| option.long);
            assert!(long(setting).is_none() || long(setting) != long(other), "{setting:?}");
        }
    }
}

#[test]
fn a_new_entry_is_read_from_the_file() {
    let new = Setting::one::<Pids>("sailors", Otherwise::Value("7"), "most sailors", |settings, sailors| {
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
    assert!(error.starts_with("b.toml:1: `sailors` is "), "{error}");
}

use super::*;

fn within(folder: &Path, names: &[&str]) -> Within {
    Within { missing: names.iter().map(|name| folder.join(name)).collect(), ..Within::default() }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn removed(paths: &[PathBuf]) -> Removed {
    Removed { paths: paths.to_vec(), is_whole: true }
}

fn held() -> Removed {
    Removed { paths: Vec::new(), is_whole: false }
}

fn record(state: &Path, reserved: &Reserved) -> (String, Record) {
    let key = reserved.label();
    let text = fs::read_to_string(state.join(FOLDER).join(&key)).unwrap();
    (key, Record::parse(&text))
}

#[tokio::test]
async fn what_is_removed_is_what_was_made_and_is_empty() {
    let (state, project) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (state, project) = (state.path(), project.path());
    fs::write(project.join("own"), "").unwrap();
    let mut asked = within(project, &[".a", ".b", ".c", ".d"]);
    let one = reserve(state, &mut asked).await.unwrap();
    assert_eq!(names(project), [".a", ".b", ".c", ".d", "own"]);
    // Another session uses the same.
    let two = reserve(state, &mut within(project, &[".a", ".b"])).await.unwrap();
    assert_eq!(one.label(), two.label());
    let (key, record) = record(state, &one);
    assert_eq!(record.made.len(), 4);
    // A person fills one, replaces another, and makes one theirs.
    fs::write(project.join(".b/settings"), "mine").unwrap();
    fs::remove_dir(project.join(".c")).unwrap();
    fs::create_dir(project.join(".c")).unwrap();
    fs::set_permissions(project.join(".d"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(record.remove(&key).unwrap(), held(), "both sessions have it");
    drop((one, two));
    assert_eq!(record.remove(&key).unwrap(), removed(&[project.join(".a")]));
    assert_eq!(names(project), [".b", ".c", ".d", "own"]);
    assert_eq!(fs::metadata(project.join(".b")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(record.remove("another").unwrap(), removed(&[]), "it is another folder");
}

#[tokio::test]
async fn another_home_of_berth_leaves_alone_what_a_session_has() {
    let (state, project) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = tempfile::tempdir().unwrap();
    let one = reserve(state.path(), &mut within(project.path(), &[".a"])).await.unwrap();
    let theirs = reserve(other.path(), &mut within(project.path(), &[".a"])).await.unwrap();
    let ((key, ours), (_, others)) = (record(state.path(), &one), record(other.path(), &theirs));
    drop(one);
    assert_eq!(ours.remove(&key).unwrap(), held());
    assert_eq!(names(project.path()), [".a"]);
    drop(theirs);
    assert_eq!(others.remove(&key).unwrap(), removed(&[project.path().join(".a")]));
}

#[tokio::test]
async fn a_record_stays_while_somebody_has_one_of_its_places() {
    let (state, project) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let session = reserve(state.path(), &mut within(project.path(), &[".a", ".b"])).await.unwrap();
    let (key, path) = (session.label(), state.path().join(FOLDER).join(session.label()));
    // The locks of a process that ends are taken one by one.
    let last = open(CWD, project.path().join(".b")).unwrap();
    last.try_lock_shared().unwrap();
    drop(session);
    let clear = || {
        let (file, mut cleared) = (File::open(&path).unwrap(), Cleared::default());
        clear_one(key.clone(), &path, &file, &mut cleared);
        (cleared.removed, cleared.locked)
    };
    assert_eq!(clear(), (vec![project.path().join(".a")], vec![key.clone()]));
    drop(last);
    assert_eq!(clear(), (vec![project.path().join(".b")], vec![]));
    assert!(!path.exists() && names(project.path()).is_empty());
}

#[test]
fn sessions_that_start_at_once_write_no_line_into_anothers() {
    let (state, project) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let session = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for _ in 0..50 {
            runtime.block_on(reserve(state.path(), &mut within(project.path(), &[".a", ".b"]))).unwrap();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(session);
        }
    });
    let key = key(&fs::metadata(project.path()).unwrap());
    let text = fs::read_to_string(state.path().join(FOLDER).join(&key)).unwrap();
    let (record, folder) = (Record::parse(&text), format!("folder {}", project.path().display()));
    let ours =
        |line: &&str| *line == folder || ["about .a", "about .b"].contains(line) || line.starts_with("made ");
    assert_eq!(text.lines().find(|line| !ours(line)), None);
    assert_eq!(
        record.remove(&key).unwrap(),
        removed(&[project.path().join(".a"), project.path().join(".b")])
    );
}

#[tokio::test]
async fn what_a_person_has_there_is_nobodys_place() {
    let (state, project) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(project.path().join(".a")).unwrap();
    let error = reserve(state.path(), &mut within(project.path(), &[".a"])).await.unwrap_err();
    assert!(matches!(error, ReserveError::Made(_)), "{error}");
    let failed = reserve(state.path(), &mut within(Path::new("/proc"), &[".a"])).await.unwrap_err();
    assert!(failed.to_string().starts_with("cannot make `/proc/.a`"), "{failed}");
}

#[tokio::test]
async fn one_clears_at_a_time() {
    let records = tempfile::tempdir().unwrap();
    let one = alone(records.path()).await.unwrap();
    let mut other = std::pin::pin!(alone(records.path()));
    assert!(tokio::time::timeout(LOOK_EVERY * 5, &mut other).await.is_err());
    drop(one);
    assert!(other.await.is_some());
    assert!(alone(&records.path().join("none")).await.is_none(), "nobody has reserved anything");
}

#[test]
fn a_record_that_was_cut_off_is_read_as_far_as_it_goes() {
    let record = Record::parse("folder /a b\nabout .x\nabout .y\nmade 1 2 960 .x\nmade 1 3");
    assert_eq!(record.folder, Path::new("/a b"));
    assert_eq!(record.about.iter().collect::<Vec<_>>(), [".x", ".y"]);
    assert_eq!(record.made.into_iter().collect::<Vec<_>>(), [(1, 2, 960, ".x".to_owned())]);
}

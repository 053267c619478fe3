//! A backup that was tampered with, cut off or made by somebody else.

use super::*;
use crate::manifest::Kind;

fn volume() -> Kind {
    Kind::Volume { volume: "memory".into(), client: Some("codex".into()), last_writer_ended: None }
}

/// A volume's archive of one file.
fn archive(path: &str, text: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind, text: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, text).unwrap();
    };
    add("volume/", tar::EntryType::Directory, b"");
    add(path, tar::EntryType::Regular, text);
    tar.into_inner().unwrap()
}

fn part(kind: Kind, bytes: &[u8]) -> (Part, Content) {
    let sha256 = hex(&Sha256::digest(bytes));
    let part = Part { path: kind.path().unwrap(), size: bytes.len() as u64, sha256, kind };
    (part, Content::Bytes(bytes.to_vec()))
}

/// Bytes that do not compress, so that a flipped one is in a part's own bytes.
fn noise(length: usize) -> Vec<u8> {
    (0..length / 32).flat_map(|n| Sha256::digest(n.to_le_bytes()).to_vec()).collect()
}

fn written(folder: &Path, parts: Vec<(Part, Content)>) -> PathBuf {
    let path = folder.join("backup");
    let (parts, mut contents): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let length = write(&path, &Manifest::new(parts), &mut contents).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
    path
}

fn usual(folder: &Path) -> PathBuf {
    let parts = vec![
        part(Kind::Configuration, &noise(20_000)),
        part(Kind::Images, b"[]"),
        part(volume(), &archive("volume/note", &noise(400_000))),
    ];
    written(folder, parts)
}

fn said(path: &Path) -> String {
    Checked::read(path).unwrap_err().text
}

#[test]
fn what_was_written_is_read_again_and_nothing_else_is_left_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = usual(folder.path());
    let backup = Checked::read(&path).unwrap();
    assert!(backup.small["config/berth.toml"] == noise(20_000));
    let mut copied = Vec::new();
    backup.copy_volume(&backup.manifest.parts[2], &mut copied, None).unwrap();
    let mut as_berth_writes_it = Vec::new();
    let how = tree::From::Backup { last_user: last_user() };
    tree::copy(&archive("volume/note", &noise(400_000))[..], &mut as_berth_writes_it, how).unwrap();
    assert!(copied == as_berth_writes_it);
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names, std::slice::from_ref(&path));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_file_that_is_there_is_not_replaced_and_nothing_is_left_of_the_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backup");
    std::fs::write(&path, "a person's own").unwrap();
    let error = write(&path, &Manifest::new(Vec::new()), &mut []).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a person's own");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_only_looks_like_a_former_attempt_stays_and_any_name_is_written() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("backup.partial");
    std::fs::write(&own, "a person's own").unwrap();
    usual(folder.path());
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "a person's own");
    let path = folder.path().join(std::ffi::OsStr::from_bytes(b"b\xff"));
    write(&path, &Manifest::new(Vec::new()), &mut []).unwrap();
    assert!(Checked::read(&path).is_ok());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn a_full_disk_is_told_as_one() {
    let full = io::Error::from(io::ErrorKind::FileTooLarge);
    assert!(is_full(&full));
    let said = unwritten(Path::new("/backups/b"), &full).to_string();
    assert_eq!(
        said,
        "cannot write `/backups/b`: the disk of /backups is full; free some space there, or name a file on another disk"
    );
}

#[test]
fn a_flipped_byte_is_found_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = usual(folder.path());
    let whole = std::fs::read(&path).unwrap();
    let manifest = Checked::read(&path).unwrap().manifest;
    // The first bytes say how much memory the rest needs, and may say more than that.
    for at in (6..whole.len()).step_by(7_919).chain(whole.len() - 8..whole.len()) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        std::fs::write(&path, flipped).unwrap();
        match Checked::read(&path) {
            Err(failure) => assert!(failure.text.contains("nothing was changed"), "{at}: {failure}"),
            Ok(read) => panic!("{at} of {}: {:?}", whole.len(), read.manifest == manifest),
        }
    }
    let mut flipped = whole.clone();
    flipped[10_000] ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    assert!(said(&path).contains("`config/berth.toml` is damaged"), "{}", said(&path));
    flipped = whole.clone();
    flipped[300_000] ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    assert!(said(&path).contains("`volumes/berth-data-codex_memory.tar` is damaged"), "{}", said(&path));
}

#[test]
fn a_part_of_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = usual(folder.path());
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 1, 10, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let said = said(&path);
        assert!(said.contains("nothing was changed"), "{length}: {said}");
    }
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(
        said(&path).contains("it is cut off in `volumes/berth-data-codex_memory.tar`"),
        "{}",
        said(&path)
    );
    std::fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
    assert!(Checked::read(&path).is_err(), "something behind it");
}

#[test]
fn a_hostile_backup_is_refused_before_anything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let remade = |parts: Vec<(Part, Content)>| {
        let path = folder.path().join("backup");
        let _ = std::fs::remove_file(&path);
        said(&written(folder.path(), parts))
    };
    for path in ["volume/../../x", "/etc/passwd", "../x"] {
        let said = remade(vec![part(volume(), &archive(path, b"x"))]);
        assert!(said.contains("it leads out of its folder"), "{path}: {said}");
    }
    let (images, _) = part(Kind::Images, b"[]");
    let wrong = |change: fn(&mut Part)| {
        let mut part = images.clone();
        change(&mut part);
        vec![(part, Content::Bytes(b"[]".to_vec()))]
    };
    assert!(remade(wrong(|part| part.sha256 = "0".repeat(64))).contains("its checksum is another"));
    assert!(remade(wrong(|part| part.path = "etc/images.json".into())).contains("has a part at"));
    assert!(remade(wrong(|part| part.kind = Kind::Configuration)).contains("has a part at"));
    // More than the manifest says, and less.
    let path = folder.path().join("other");
    let tampered = |entries: &[(&str, tar::EntryType, &[u8])], manifest: &Manifest| {
        let mut packed = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        packed.include_checksum(true).unwrap();
        let mut tar = tar::Builder::new(packed);
        append(&mut tar, PATH, manifest.text().len() as u64, &manifest.text()[..]).unwrap();
        for (path, kind, bytes) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(bytes.len() as u64);
            header.set_link_name("/etc/passwd").unwrap();
            tar.append_data(&mut header, path, *bytes).unwrap();
        }
        let digest = hex(&Sha256::digest(manifest.text()));
        append(&mut tar, END, 64, digest.as_bytes()).unwrap();
        std::fs::write(&path, tar.into_inner().unwrap().finish().unwrap()).unwrap();
        Checked::read(&path).map(drop).map_err(|failure| failure.text)
    };
    let manifest = Manifest::new(vec![images.clone()]);
    let file = tar::EntryType::Regular;
    assert_eq!(tampered(&[("images.json", file, b"[]")], &manifest), Ok(()));
    let none = tampered(&[], &manifest).unwrap_err();
    assert!(none.contains("it has something else in the place of `images.json`"), "{none}");
    for more in [
        [("images.json", file, &b"[]"[..]), ("../../etc/cron.d/x", file, b"x")],
        [("images.json", file, b"[]"), ("images.json", file, b"[]")],
    ] {
        let more = more.map(|(path, kind, bytes)| (path.trim_start_matches("../"), kind, bytes));
        assert!(tampered(&more, &manifest).unwrap_err().contains("something else in the place of"));
    }
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Char, tar::EntryType::Block] {
        assert!(tampered(&[("images.json", kind, b"")], &manifest).is_err(), "{kind:?}");
    }
    assert!(tampered(&[("images.json", file, &noise(64_000))], &manifest).is_err(), "longer than it says");
    // A few bytes that come to terabytes are told by the manifest, or not at all.
    let long = Part { size: 1 << 40, ..images };
    assert!(tampered(&[], &Manifest::new(vec![long])).unwrap_err().contains("is longer than any such part"));
}

#[test]
fn what_is_no_backup_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    assert!(said(&path).starts_with("cannot read"));
    assert!(said(folder.path()).contains("it is not a regular file"));
    std::fs::write(&path, "hello").unwrap();
    assert!(said(&path).contains("it is no backup"), "{}", said(&path));
    std::fs::write(&path, zstd::encode_all(&b"hello"[..], 1).unwrap()).unwrap();
    assert!(said(&path).contains("it is no backup"), "{}", said(&path));
}

//! The ids of containers, and the files of a daemon whose ids change.

use std::ffi::{CStr, OsStr};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use crate::ids::{Extent, Range, has_all, json, lines, owner};
use crate::sys::xattr;
use crate::tests::KEEPER;

const RANGE: Range = Range { first: 2_000_000_000, count: 1001 };

/// What an id of a container is on the machine.
fn outside(map: &[Extent], id: u32) -> Option<u32> {
    map.iter().find_map(|extent| {
        let at = id.checked_sub(extent.inside).filter(|at| *at < extent.count)?;
        Some(extent.outside + at)
    })
}

#[test]
fn a_range_is_read_and_nothing_else_is() {
    assert_eq!(Range::parse("2000000000:1001\n"), Some(RANGE));
    for wrong in ["", "1", "0:65536", "1:1", "-1:2", "1:x", "4294967295:2", "1:2:3"] {
        assert_eq!(Range::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn an_engine_with_a_namespace_of_its_own_has_too_few() {
    assert!(has_all("         0          0 4294967295\n"));
    for nested in ["0 1000 1\n1 100000 65536\n", "0 100000 65536\n", "0 0 65536\n", ""] {
        assert!(!has_all(nested), "{nested}");
    }
}

#[test]
fn each_id_of_a_container_is_one_on_the_machine() {
    for id in [0, 1, 500, 999] {
        let map = RANGE.map(id);
        assert_eq!(map, [Extent { inside: 0, outside: 2_000_000_000, count: 1000 }], "{id}");
    }
    // Whoever has a greater one has the last of the range.
    let map = RANGE.map(1_168_400_512);
    assert_eq!(
        (outside(&map, 999), outside(&map, 1_168_400_512)),
        (Some(2_000_000_999), Some(2_000_001_000))
    );
    assert_eq!(outside(&map, 1000), None);
    assert_eq!(lines(&map), "0 2000000000 1000\n1168400512 2000001000 1\n");
    assert_eq!(json(&map[1..]).to_string(), r#"[{"containerID":1168400512,"hostID":2000001000,"size":1}]"#);
}

#[test]
fn a_kept_id_is_the_machines_own_and_all_others_are_not() {
    for id in [1, 500, 999, 1000, 5000] {
        let map = RANGE.map_keeping(id, id);
        assert_eq!(outside(&map, id), Some(id));
        for other in [0, 2, 499, 501, 998] {
            assert_eq!(outside(&map, other), Some(2_000_000_000 + other), "{other} beside {id}");
        }
        assert!(map.iter().all(|extent| extent.count > 0), "{map:?}");
        // A volume's files are the range's, and this one's are its user's.
        let kept = RANGE.map_kept(id, id);
        let on_disk = |id: u32| 2_000_000_000 + id.min(1000);
        assert_eq!(outside(&kept, on_disk(id)), Some(id), "{kept:?}");
        assert_eq!((outside(&kept, 2_000_000_000), outside(&kept, 0)), (Some(2_000_000_000), None));
    }
}

#[test]
fn a_mount_lends_the_callers_rights_to_the_images_user_and_nobody_elses() {
    // Whom a file of the machine's belongs to in the container.
    let shown = |own, caller, file| {
        let of_container = RANGE.map(own);
        let outside = outside(&RANGE.map_lent(own, caller), file)?;
        let of = |extent: &&Extent| (extent.outside..extent.outside + extent.count).contains(&outside);
        of_container.iter().find(of).map(|extent| extent.inside + (outside - extent.outside))
    };
    let pairs = [(0, 0), (0, 500), (500, 0), (7, 500), (500, 7), (6, 7), (0, 999), (998, 999), (5, 70_000)];
    for (own, caller) in
        [(70_000, 5), (70_000, 80_000), (1000, 1000), (0, 2_147_483_000)].into_iter().chain(pairs)
    {
        assert_eq!(shown(own, caller, caller), Some(own), "{own} {caller}");
        // A file that has no number cannot be written, also by its owner: it is whoever's of the group.
        for other in
            [0, 1, 7, 8, 100, 500, 999, 65_534, 1_000_000_000].into_iter().filter(|other| *other != caller)
        {
            assert_eq!(shown(own, caller, other), None, "{own} {caller}");
            assert!(outside(&RANGE.map_lent(own, caller), other).is_some(), "{own} {caller}");
        }
    }
    for (own, caller) in
        [(0, 500), (500, 0), (0, 70_000), (70_000, 0), (0, 999), (999, 1000), (0, u32::MAX - 1)]
    {
        for range in [RANGE, Range::MACHINE] {
            let map = range.map_lent(own, caller);
            let apart = |from: fn(&Extent) -> u32| {
                let mut ids: Vec<_> = map.iter().map(|extent| (from(extent), extent.count)).collect();
                ids.sort_unstable();
                ids.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0)
            };
            assert!(apart(|extent| extent.inside) && apart(|extent| extent.outside), "{map:?}");
        }
    }
    // No number that an image can name is anybody of the machine's.
    let machine = Range::MACHINE.map_lent(0, 1000);
    assert_eq!(outside(&machine, 1000), Some(0));
    for other in [0, 999, 1001, 65_534] {
        assert!(outside(&machine, other).is_some_and(|id| id > 0x7fff_ffff), "{other}");
    }
    // Where no mount can be mapped, the user itself is the caller on the machine.
    let kept = RANGE.map_keeping(0, 500);
    assert_eq!((outside(&kept, 0), outside(&kept, 1)), (Some(500), Some(2_000_000_001)));
}

#[test]
fn owners_are_nobody_and_differ() {
    let one = owner(OsStr::new("a16b83f05aaf8d5a90f0f0e4f2aa1fd4fd3b4a2d7d1c5be8bb6e1b8b7cf1e2d3"));
    let other = owner(OsStr::new("a16b83f15aaf8d5a90f0f0e4f2aa1fd4fd3b4a2d7d1c5be8bb6e1b8b7cf1e2d3"));
    assert_ne!(one, other);
    for owner in [one, other, owner(OsStr::new("")), owner(OsStr::new("no hexadecimal"))] {
        assert!((0x7000_0000..0x7800_0000).contains(&owner), "{owner:x}");
    }
}

/// Runs `settle`; what it says. As root only, like the daemon's entry point.
fn settle(folder: &Path, kind: &str) -> String {
    let output = Command::new(KEEPER)
        .args(["settle", folder.to_str().unwrap(), "2000000000:1001", kind])
        .output()
        .expect("the keeper runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn owner_of(path: &Path) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (found.uid(), found.gid())
}

#[test]
fn what_else_names_ids_comes_along_too() {
    const LIST: &CStr = c"system.posix_acl_access";
    const CAPABILITY: &CStr = c"security.capability";
    let folder = tempfile::tempdir().unwrap();
    if chown(folder.path(), Some(1), Some(1)).is_err() {
        return;
    }
    let (plain, mapped) = (folder.path(), folder.path().join("2000000000.2000000000"));
    let ping = "overlay2/1/diff/ping";
    fs::create_dir_all(plain.join("overlay2/1/diff")).unwrap();
    fs::create_dir_all(plain.join("image/overlay2/imagedb/content/sha256/1")).unwrap();
    fs::write(plain.join(ping), "x").unwrap();
    symlink("ping", plain.join("overlay2/1/diff/link")).unwrap();
    // `cap_net_raw+ep`, and `u::rw- u:1000:r-- g::r-- g:5:r-- m::r-- o::---`.
    let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let capability = |magic: u32, root: &[u32]| [bytes(&[magic, 1 << 13, 0, 0, 0]), bytes(root)].concat();
    let list = |user: u32, group: u32| {
        let none = u32::MAX;
        let entries = [(1, 6, none), (2, 4, user), (4, 4, none), (8, 4, group), (16, 4, none), (32, 0, none)];
        let entries = entries.iter().flat_map(|(tag, mode, id)| bytes(&[tag | mode << 16, *id]));
        [bytes(&[2]), entries.collect()].concat()
    };
    xattr::set(&plain.join(ping), LIST, &list(1000, 5)).unwrap();
    xattr::set(&plain.join(ping), CAPABILITY, &capability(0x0200_0001, &[])).unwrap();
    let found = |at: &Path| (xattr::get(&at.join(ping), CAPABILITY), xattr::get(&at.join(ping), LIST));
    let before = found(plain);
    settle(plain, "mapped");
    let first = RANGE.first;
    let expected = (Some(capability(0x0300_0001, &[first])), Some(list(first + 1000, first + 5)));
    assert_eq!(found(&mapped), expected);
    settle(plain, "plain");
    assert_eq!(found(plain), before);
}

#[test]
fn a_daemons_files_come_along_also_after_a_cut() {
    let folder = tempfile::tempdir().unwrap();
    if chown(folder.path(), Some(1), Some(1)).is_err() {
        // It is root's work; `tests/it/users.rs` has the daemon's container do it.
        return;
    }
    let plain = folder.path();
    let mapped = plain.join("2000000000.2000000000");
    assert_eq!(settle(plain, "mapped"), "", "a new daemon has nothing");
    let make = |path: &str, ids: (u32, u32)| {
        let path = plain.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        chown(&path, Some(ids.0), Some(ids.1)).unwrap();
    };
    make("overlay2/1/diff/bin/su", (0, 0));
    fs::set_permissions(plain.join("overlay2/1/diff/bin/su"), fs::Permissions::from_mode(0o4755)).unwrap();
    make("overlay2/1/diff/home/me", (999, 5));
    make("overlay2/1/diff/stranger", (1000, 4_000_000_000));
    make("overlay2/1/link", (0, 0));
    make("image/overlay2/imagedb/content/sha256/1", (0, 0));
    make("volumes/a/_data/deep/x", (7, 8));
    make("volumes/metadata.db", (0, 0));
    make("containers/1/hosts", (0, 0));
    symlink("/nowhere", plain.join("volumes/a/_data/link")).unwrap();
    // As one that was cut off leaves it: a part has its owner, and its place.
    chown(plain.join("volumes/a/_data/deep/x"), Some(2_000_000_007), Some(8)).unwrap();
    fs::create_dir_all(&mapped).unwrap();
    fs::create_dir_all(mapped.join("volumes")).unwrap();
    assert_eq!(settle(plain, "mapped"), "gave the images and volumes in the daemon to its own ids");
    let first = 2_000_000_000;
    assert_eq!(owner_of(&mapped.join("overlay2/1/diff/bin/su")), (first, first));
    assert_eq!(fs::metadata(mapped.join("overlay2/1/diff/bin/su")).unwrap().mode() & 0o7777, 0o4755);
    assert_eq!(owner_of(&mapped.join("overlay2/1/diff/home/me")), (first + 999, first + 5));
    let stranger = owner_of(&mapped.join("overlay2/1/diff/stranger"));
    assert_eq!(stranger, (first + 1000, first + 1000), "whoever has a greater number");
    assert_eq!(
        (owner_of(&mapped.join("overlay2/1")), owner_of(&mapped.join("overlay2"))),
        ((0, first), (0, first))
    );
    assert_eq!(owner_of(&mapped.join("overlay2/1/link")), (0, 0), "the daemon's own");
    assert_eq!(owner_of(&mapped.join("volumes/a/_data/deep/x")), (first + 7, first + 8));
    assert_eq!(owner_of(&mapped.join("volumes/a/_data/link")), (first, first));
    assert_eq!(owner_of(&mapped.join("volumes/metadata.db")), (0, 0));
    assert!(plain.join("containers/1/hosts").exists() && !plain.join("volumes").exists());
    assert_eq!(settle(plain, "mapped"), "");

    // Cut off between the layers and the list of images, and then asked for the other direction: all goes back.
    fs::rename(mapped.join("image"), plain.join("image")).unwrap();
    fs::write(plain.join(".berth-settle"), "mapped").unwrap();
    assert_eq!(settle(plain, "plain"), "gave the images and volumes in the daemon back to the machine's ids");
    assert_eq!(owner_of(&plain.join("overlay2/1/diff/home/me")), (999, 5));
    assert!(plain.join("image").exists() && !mapped.join("overlay2").exists());
    assert!(!plain.join(".berth-settle").exists());
    // What a daemon has made there meanwhile is no image, and stays all the same.
    fs::create_dir_all(mapped.join("overlay2/l")).unwrap();
    assert_eq!(settle(plain, "mapped"), "gave the images and volumes in the daemon to its own ids");
    assert!(mapped.join("overlay2.aside-1/l").exists() && mapped.join("overlay2/1").exists());

    // An older berth has used the same volume meanwhile.
    make("volumes/b/_data/x", (0, 0));
    let said = settle(plain, "mapped");
    assert!(said.starts_with("older volumes stay in `"), "{said}");
    assert!(plain.join("volumes/b/_data/x").exists() && mapped.join("volumes/a").exists());
    fs::remove_dir_all(plain.join("volumes")).unwrap();

    assert_eq!(settle(plain, "plain"), "gave the images and volumes in the daemon back to the machine's ids");
    assert_eq!(owner_of(&plain.join("overlay2/1/diff/home/me")), (999, 5));
    assert_eq!(owner_of(&plain.join("volumes/a/_data/deep/x")), (7, 8));
    assert_eq!(owner_of(&plain.join("overlay2/1")), (0, 0));
}

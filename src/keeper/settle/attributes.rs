//! What of a file names ids besides its owner: its capabilities (capabilities(7)), and its access lists (acl(5)).
//!
//! In a user namespace a file's capabilities count only if they name the namespace's root (version 3); outside of one they name
//! none (version 2). A new owner takes them from the file, as it takes setuid; access lists stay, with the ids of before.

use std::ffi::CStr;

pub(super) const CAPABILITIES: &CStr = c"security.capability";
pub(super) const LISTS: [&CStr; 2] = [c"system.posix_acl_access", c"system.posix_acl_default"];

/// `VFS_CAP_REVISION_MASK`, and two of its values.
const REVISION: u32 = 0xff00_0000;
const NAMES_NOBODY: u32 = 0x0200_0000;
const NAMES_ROOT: u32 = 0x0300_0000;
/// Of the older one; behind it the newer one has its root (bytes).
const OLDER: usize = 20;

/// Tags of entries that have an id: `ACL_USER`, `ACL_GROUP`.
const WITH_ID: [u16; 2] = [2, 8];
const LIST_VERSION: u32 = 2;
const ENTRY: usize = 8;

/// The same capabilities for a namespace whose root is `root`, or for none.
pub(super) fn capabilities(value: &[u8], root: Option<u32>) -> Option<Vec<u8>> {
    let magic = u32::from_le_bytes(value.get(..4)?.try_into().ok()?);
    ([NAMES_NOBODY, NAMES_ROOT].contains(&(magic & REVISION)) && value.len() >= OLDER).then_some(())?;
    let revision = if root.is_some() { NAMES_ROOT } else { NAMES_NOBODY };
    let mut given = (magic & !REVISION | revision).to_le_bytes().to_vec();
    given.extend_from_slice(value.get(4..OLDER)?);
    given.extend(root.into_iter().flat_map(u32::to_le_bytes));
    Some(given)
}

/// The same list with other ids; `None` where it names none, or none that change.
pub(super) fn list(value: &[u8], id: impl Fn(u32) -> u32) -> Option<Vec<u8>> {
    let mut given = value.to_vec();
    let (version, entries) = given.split_at_mut_checked(4)?;
    (version == LIST_VERSION.to_le_bytes()).then_some(())?;
    for entry in entries.chunks_exact_mut(ENTRY) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        if WITH_ID.contains(&tag) {
            let old = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
            entry[4..].copy_from_slice(&id(old).to_le_bytes());
        }
    }
    (given != value).then_some(given)
}

//! The file of a backup: a tar archive, compressed with zstd, whose first entry is the manifest.
//!
//! It is written without a name, which it gets when it is whole and on the disk: whatever ends this process before leaves
//! nothing. It is read with suspicion: every part is compared with the manifest before anything is done with any.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mcp_berth::dock::volume::held::last_user;
use mcp_berth::failure::{Code, Failure};
use mcp_berth::human::hex;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use sha2::{Digest, Sha256};

use crate::digested::Digested;
use crate::manifest::{END, LONGEST, Manifest, PATH, Part};
use crate::meter::{self, Limit, Metered};
use crate::tree::{self, Seen};

/// Among these levels it costs little and wins most.
const LEVEL: i32 = 6;
/// No backup needs more of the memory to be read (a power of 2, in bytes).
const WINDOW: u32 = 27;

/// What a part is read from.
#[derive(Debug)]
pub(crate) enum Content {
    Bytes(Vec<u8>),
    /// From its beginning.
    File(File),
}

/// A file without a name, in the folder of the one that is to be.
pub(crate) fn nameless(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(file.into()),
        // Not every file system has them.
        Err(_) => tempfile::tempfile_in(folder),
    }
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Why a backup was not written, for a person.
pub(crate) fn unwritten(path: &Path, error: &io::Error) -> Failure {
    let folder = folder_of(path).display();
    let (text, next) = match error.kind() {
        _ if is_full(error) => (
            format!("cannot write `{}`: the disk of {folder} is full", path.display()),
            "free some space there, or name a file on another disk".to_owned(),
        ),
        io::ErrorKind::AlreadyExists => (
            format!("`{}` is there already", path.display()),
            "name another file, or remove that one".to_owned(),
        ),
        _ => (
            format!("cannot write `{}`: {error}", path.display()),
            "name a file in a folder that is yours".to_owned(),
        ),
    };
    Failure { code: Code::Unavailable, text, next: Some(next) }
}

/// Writes the file; gives its length.
pub(crate) fn write(path: &Path, manifest: &Manifest, contents: &mut [Content]) -> io::Result<u64> {
    let file = nameless(folder_of(path))?;
    let mut packed = zstd::stream::write::Encoder::new(io::BufWriter::new(file), LEVEL)?;
    packed.include_checksum(true)?;
    let mut tar = tar::Builder::new(packed);
    let text = manifest.text();
    append(&mut tar, PATH, text.len() as u64, &text[..])?;
    for (part, content) in manifest.parts.iter().zip(contents) {
        match content {
            Content::Bytes(bytes) => append(&mut tar, &part.path, part.size, &bytes[..])?,
            Content::File(file) => {
                file.rewind()?;
                append(&mut tar, &part.path, part.size, file.take(part.size))?;
            }
        }
    }
    let digest = hex(&Sha256::digest(&text));
    append(&mut tar, END, digest.len() as u64, digest.as_bytes())?;
    let file = tar.into_inner()?.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    let length = file.metadata()?.len();
    give_name(&file, path)?;
    Ok(length)
}

fn append(tar: &mut tar::Builder<impl Write>, path: &str, size: u64, content: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    tar.append_data(&mut header, path, content)
}

/// The file is there under its name, as a whole, or not at all; whatever has that name stays.
fn give_name(file: &File, path: &Path) -> io::Result<()> {
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    // Under a name that nothing has, which goes unless it becomes the other one.
    let named = tempfile::Builder::new().make_in(folder_of(path), |at| {
        let linked = rustix::fs::linkat(CWD, &own, CWD, at, AtFlags::SYMLINK_FOLLOW);
        linked.map_err(io::Error::from).or_else(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            let mut from = file.try_clone()?;
            from.rewind()?;
            let mut to = File::options().write(true).create_new(true).mode(0o600).open(at)?;
            io::copy(&mut from, &mut to).and_then(|_| to.sync_all())
        })
    })?;
    named.into_temp_path().persist_noclobber(path)?;
    // Its name is on the disk, too.
    File::open(folder_of(path))?.sync_all()
}

/// A backup whose every part is as its manifest has it.
#[derive(Debug)]
pub(crate) struct Checked {
    file: File,
    path: PathBuf,
    pub(crate) manifest: Manifest,
    /// All parts but volumes.
    pub(crate) small: BTreeMap<String, Vec<u8>>,
}

fn refused(path: &Path, why: &str) -> Failure {
    Failure {
        code: Code::Configuration,
        text: format!("`{}` is not restored, and nothing was changed: {why}", path.display()),
        next: Some("take another backup".to_owned()),
    }
}

type Entries<'a> = tar::Archive<Metered<zstd::stream::read::Decoder<'a, io::BufReader<&'a File>>>>;

fn entries(file: &File) -> io::Result<(Entries<'_>, Limit)> {
    let mut file = file;
    file.rewind()?;
    let mut packed = zstd::stream::read::Decoder::new(file)?;
    packed.window_log_max(WINDOW)?;
    Ok(meter::archive(packed))
}

impl Checked {
    /// Reads all of the file once.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let none = |why: String| Failure {
            code: Code::Configuration,
            text: format!("cannot read `{}`: {why}", path.display()),
            next: Some("name the file of a backup".to_owned()),
        };
        let file = mcp_berth::regular::open(path).map_err(|error| none(error.to_string()))?;
        let file = file.ok_or_else(|| none("it is not a regular file".to_owned()))?;
        let (manifest, small) = check(&file).map_err(|why| refused(path, &why))?;
        Ok(Self { file, path: path.to_owned(), manifest, small })
    }

    /// Copies a volume's archive out of it, which may have changed since it was read. The copy has another `mode` for the
    /// volume's own folder.
    pub(crate) fn copy_volume(&self, part: &Part, to: impl Write, mode: Option<u32>) -> io::Result<Seen> {
        let (mut archive, limit) = entries(&self.file)?;
        let mut entries = archive.entries()?;
        while let Some(entry) = limit.next(&mut entries) {
            let mut entry = entry?;
            if entry.path()?.to_str() != Some(&part.path) {
                io::copy(&mut entry, &mut io::sink())?;
                continue;
            }
            let mut entry = Digested::new(entry);
            let seen = tree::copy_as(&mut entry, to, tree::From::Backup { last_user: last_user() }, mode)?;
            io::copy(&mut entry, &mut io::sink())?;
            if entry.end().2 == part.sha256 {
                return Ok(seen);
            }
            break;
        }
        Err(io::Error::other(format!("`{}` has changed while it was restored", self.path.display())))
    }
}

/// Compares the file with its manifest, to the last byte.
fn check(file: &File) -> Result<(Manifest, BTreeMap<String, Vec<u8>>), String> {
    let (mut archive, limit) = entries(file).map_err(|_| "it is no backup".to_owned())?;
    let (manifest, small) = check_entries(&mut archive, &limit)?;
    // What lies behind the archive counts into the file's own checksum.
    let mut rest = archive.into_inner();
    let mut behind = [0; 8192];
    loop {
        match rest.read(&mut behind) {
            Ok(0) => return Ok((manifest, small)),
            Ok(length) if behind[..length].iter().all(|byte| *byte == 0) => {}
            Ok(_) => return Err("something stands behind its end".to_owned()),
            Err(error) => return Err(damage("its end", &error)),
        }
    }
}

fn damage(what: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("it is cut off in {what}"),
        _ if what == "its manifest" => format!("it is no backup, or {what} is damaged ({error})"),
        _ => format!("{what} is damaged ({error})"),
    }
}

fn check_entries(
    archive: &mut Entries<'_>,
    limit: &Limit,
) -> Result<(Manifest, BTreeMap<String, Vec<u8>>), String> {
    let mut entries = archive.entries().map_err(|error| damage("its manifest", &error))?;
    let mut next = |path: &str, size: Option<u64>| {
        let what = if path == PATH { "its manifest".to_owned() } else { format!("`{path}`") };
        let entry = limit.next(&mut entries).ok_or_else(|| format!("it is cut off before {what}"))?;
        let entry = entry.map_err(|error| damage(&what, &error))?;
        let is_it = entry.path().is_ok_and(|found| found.to_str() == Some(path))
            && entry.header().entry_type() == tar::EntryType::Regular
            && size.is_none_or(|size| entry.size() == size);
        if is_it { Ok(entry) } else { Err(format!("it has something else in the place of {what}")) }
    };
    let entry = next(PATH, None)?;
    if entry.size() > LONGEST {
        return Err("its manifest is too long".to_owned());
    }
    let mut text = Vec::new();
    entry.take(LONGEST).read_to_end(&mut text).map_err(|error| damage("its manifest", &error))?;
    let manifest = Manifest::read(&text)?;
    let mut small = BTreeMap::new();
    for part in &manifest.parts {
        let what = format!("`{}`", part.path);
        let mut entry = Digested::new(next(&part.path, Some(part.size))?);
        let read = if part.kind.volume().is_some() {
            let how = tree::From::Backup { last_user: last_user() };
            tree::copy(&mut entry, io::sink(), how)
                .and_then(|_| io::copy(&mut entry, &mut io::sink()))
                .map(drop)
        } else {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map(|_| drop(small.insert(part.path.clone(), bytes)))
        };
        read.map_err(|error| damage(&what, &error))?;
        if entry.end().2 != part.sha256 {
            return Err(format!("{what} is damaged: its checksum is another"));
        }
    }
    let mut digest = String::new();
    next(END, Some(64))?.read_to_string(&mut digest).map_err(|error| damage("its end", &error))?;
    if digest != hex(&Sha256::digest(&text)) {
        return Err("its manifest is damaged: its checksum is another".to_owned());
    }
    match limit.next(&mut entries) {
        None => Ok((manifest, small)),
        Some(Ok(_)) => Err("it holds more than its manifest says".to_owned()),
        Some(Err(error)) => Err(damage("its end", &error)),
    }
}

#[cfg(test)]
mod tests;

//! Stands guard outside of a container that has a kernel of its own, until that ends.
//!
//! There are three things that such a kernel cannot do. A lock on a folder is known in that kernel alone, so that two
//! sessions could have one volume. Nobody in there hears when a program of the host replaces a protected name, which
//! takes the mount along. And what is mounted read-only is so by that kernel's word: to the gofer, which gives it the files,
//! it is not. So a process of the daemon's container locks the volumes, makes the gofer's mounts read-only and watches
//! them. It has the locks as long as the container has its kernel, and kills that when a protection is gone.
//!
//! The runtime starts it before the container is made. Both speak in lines: `ready`, or why not; the numbers of the kernel
//! and of the gofer; `on`. If the runtime dies, its end of the pipes closes and the guard leaves.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use super::protocol::volumes;
use super::sys::{self, Links, Wanted};
use super::within::{self, Within};
use super::{Failure, Words, gvisor, locks};

/// As [`Guard::post`] and [`Options::parse`] call it.
pub(super) const NAME: &str = "guard";

const READY: &str = "ready";
const ON: &str = "on";

/// How often a volume's lock is tried for while another session has it.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// What it guards.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// How long another session's volume is waited for.
    patience: Duration,
    /// Where the container has each, and the folder.
    locks: Vec<(String, PathBuf)>,
    within: Vec<Within>,
    /// What nobody may write.
    read_only: Vec<PathBuf>,
}

impl Options {
    pub(super) fn parse<I: Iterator<Item = OsString>>(words: &mut Words<I>) -> Result<Self, Failure> {
        let mut options = Self::default();
        while let Some(flag) = words.0.next() {
            match flag.to_str() {
                Some("--patience") => options.patience = words.milliseconds("--patience")?,
                Some("--lock") => {
                    let target = words.text("a place in the container")?;
                    options.locks.push((target, words.next("a folder")?.into()));
                }
                Some("--within") => {
                    let word = words.text("a mount")?;
                    let within = Within::parse(&word);
                    options
                        .within
                        .push(within.ok_or_else(|| Failure::usage(format_args!("`{word}` is no mount")))?);
                }
                Some("--read-only") => options.read_only.push(words.next("a folder")?.into()),
                _ => return Err(Failure::usage(format_args!("unexpected `{}`", flag.display()))),
            }
        }
        // In one order, so that two sessions never wait for each other.
        options.locks.sort_by(|(_, one), (_, other)| one.cmp(other));
        Ok(options)
    }
}

/// One that is on its post.
#[derive(Debug)]
pub(super) struct Guard {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Guard {
    /// Starts one, which has the locks then. `words` are its options.
    pub(super) fn post(words: &[OsString]) -> Result<Self, String> {
        let cannot = |error: io::Error| format!("nobody stands guard over it: {error}");
        let mut command = Command::new(env::current_exe().map_err(cannot)?);
        command.arg(NAME).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // A signal to the runtime is not for it.
        let mut child = command.process_group(0).spawn().map_err(cannot)?;
        let said = child.stdout.take().map(BufReader::new).ok_or("nobody stands guard over it")?;
        let mut guard = Self { child, said };
        match guard.hear()?.as_str() {
            READY => Ok(guard),
            why => Err(why.to_owned()),
        }
    }

    /// Tells it whom it guards; it does from now on.
    pub(super) fn begin(mut self, kernel: u32, gofer: u32) -> Result<(), String> {
        let input = self.child.stdin.take();
        let told = input.map(|mut input| writeln!(input, "{kernel} {gofer}"));
        if !matches!(told, Some(Ok(()))) || self.hear()? != ON {
            return Err("nobody stands guard over it".to_owned());
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<String, String> {
        let mut line = String::new();
        let heard = self.said.read_line(&mut line);
        match heard {
            Ok(1..) => Ok(line.trim_end().to_owned()),
            Ok(0) => Err("nobody stands guard over it".to_owned()),
            Err(error) => Err(format!("nobody stands guard over it: {error}")),
        }
    }
}

/// Stands guard; ends with the container.
pub(super) fn guard(options: &Options) -> Result<(), Failure> {
    let mut said = io::stdout();
    let held = match lock(options) {
        Ok(held) => held,
        Err(why) => return Ok(writeln!(said, "{why}")?),
    };
    writeln!(said, "{READY}")?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let Some((kernel, gofer)) = line.trim_end().split_once(' ') else { return Ok(()) };
    let number = |text: &str| text.parse::<u32>().map_err(|_| Failure::usage("a process is no number"));
    let (kernel, gofer) = (number(kernel)?, number(gofer)?);
    let kernel = sys::net::process(kernel)?;
    let watched = watch(options, &kernel, gofer, &mut said);
    if watched.is_err() {
        // Whatever it was: nobody would notice the next thing.
        sys::kill_process(&kernel);
    }
    drop(held);
    watched
}

/// Ends when the kernel has ended or needs no guard any more, and fails when it must end.
fn watch(options: &Options, kernel: &File, gofer: u32, said: &mut impl Write) -> Result<(), Failure> {
    let mut list = File::open(format!("/proc/{gofer}/mountinfo"))?;
    let root = gvisor::root_of(gofer)?;
    // Only who has the mounts may change them. There is no `/proc` among them: all that is needed is open.
    sys::enter_mounts(&File::open(format!("/proc/{gofer}/ns/mnt"))?)?;
    for path in &options.read_only {
        sys::userns::make_read_only(sys::open_beneath(root.as_fd(), path, Links::Refused)?.as_fd())?;
    }
    let is_watched = !options.within.is_empty();
    // The list is opened before anything is checked, so that no change is missed.
    loop {
        if is_watched {
            let mut mounts = Vec::new();
            list.rewind()?;
            list.read_to_end(&mut mounts)?;
            within::check_in(&options.within, &root, &mounts)?;
        }
        // Nobody listens after the first time.
        let _ = writeln!(said, "{ON}");
        if !is_watched && options.locks.is_empty() {
            return Ok(());
        }
        let changes = is_watched.then_some((list.as_fd(), Wanted::Change));
        let [has_ended, _] = sys::poll([Some((kernel.as_fd(), Wanted::Input)), changes], None)?;
        if has_ended {
            return Ok(());
        }
    }
}

/// All of them.
fn lock(options: &Options) -> Result<Vec<File>, String> {
    let until = Instant::now() + options.patience;
    options.locks.iter().map(|(target, folder)| lock_one(target, folder, until)).collect()
}

fn lock_one(target: &str, folder: &Path, until: Instant) -> Result<File, String> {
    loop {
        match locks::lock(folder) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) if Instant::now() < until => thread::sleep(TRY_EVERY),
            Ok(None) => return Err(format!("{} {target}", volumes::HELD)),
            Err(error) => return Err(format!("the volume at `{target}` cannot be locked: {error}")),
        }
    }
}

//! Stands guard outside of a container that has a kernel of its own, until that ends.
//!
//! There are three things that such a kernel cannot do. A lock on a folder is known in that kernel alone, so that two
//! sessions could have one volume. Nobody in there hears when a program of the host replaces a protected name, which
//! takes the mount along. And what is mounted read-only is so by that kernel's word: to the gofer, which gives it the files,
//! it is not. So a process of the daemon's container locks the volumes, makes the gofer's mounts read-only and watches
//! them. It has the locks as long as the container has its kernel, and kills that when a protection is gone.
//!
//! Where it has to stay, a second one stands beside it. Each sees the other's end by a pipe and ends the container then:
//! else nobody would.
//!
//! The runtime starts it before the container is made. Both speak in lines: `ready`, or why not; the numbers of the kernel
//! and of the gofer; `on`. If the runtime dies, its end of the pipes closes and the guard leaves.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use super::locks::Lock;
use super::protocol::volumes;
use super::sys::{self, Links, Wanted};
use super::within::{self, Within};
use super::{Failure, Words, gvisor, locks};

/// As [`Guard::post`] and [`Options::parse`] call it.
pub(super) const NAME: &str = "guard";

const SECOND: &str = "--second-of";

const READY: &str = "ready";
const ON: &str = "on";

/// What the runtime says where there is no guard.
const NOBODY: &str = "nobody stands guard over it";

/// How often a volume's lock is tried for while another session has it.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// What it guards.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// How long another session's volume is waited for.
    patience: Duration,
    /// Where the container has each, and the folder.
    locks: Vec<(locks::Mode, String, PathBuf)>,
    within: Vec<Within>,
    /// What nobody may write.
    read_only: Vec<PathBuf>,
    /// Whose kernel it ends after a first guard that is no more.
    second_of: Option<u32>,
}

impl Options {
    pub(super) fn parse<I: Iterator<Item = OsString>>(words: &mut Words<I>) -> Result<Self, Failure> {
        let mut options = Self::default();
        while let Some(flag) = words.0.next() {
            if let Some(mode) = flag.to_str().and_then(locks::Mode::of) {
                let target = words.text("a place in the container")?;
                options.locks.push((mode, target, words.next("a folder")?.into()));
                continue;
            }
            match flag.to_str() {
                Some("--patience") => options.patience = words.milliseconds("--patience")?,
                Some("--within") => {
                    let word = words.text("a mount")?;
                    let within = Within::parse(&word);
                    options
                        .within
                        .push(within.ok_or_else(|| Failure::usage(format_args!("`{word}` is no mount")))?);
                }
                Some(SECOND) => options.second_of = Some(words.parsed("a process")?),
                Some("--read-only") => options.read_only.push(words.next("a folder")?.into()),
                _ => return Err(Failure::usage(format_args!("unexpected `{}`", flag.display()))),
            }
        }
        // In one order, so that two sessions never wait for each other.
        options.locks.sort_by(|(.., one), (.., other)| one.cmp(other));
        Ok(options)
    }

    /// Whether anything is left to do once all is in place.
    fn stays(&self) -> bool {
        !self.within.is_empty() || !self.locks.is_empty()
    }
}

/// Its end is the end of the output; ours is the end of its input.
struct Second {
    output: ChildStdout,
    _input: Option<ChildStdin>,
}

impl Second {
    fn post(kernel: u32) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(NAME).arg(SECOND).arg(kernel.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.process_group(0).spawn()?;
        let mut output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        // It has its hand on the kernel.
        output.read_exact(&mut [0; READY.len() + 1])?;
        Ok(Self { output, _input: child.stdin.take() })
    }
}

fn stand_second(kernel: u32) -> Result<(), Failure> {
    let kernel = sys::net::process(kernel)?;
    writeln!(io::stdout(), "{READY}")?;
    let input = io::stdin();
    let [has_ended, _] =
        sys::poll([kernel.as_fd(), input.as_fd()].map(|end| Some((end, Wanted::Input))), None)?;
    if !has_ended {
        sys::kill_process(&kernel);
    }
    Ok(())
}

/// One that is on its post.
#[derive(Debug)]
pub(super) struct Guard {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Guard {
    /// Starts one, which has the locks then. `words` are its options.
    pub(super) fn post(words: &[OsString]) -> Result<Self, String> {
        let cannot = |error: io::Error| format!("{NOBODY}: {error}");
        let mut command = Command::new(env::current_exe().map_err(cannot)?);
        command.arg(NAME).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.env_clear().current_dir("/");
        // A signal to the runtime is not for it.
        let mut child = command.process_group(0).spawn().map_err(cannot)?;
        let said = child.stdout.take().map(BufReader::new).ok_or(NOBODY)?;
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
        if !matches!(told, Some(Ok(()))) {
            return Err(NOBODY.to_owned());
        }
        match self.hear()?.as_str() {
            ON => Ok(()),
            why => Err(why.to_owned()),
        }
    }

    fn hear(&mut self) -> Result<String, String> {
        let mut line = String::new();
        let heard = self.said.read_line(&mut line);
        match heard {
            Ok(1..) => Ok(line.trim_end().to_owned()),
            Ok(0) => Err(NOBODY.to_owned()),
            Err(error) => Err(format!("{NOBODY}: {error}")),
        }
    }
}

/// Stands guard; ends with the container.
pub(super) fn guard(options: &Options) -> Result<(), Failure> {
    sys::net::close_inherited();
    sys::forbid_dumping()?;
    if let Some(kernel) = options.second_of {
        return stand_second(kernel);
    }
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
    let second = options.stays().then(|| Second::post(kernel)).transpose();
    let kernel = sys::net::process(kernel)?;
    let watched = second
        .map_err(Failure::from)
        .and_then(|second| watch(options, &kernel, second.as_ref(), gofer, &mut said));
    if let Err(why) = &watched {
        // Whatever it was: nobody would notice the next thing.
        sys::kill_process(&kernel);
        // The first time the runtime hears of it.
        let _ = writeln!(said, "{}", why.message);
    }
    drop(held);
    watched
}

/// Ends when the kernel has ended or needs no guard any more, and fails when it must end.
fn watch(
    options: &Options,
    kernel: &File,
    second: Option<&Second>,
    gofer: u32,
    said: &mut impl Write,
) -> Result<(), Failure> {
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
        let Some(second) = second else { return Ok(()) };
        let changes = is_watched.then_some((list.as_fd(), Wanted::Change));
        let ends = [kernel.as_fd(), second.output.as_fd()].map(|end| Some((end, Wanted::Input)));
        let [has_ended, is_alone, _] = sys::poll([ends[0], ends[1], changes], None)?;
        if has_ended {
            return Ok(());
        }
        if is_alone {
            return Err(Failure::new(Failure::SYSTEM, "keeper: the second guard is gone"));
        }
    }
}

/// All of them.
fn lock(options: &Options) -> Result<Vec<File>, String> {
    let until = Instant::now() + options.patience;
    options.locks.iter().map(|(mode, target, folder)| lock_one(*mode, target, folder, until)).collect()
}

fn lock_one(mode: locks::Mode, target: &str, folder: &Path, until: Instant) -> Result<File, String> {
    loop {
        match locks::lock(mode, folder) {
            Ok(Lock::Ours(lock)) => return Ok(lock),
            Ok(Lock::Held) if Instant::now() < until => thread::sleep(TRY_EVERY),
            Ok(Lock::Held) => return Err(format!("{} {target}", volumes::HELD)),
            Ok(Lock::Unfinished) => return Err(format!("{} {target}", volumes::UNFINISHED)),
            Err(error) => return Err(format!("the volume at `{target}` cannot be locked: {error}")),
        }
    }
}

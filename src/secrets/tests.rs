//! Each way of keeping a secret, its faults, and what is left of what reads it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::failure::Explain;

const WITHIN: Duration = Duration::from_mins(1);

fn kept(keeper: SecretKeeper, folder: &Path, within: Duration) -> Kept {
    Kept { keeper, within, line: "berth.toml:3".to_owned(), folder: folder.to_owned() }
}

async fn read(keeper: SecretKeeper, within: Duration) -> Result<String, String> {
    let kept = kept(keeper, Path::new("/"), within);
    let read = read_one(&kept, &Redactor::new(["of-the-session".to_owned()])).await;
    read.map_err(|why| Failure::from(SecretError::new("s", "X", &kept, why)).to_string())
}

async fn file(path: &Path) -> Result<String, String> {
    read(SecretKeeper::File(path.to_owned()), WITHIN).await
}

fn shell(script: &str) -> SecretKeeper {
    SecretKeeper::Command(["sh", "-c", script].map(str::to_owned).to_vec())
}

async fn command(script: &str) -> Result<String, String> {
    read(shell(script), WITHIN).await
}

fn written(folder: &TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("x");
    fs::write(&path, bytes).unwrap();
    path
}

#[tokio::test]
async fn a_file_is_read_without_the_newline_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    for (bytes, value) in
        [("a b", "a b"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a\nb\n", "a\nb"), (" a ", " a ")]
    {
        assert_eq!(file(&written(&folder, bytes.as_bytes())).await.as_deref(), Ok(value));
    }
    let longest = "x".repeat(LONGEST);
    assert_eq!(file(&written(&folder, longest.as_bytes())).await, Ok(longest));
}

#[tokio::test]
async fn what_is_no_secret_is_told_with_its_file_and_what_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let begin = format!("server `s` cannot have its secret `X`: the file `{}`", path.display());
    let missing = file(&path).await.unwrap_err();
    assert_eq!(
        missing,
        format!(
            "{begin} cannot be read: No such file or directory (os error 2); write the secret into this file, and type \
             `chmod 600` with its name, or correct berth.toml:3"
        )
    );
    for (bytes, why) in [
        (b"".as_slice(), "is empty"),
        (b"\n", "is empty"),
        (b"a\0b", "is no text"),
        (b"hunter\xff", "is no text"),
        (&vec![b'x'; LONGEST + 1], "is longer than 64 KiB"),
    ] {
        let error = file(&written(&folder, bytes)).await.unwrap_err();
        assert_eq!(error, format!("{begin} {why}; correct berth.toml:3"));
    }
    assert!(file(folder.path()).await.unwrap_err().contains("is no regular file"));
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(file(&path).await.unwrap_err().contains("is no regular file"), "nobody waits for a writer");
}

#[tokio::test]
async fn a_commands_output_is_read_and_it_is_asked_nothing() {
    assert_eq!(command("cat; printf 'a b\\n'; echo noise >&2").await.as_deref(), Ok("a b"));
    let words = ["printf", "%s", "$HOME *"].map(str::to_owned).to_vec();
    let literal = read(SecretKeeper::Command(words), WITHIN).await;
    assert_eq!(literal.as_deref(), Ok("$HOME *"), "no shell has seen it");
    let folder = tempfile::tempdir().unwrap();
    let beside = kept(shell("pwd -P"), folder.path(), WITHIN);
    let here = fs::canonicalize(folder.path()).unwrap();
    assert_eq!(
        read_one(&beside, &Redactor::new([])).await.unwrap(),
        here.to_string_lossy(),
        "no project of the client's"
    );
}

#[tokio::test]
async fn a_failed_commands_last_words_are_told_without_the_secret() {
    let error = command(
        "x=hunter; echo ${x}2-x; printf 'a\\033[2Jb\\n' >&2; echo not ${x}2-x, token=abc >&2; exit 3",
    )
    .await;
    let error = error.unwrap_err();
    assert!(error.contains("failed (exit status: 3): a"), "{error}");
    assert!(error.contains("/ not [redacted], token=[redacted]; type `sh -c "), "{error}");
    assert!(!error.contains('\x1b') && !error.contains("hunter2"), "{error}");
    let escape = command("exit 1 # \x1b[2J").await.unwrap_err();
    assert!(!escape.contains('\x1b'), "{escape}");
    let flood = command("i=0; while [ $i -lt 3000 ]; do echo 0123456789; i=$((i+1)); done >&2; exit 1").await;
    assert!(flood.unwrap_err().len() < 2000);
    let endless = command("while :; do echo 0123456789; done").await.unwrap_err();
    assert!(endless.contains("printed more than 64 KiB"), "{endless}");
    let nobody = SecretKeeper::Command(vec!["no-such-program".to_owned()]);
    let nobody = read(nobody, WITHIN).await.unwrap_err();
    assert!(nobody.contains("`no-such-program` cannot be started: No such file"), "{nobody}");
    assert!(nobody.contains("absolute path"), "{nobody}");
}

/// Whether the process whose number stands in the file is there; `None`: no number yet.
fn lives(file: &Path) -> Option<bool> {
    let pid = fs::read_to_string(file).ok().filter(|pid| pid.ends_with('\n'))?;
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    // Nobody reaps the orphans of some containers.
    Some(stat.is_ok_and(|stat| !stat.contains(") Z ")))
}

async fn until(mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < WITHIN, "it never happened");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A command that has started another, and waits for it; that one's number is written to `pid`.
fn waiting(folder: &Path) -> (SecretKeeper, PathBuf) {
    let pid = folder.join("pid");
    let script = format!("echo unlock it >&2; sleep 600 & echo $! >{}; wait", pid.display());
    (shell(&script), pid)
}

#[tokio::test]
async fn a_slow_command_ends_with_all_that_it_has_started() {
    let folder = tempfile::tempdir().unwrap();
    let (keeper, pid) = waiting(folder.path());
    let error = read(keeper, Duration::from_secs(1)).await.unwrap_err();
    assert!(error.contains("gave no answer within 1s: unlock it; type `sh -c"), "{error}");
    until(|| lives(&pid) == Some(false)).await;
}

#[tokio::test]
async fn nobody_waits_for_what_a_command_leaves_behind() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let leaving =
        |rest: &str| format!("echo waits >&2; sleep 600 & echo $! >{}; echo a b; {rest}", pid.display());
    let began = Instant::now();
    // Its pipes are still held when it ends.
    assert_eq!(command(&leaving("exit 0")).await.as_deref(), Ok("a b"));
    assert!(began.elapsed() < WITHIN / 2);
    assert_eq!(lives(&pid), Some(true), "it may be meant to stay");
    kill(&pid);
    let error = command(&leaving("exit 3")).await.unwrap_err();
    assert!(error.contains("failed (exit status: 3): waits; type"), "{error}");
    kill(&pid);
    // One that closes its output and goes on has the time of one.
    let closed = shell("exec >&- 2>&-; sleep 600");
    let began = Instant::now();
    let error = read(closed, Duration::from_secs(1)).await.unwrap_err();
    assert!(error.contains("gave no answer within 1s"), "{error}");
    assert!(began.elapsed() < WITHIN / 2);
    let much = command("head -c 60000 /dev/zero | tr '\\0' x").await.unwrap();
    assert_eq!(much.len(), 60_000);
}

fn kill(pid: &Path) {
    let pid = fs::read_to_string(pid).unwrap().trim().parse().ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn no_secret_is_in_a_commands_last_words_however_they_are_cut() {
    // By the session's own secrets, and by what it has printed before it waits.
    let slow = shell("x=hunter; printf ${x}2-x; echo it is ${x}2-x, of-the-session >&2; sleep 600");
    let error = read(slow, Duration::from_secs(1)).await.unwrap_err();
    assert!(error.contains("within 1s: it is [redacted], [redacted]; type"), "{error}");
    let failed = command("echo of-the-session >&2; exit 1 ").await.unwrap_err();
    assert!(failed.contains(": [redacted]; type"), "{failed}");
    // A line of which only the end is kept.
    for before in [7_000, 8_100, 9_000] {
        let script = format!(
            "x=$(printf '%040d' 0 | tr 0 k); printf $x; (head -c {before} /dev/zero | tr '\\0' .; printf %s \
             $x$x$x$x$x; head -c 1000 /dev/zero | tr '\\0' .) >&2; exit 1"
        );
        let error = command(&script).await.unwrap_err();
        assert!(!error.split("; type").next().unwrap().contains("kkk"), "{error}");
    }
}

#[tokio::test]
async fn a_command_that_a_terminal_has_stopped_is_not_waited_for() {
    let began = Instant::now();
    let error = command("kill -TTIN $$; echo x").await.unwrap_err();
    assert!(error.contains("asks on a terminal, where it is not heard; type `sh -c"), "{error}");
    assert!(began.elapsed() < WITHIN / 2);
}

#[test]
fn a_command_is_told_no_terminal() {
    let command = command::prepared(&["gpg".to_owned()], Path::new("/")).unwrap();
    let told: Vec<_> = command.as_std().get_envs().collect();
    assert_eq!(told, [("GPG_TTY".as_ref(), None)]);
}

fn secrets(keepers: &[(&str, SecretKeeper)], redactor: &Redactor) -> Secrets {
    let of = |(name, keeper): &(&str, SecretKeeper)| EnvVar {
        name: (*name).to_owned(),
        value: String::new(),
        secret: true,
        kept: Some(kept(keeper.clone(), Path::new("/"), WITHIN)),
    };
    let env: Vec<_> = keepers.iter().map(of).collect();
    Secrets::among(&env, "s", redactor).unwrap()
}

#[tokio::test]
async fn what_a_session_waits_for_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (keeper, pid) = waiting(folder.path());
    let secrets = secrets(&[("X", keeper)], &Redactor::new([]));
    let other = secrets.clone();
    tokio::select! {
        read = secrets.read() => panic!("{read:?}"),
        () = until(|| lives(&pid) == Some(true)) => {}
    }
    drop(secrets);
    assert_eq!(lives(&pid), Some(true), "another one waits");
    drop(other);
    until(|| lives(&pid) == Some(false)).await;
}

#[tokio::test]
async fn a_session_reads_each_once_and_its_redactor_learns_them() {
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    let once = shell(&format!("echo x >>{}; echo hunter2-a", count.display()));
    let file = written(&folder, b"hunter2-b\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let redactor = Redactor::new([]);
    let secrets = secrets(&[("A", once), ("B", SecretKeeper::File(file))], &redactor);
    assert_eq!(secrets.patience(), WITHIN);
    let env = ["A=".to_owned(), "B=".to_owned(), "C=c=d".to_owned()];
    let filled = secrets.fill(&env).await.unwrap();
    assert_eq!(filled, ["A=hunter2-a", "B=hunter2-b", "C=c=d"]);
    secrets.read().await.unwrap();
    assert_eq!(secrets.fill(&env).await.unwrap(), filled);
    assert_eq!(fs::read_to_string(count).unwrap(), "x\n", "the server that follows a lost one has the same");
    assert_eq!(secrets.patience(), Duration::ZERO);
    assert_eq!(redactor.text("hunter2-a, hunter2-b"), "[redacted], [redacted]");
    assert!(!format!("{secrets:?}").contains("hunter2"));
}

#[tokio::test]
async fn commands_run_at_the_same_time_and_the_first_failure_ends_them() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let pipe = pipe.display();
    let (reads, writes) =
        (shell(&format!("cat {pipe}")), shell(&format!("echo from-b >{pipe}; echo b-value")));
    let met = secrets(&[("A", reads), ("B", writes)], &Redactor::new([]));
    assert_eq!(met.fill(&["A=".to_owned()]).await.unwrap(), ["A=from-b"]);
    let (keeper, pid) = waiting(folder.path());
    let failing = secrets(&[("A", keeper), ("B", shell("exit 1"))], &Redactor::new([]));
    let failure = failing.read().await.unwrap_err();
    assert!(failure.text.contains("its secret `B`"), "{failure}");
    until(|| lives(&pid) != Some(true)).await;
    assert_eq!(failing.read().await.unwrap_err(), failure);
}

#[test]
fn debug_and_errors_hide_what_looks_like_a_credential() {
    let words = ["vault", "--token=hunter2"].map(str::to_owned).to_vec();
    let kept = kept(SecretKeeper::Command(words), Path::new("/"), WITHIN);
    let why = error::Why::Command(CommandError::Start(std::io::Error::other("no")));
    let error = SecretError::new("s", "X", &kept, why);
    let shown = format!("{} {:?} {kept:?}", Failure::of(&error), error.next());
    assert!(!shown.contains("hunter2"), "{shown}");
}

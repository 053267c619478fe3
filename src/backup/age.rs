//! Encrypts and decrypts with the program `age`, which whoever has a recipient has: the library is 150 crates.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use mcp_berth::failure::{Code, Failure};

const PROGRAM: &str = "age";

/// No words of its own are longer (bytes).
const WORDS: u64 = 4 << 10;

/// Encrypts `plain` for all `recipients`.
pub(crate) fn encrypt(plain: &[u8], recipients: &[String]) -> Result<Vec<u8>, Failure> {
    let mut command = Command::new(PROGRAM);
    command.arg("--encrypt");
    for recipient in recipients {
        command.arg(format!("--recipient={recipient}"));
    }
    run(command, plain, "encrypt the secrets", "name a recipient of age, such as `age1…`, with `--recipient`")
}

/// Decrypts what was encrypted for the identity in the file.
pub(crate) fn decrypt(encrypted: &[u8], identity: &Path) -> Result<Vec<u8>, Failure> {
    let mut command = Command::new(PROGRAM);
    command.args(["--decrypt", "--identity"]).arg(identity);
    run(command, encrypted, "decrypt the secrets", "name the file of the right identity with `--identity`")
}

fn run(mut command: Command, input: &[u8], op: &str, next: &str) -> Result<Vec<u8>, Failure> {
    let failed = |why: &str, next: &str| Failure {
        code: Code::Unavailable,
        text: format!("cannot {op}: {why}"),
        next: Some(next.to_owned()),
    };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        failed(
            &format!("`{PROGRAM}` cannot be started ({error})"),
            "install age (https://age-encryption.org)",
        )
    })?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (output, words) = std::thread::scope(|scope| {
        let words = scope.spawn(move || {
            let mut words = String::new();
            let _ = stderr.map(|stderr| stderr.take(WORDS).read_to_string(&mut words));
            words
        });
        scope.spawn(move || {
            // A program that ends early says why.
            let _ = stdin.map(|mut stdin| stdin.write_all(input));
        });
        let mut output = Vec::new();
        let read = stdout.map_or(Ok(0), |mut stdout| stdout.read_to_end(&mut output));
        (read.map(|_| output), words.join().unwrap_or_default())
    });
    let status = child.wait().map_err(|error| failed(&error.to_string(), next))?;
    if !status.success() {
        let words = words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
        let words: String = words.chars().filter(|char| !char.is_control()).collect();
        return Err(failed(&words, next));
    }
    output.map_err(|error| failed(&error.to_string(), next))
}

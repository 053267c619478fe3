//! Well-known causes in what a server said before it ended, each with the step that mends it. Text to text.

/// The lines of a server's standard error that say why it ended.
const TELLING: [&str; 22] = [
    "error",
    "exception",
    "fatal",
    "panic",
    "cannot",
    "can't",
    "could not",
    "couldn't",
    "unable to",
    "failed",
    "denied",
    "not found",
    "no such",
    "not permitted",
    "not set",
    "is required",
    "missing",
    "invalid",
    "refused",
    "unexpected",
    "no space",
    "can only run",
];

/// Lines that hold for any failure.
const NOISE: [&str; 12] = [
    "npm warn",
    "npm notice",
    "npm error a complete log",
    "npm error path",
    "npm error errno",
    "node:internal",
    "node.js v",
    "^",
    "traceback (most",
    "during handling of",
    "throw ",
    "require stack",
];
/// A stack's frames, which are indented.
const FRAMES: [&str; 2] = ["at ", "file \""];

/// Whether a line says no more than that something has failed.
pub fn is_noise(line: &str) -> bool {
    let text = line.trim_start().to_ascii_lowercase();
    let is_frame = text.len() < line.len() && FRAMES.iter().any(|frame| text.starts_with(frame));
    is_frame
        || NOISE.iter().any(|noise| text.starts_with(noise))
        || !text.contains(|c: char| c.is_alphanumeric())
}

/// Whether a line looks like the reason of a failure.
pub fn is_telling(line: &str) -> bool {
    if is_noise(line) {
        return false;
    }
    let line = line.to_ascii_lowercase();
    TELLING.iter().any(|word| line.contains(word))
}

/// What to do about the cause that a server's words name; `None` where no known one is among them.
pub fn next(said: &str) -> Option<&'static str> {
    let said = said.to_ascii_lowercase();
    CAUSES.iter().find(|(signs, _)| signs.iter().any(|sign| is_there(&said, sign))).map(|(_, next)| *next)
}

/// Whether all parts of a sign, between `*`, stand there in a line one behind the other.
fn is_there(said: &str, sign: &str) -> bool {
    said.lines().any(|line| {
        let mut rest = Some(line);
        for part in sign.split('*') {
            rest = rest.and_then(|rest| Some(rest.split_once(part)?.1));
        }
        rest.is_some()
    })
}

/// The signs of each cause, in small letters, and its step. A cause that another one looks like stands before it.
const CAUSES: [(&[&str], &str); 16] = [
    (
        &["can only run as pid 1", "must be run as pid 1", "s6-overlay*pid 1"],
        "the image begins with an init that wants to be PID 1, which berth's own is: set `command` to the server's own \
         program instead of the image's",
    ),
    (
        &["no new privileges", "effective uid is not 0"],
        "it calls `sudo` or another setuid program, which gains nothing here: run it as the user it needs with `user`, or set \
         `no_new_privileges = false`",
    ),
    (
        &[
            "failed switching to*operation not permitted",
            "setgroups*operation not permitted",
            "setgroups*eperm",
            "setgid*operation not permitted",
            "setuid*operation not permitted",
            "su-exec*operation not permitted",
            "su: can't set*operation not permitted",
            "cannot set groups*operation not permitted",
        ],
        "it changes its user at the start: set `user` to that user, or `cap_add = [\"SETUID\", \"SETGID\"]`",
    ),
    (
        &["chown*operation not permitted", "changing ownership*operation not permitted", "eperm*chown"],
        "it gives files to another user at the start: set `user` to that user, or `cap_add = [\"CHOWN\", \"DAC_OVERRIDE\"]`",
    ),
    (
        &["exec*operation not permitted", "eperm*spawn", "spawn*eperm"],
        "its program has capabilities of its own (`getcap`), which a session must be given: name them in `cap_add`",
    ),
    (
        &["enospc", "no space left on device", "errno 28]"],
        "a folder in memory is full: raise it with `tmpfs = { \"/tmp\" = \"1g\" }`, and `memory` with it, which it counts in",
    ),
    (
        &["erofs", "read-only file system", "errno 30]"],
        "it writes where nothing can be written: mount that folder with `:rw`, keep it in `volumes`, or point the server to /tmp",
    ),
    (
        &[
            "eacces*'/root",
            "permission denied*'/root",
            "permission denied: *'/root",
            "/root/*permission denied",
            "eacces*'/home/",
            "permission denied*'/home/",
            "permission denied*\"/home/",
            "/home/*permission denied",
        ],
        "that folder is another user's alone: leave `user` out of its table, or set HOME in `env` to a folder that it can reach",
    ),
    (
        &[
            "git executable not found",
            "git executable must be",
            "spawn git enoent",
            "git: not found",
            "git: command not found",
            "no such file or directory: 'git'",
            "\"git\": executable file not found",
            "failed to find*git",
            "unable to locate git",
        ],
        "it needs `git`, which its image lacks: use an image that has it (for a package: `node` or `uv` in [bake])",
    ),
    (
        &["cannot find module '/", "cannot find module 'file:/"],
        "that file is not in its container: build the server where that is due, and name its folder in `mounts`",
    ),
    (
        &["cannot find module '", "cannot find package '"],
        "a package that it needs is not in its container: type `npm install` in the folder that is mounted, or use an image that \
         has the package",
    ),
    (
        &["no module named"],
        "a package that it imports is not in its container: write it as `uv --directory FOLDER run FILE` where it has a \
         `pyproject.toml`, or as `uv run --with PACKAGE FILE`, or use an image that has the package",
    ),
    (
        &[
            "gcc: not found",
            "cc: not found",
            "make: not found",
            "g++: not found",
            "gcc: command not found",
            "command 'gcc' failed",
            "command 'cc' failed",
            "linker `cc` not found",
            "not found: make",
            "no such file or directory: 'gcc'",
            "no such file or directory: 'cc'",
            "unable to find a compiler",
            "no acceptable c compiler",
        ],
        "it compiles a part of itself, and its image has no compiler: use an image that has one (for a package: `node` or `uv` in \
         [bake])",
    ),
    (
        &[
            "playwright install",
            "could not find chrome",
            "could not find browser",
            "could not find chromium",
            "failed to launch the browser",
            "chromium distribution*is not found",
            "browser is not installed",
            "executable doesn't exist at*ms-playwright",
            "chrome not found",
        ],
        "it needs a browser, which its image lacks: run it from an image that has one, as its vendor's, with `image` or `docker`",
    ),
    (
        &[
            "econnrefused*127.0.0.1",
            "econnrefused*::1",
            "127.0.0.1*connection refused",
            "localhost*connection refused",
            "connection refused*localhost",
            "connection refused*127.0.0.1",
            "connect call failed*127.0.0.1",
        ],
        "it looks for a service on this machine, and 127.0.0.1 is its container's own: name the port in `host_services`",
    ),
    (
        &["exec format error"],
        "its program is for another processor: use an image, or a version of the package, for this machine's",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_cause_has_its_own_step() {
        for (said, part) in [
            ("s6-overlay-suexec: fatal: can only run as pid 1", "`command`"),
            (
                "sudo: The \"no new privileges\" flag is set, which prevents sudo from running as root.",
                "no_new_privileges",
            ),
            ("sudo: effective uid is not 0, is sudo installed setuid root?", "no_new_privileges"),
            ("error: failed switching to \"node\": operation not permitted", "SETUID"),
            ("su-exec: setgroups: Operation not permitted", "SETUID"),
            ("chown: changing ownership of '/data': Operation not permitted", "CHOWN"),
            ("/entry.sh: line 3: exec: /usr/bin/app: Operation not permitted", "getcap"),
            ("Error: ENOSPC: no space left on device, write", "tmpfs"),
            ("OSError: [Errno 28] No space left on device: '/tmp/x'", "tmpfs"),
            ("write /tmp/x: no space left on device", "tmpfs"),
            ("Error: EROFS: read-only file system, open '/app/db'", ":rw"),
            ("Error: EACCES: permission denied, mkdir '/root/.cache'", "leave `user` out"),
            ("PermissionError: [Errno 13] Permission denied: '/home/app/.config'", "`user`"),
            ("open /root/.config: permission denied", "`user`"),
            ("Git executable not found. Ensure that Git is installed and available.", "`git`"),
            ("Error: spawn git ENOENT", "`git`"),
            ("sh: 1: git: not found", "`git`"),
            ("FileNotFoundError: [Errno 2] No such file or directory: 'git'", "`git`"),
            ("exec: \"git\": executable file not found in $PATH", "`git`"),
            ("error: command 'gcc' failed: No such file or directory", "compiler"),
            ("gyp ERR! stack Error: not found: make", "compiler"),
            ("Error: Chromium distribution 'chrome' is not found at /opt/google/chrome/chrome", "browser"),
            ("Error: Could not find Chrome (ver. 131.0.6778.204).", "browser"),
            ("    npx playwright install", "browser"),
            ("Error: connect ECONNREFUSED 127.0.0.1:5432", "host_services"),
            ("exec /app: exec format error", "another processor"),
            ("ModuleNotFoundError: No module named 'mcp'", "uv --directory"),
            ("/usr/local/bin/python3: No module named my_server", "uv --directory"),
            ("Error: Cannot find module '@modelcontextprotocol/sdk'", "npm install"),
            ("Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'zod' imported from /w/s.js", "npm install"),
            ("Error: Cannot find module '/w/dist/index.js'", "its folder"),
            (
                "Error [ERR_MODULE_NOT_FOUND]: Cannot find module '/w/dist/x.js' imported from /w/s.js",
                "its folder",
            ),
        ] {
            let next = next(&format!("starting\n{said}\nbye")).unwrap_or_else(|| panic!("{said}"));
            assert!(next.contains(part), "{said}: {next}");
        }
    }

    #[test]
    fn what_only_looks_alike_has_none() {
        for said in [
            "",
            "Error: API_KEY is required",
            "EACCES: permission denied, open '/data/x'",
            "git is fine",
            "failed switching to\nanother line: operation not permitted",
            "connect ECONNREFUSED 10.1.2.3:5432",
        ] {
            assert_eq!(next(said), None, "{said}");
        }
    }

    #[test]
    fn the_lines_that_say_why_are_told_from_the_others() {
        for line in [
            "at least one key is required",
            "Error: Cannot find module 'x'",
            "npm error code E404",
            "API_KEY is required",
            "panic: boom",
        ] {
            assert!(is_telling(line), "{line}");
        }
        for line in [
            "",
            "listening",
            "npm warn deprecated inflight@1.0.6: failed",
            "npm notice New major version",
            "    at Object.<anonymous> (/app/error.js:1:7)",
            "  File \"/app/error.py\", line 3, in <module>",
            "    ^^^^",
            "Node.js v22.1.0",
        ] {
            assert!(!is_telling(line), "{line}");
        }
    }
}

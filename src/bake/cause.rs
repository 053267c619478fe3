//! Why an installation failed, judged by what it said, and the next step for each cause.

use crate::failure::Code;

/// What an installation lacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Space,
    Memory,
    Git,
    Repository,
    Certificate,
    Yanked,
    Python,
    Compiler,
    Node,
    Unknown,
    Lock,
    Conflict,
    Login,
    Browser,
    Interpreter,
    Network,
    Other,
}

/// How a line begins that tells of something which stops nothing, in lower case.
const WARNINGS: [&str; 4] = ["npm warn", "npm notice", "warning:", "warn:"];

/// By what each is known, in lower case; the first that is found holds.
const SAYINGS: [(Cause, &[&str]); 18] = [
    (Cause::Space, &["enospc", "no space left on device"]),
    (Cause::Memory, &["heap out of memory", "cannot allocate memory", "memoryerror"]),
    (
        Cause::Git,
        &[
            "git executable not found",
            "spawn git enoent",
            "git: not found",
            "git: command not found",
            "no such file or directory: 'git'",
            "syscall spawn git",
        ],
    ),
    (
        Cause::Compiler,
        &[
            "not found: make",
            "make: not found",
            "gcc: not found",
            "g++: not found",
            "cc: not found",
            "gcc' failed",
            "g++' failed",
            "cc' failed",
            "cc: command not found",
            "no such file or directory: 'gcc'",
            "no such file or directory: 'cc'",
            "python.h: no such file",
            "linker `cc` not found",
            "cmake_c_compiler",
            "unknown compiler",
            "compiler cannot create executables",
            "no acceptable c compiler",
            "could not find compiler",
            "pkg-config: not found",
            "rust compiler",
            "cargo, the rust package manager",
        ],
    ),
    // git says so of a repository that it could not even ask for.
    (Cause::Network, &["could not resolve host", "failed to connect to"]),
    (
        Cause::Repository,
        &[
            "git operation failed",
            "could not read username",
            "repository not found",
            "failed to clone",
            "git ls-remote",
        ],
    ),
    (
        Cause::Certificate,
        &[
            "self_signed_cert",
            "self-signed certificate",
            "self signed certificate",
            "unable_to_verify_leaf",
            "unable_to_get_issuer",
            "unable to get local issuer",
            "certificate verify failed",
            "certificate_verify_failed",
            "invalid peer certificate",
            "unknownissuer",
            "cert_has_expired",
        ],
    ),
    (Cause::Yanked, &["yanked"]),
    (
        Cause::Python,
        &[
            "no interpreter found for python",
            "does not satisfy python",
            "depends on python",
            "requires-python",
            "matching python version tag",
            "matching python abi tag",
            "python version is incompatible",
            "requires a different python",
            "could not find a suitable python",
        ],
    ),
    // A build may end so by another cause, which stands before.
    (
        Cause::Compiler,
        &[
            "gyp err!",
            "node-gyp",
            "the build backend returned an error",
            "failed to build wheel",
            "failed building wheel",
        ],
    ),
    (Cause::Node, &["ebadengine", "enotsup", "unsupported engine"]),
    (
        Cause::Unknown,
        &[
            "e404",
            "is not in this registry",
            "etarget",
            "einvalidtagname",
            "not found in the package registry",
            "there is no version of",
            "has no program",
            "have no program",
        ],
    ),
    (
        Cause::Lock,
        &[
            "unable to find lockfile",
            "lockfile at `uv.lock` needs to be updated",
            "failed to parse `uv.lock`",
            "no `pyproject.toml`",
        ],
    ),
    (Cause::Conflict, &["eresolve", "no solution found when resolving", "conflicting dependencies"]),
    (Cause::Login, &["e401", "e403", "eneedauth", "401 unauthorized", "403 forbidden"]),
    (
        Cause::Browser,
        &[
            "playwright.dev",
            "playwright.azureedge.net",
            "playwright.download",
            "failed to download chrom",
            "failed to set up chrome",
            "chrome-for-testing",
        ],
    ),
    (Cause::Interpreter, &["python-build-standalone"]),
    (
        Cause::Network,
        &[
            "enotfound",
            "eai_again",
            "econnrefused",
            "econnreset",
            "etimedout",
            "enetunreach",
            "ehostunreach",
            "dns error",
            "could not resolve",
            "connection refused",
            "failed to fetch",
            "error sending request",
            "network request failed",
            "request timed out",
            "operation timed out",
            "tunneling socket",
            "temporary failure",
        ],
    ),
];

/// The lines of a log that may tell why it ended.
fn telling(log: &str) -> impl Iterator<Item = &str> {
    let is_warning = |line: &str| {
        let line = line.trim_start().to_ascii_lowercase();
        WARNINGS.iter().any(|warning| line.starts_with(warning))
    };
    log.lines().filter(move |line| !is_warning(line))
}

impl Cause {
    pub(super) fn of(log: &str) -> Self {
        let lines: Vec<String> = telling(log).map(str::to_ascii_lowercase).collect();
        let is_there = |saying: &&str| lines.iter().any(|line| line.contains(saying));
        let told = SAYINGS.iter().find(|(_, sayings)| sayings.iter().any(&is_there));
        told.map_or(Self::Other, |(cause, _)| *cause)
    }

    /// The first line of a log that tells it.
    pub(super) fn line(self, log: &str) -> Option<&str> {
        let sayings = SAYINGS.iter().filter(|(cause, _)| *cause == self);
        let sayings: Vec<&str> = sayings.flat_map(|(_, sayings)| sayings.iter().copied()).collect();
        let tells = |line: &&str| {
            let line = line.to_ascii_lowercase();
            sayings.iter().any(|saying| line.contains(saying))
        };
        telling(log).find(tells)
    }

    /// Whether compilers and git would help.
    pub(super) fn needs_tools(self) -> bool {
        matches!(self, Self::Compiler | Self::Git)
    }

    pub(super) fn code(self) -> Code {
        match self {
            Self::Browser | Self::Interpreter | Self::Network | Self::Other => Code::Unavailable,
            _ => Code::Configuration,
        }
    }

    pub(super) fn next(self) -> &'static str {
        match self {
            Self::Space => {
                "free space on the daemon's disk: `berth doctor` shows what takes it; then type `berth bake`"
            }
            Self::Memory => "raise `memory` in [bake], and type `berth bake`",
            Self::Git => "name an image that has git as the server's `base`, and type `berth bake`",
            Self::Repository => {
                "check the repository's address: it must be readable without a login; then type `berth bake`"
            }
            Self::Certificate => {
                "set `ca` in [bake] to your network's bundle of certificates, and type `berth bake`"
            }
            Self::Yanked => {
                "its publisher has withdrawn the version: write another version, or the package that has followed it"
            }
            Self::Python => {
                "choose a Python that the package takes, as in `uvx --python 3.12 PACKAGE`, or another version of it"
            }
            Self::Compiler => {
                "what it compiles needs more than a C compiler: name an image that has what it needs as the server's `base`, or \
                 build an image with the server in it"
            }
            Self::Node => {
                "name an image with the Node that it asks for as the server's `base`, as in `base = \"node:24-slim\"`; or write another version of it"
            }
            Self::Unknown => "correct the package's name, version or program",
            Self::Lock => "type `uv lock` in the project's folder, then `berth bake`",
            Self::Conflict => {
                "its packages exclude each other: write another version, or pass `npm_config_legacy_peer_deps = \"true\"` in the \
                 server's `env` for npm"
            }
            Self::Login => {
                "the registry wants a login: write one into `npm_registry` or `python_index` in [bake]"
            }
            Self::Browser => {
                "leave its browser out with `PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD = \"1\"` or `PUPPETEER_SKIP_DOWNLOAD = \"1\"` in the \
                 server's `env`, and name an image that has one as its `base`"
            }
            Self::Interpreter => {
                "uv cannot download that Python: leave `--python` out, name an image that has it as the server's `base`, or set \
                 `proxy` or `ca` in [bake]"
            }
            Self::Network => {
                "check that the registry can be reached, and the repository of what comes from git, or set `npm_registry`, \
                 `python_index`, `proxy` or `ca` in [bake]; then type `berth bake`"
            }
            Self::Other => {
                "see what it says; a variable of the server's `env` for npm, uv or pip reaches the installation; `berth bake` tries again"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_advised_by_its_cause() {
        for (log, cause) in [
            (
                "  × Failed to download\n  ╰─▶ Git executable not found. Ensure that Git is installed",
                Cause::Git,
            ),
            (
                "npm error code ENOENT\nnpm error syscall spawn git\nnpm error enoent An unknown git error",
                Cause::Git,
            ),
            ("npm error gyp ERR! stack Error: not found: make", Cause::Compiler),
            ("error: command 'gcc' failed: No such file or directory", Cause::Compiler),
            ("error: linker `cc` not found", Cause::Compiler),
            ("error: command 'x86_64-linux-gnu-gcc' failed with exit code 1", Cause::Compiler),
            (
                "Because all versions of a were yanked and you require a, your requirements are unsatisfiable",
                Cause::Yanked,
            ),
            (
                "Because the current Python version (3.11) does not satisfy Python>=3.12 and a depends on Python",
                Cause::Python,
            ),
            ("error: No interpreter found for Python 3.9 in managed installations", Cause::Python),
            ("npm error code EBADENGINE", Cause::Node),
            ("npm error code E404", Cause::Unknown),
            ("npm error code ETARGET", Cause::Unknown),
            ("npm error code ERESOLVE", Cause::Conflict),
            ("npm error code E401", Cause::Login),
            ("npm error code SELF_SIGNED_CERT_IN_CHAIN", Cause::Certificate),
            ("error: invalid peer certificate: UnknownIssuer", Cause::Certificate),
            ("npm error network getaddrinfo EAI_AGAIN registry", Cause::Network),
            ("npm error Error: getaddrinfo ENOTFOUND cdn.playwright.dev", Cause::Browser),
            (
                "ERROR: Failed to set up chrome v131.0! Set \"PUPPETEER_SKIP_DOWNLOAD\" env variable",
                Cause::Browser,
            ),
            (
                "cause: Failed to download `https://h/python-build-standalone/cpython.tar.gz`: dns error",
                Cause::Interpreter,
            ),
            ("error sending request for url: dns error: failed to lookup address", Cause::Network),
            ("npm error code ENOSPC", Cause::Space),
            (
                "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
                Cause::Memory,
            ),
            ("fatal: could not read Username for 'https://github.com'", Cause::Repository),
            (
                "error: Git operation failed\nfatal: unable to access 'https://h/a/': Could not resolve host: h",
                Cause::Network,
            ),
            ("npm error code ELIFECYCLE", Cause::Other),
            // What is only warned of has stopped nothing.
            ("npm warn EBADENGINE Unsupported engine\nsh: 1: make: not found", Cause::Compiler),
            ("npm WARN deprecated yanked@1.0.0\nnpm ERR! code E404", Cause::Unknown),
            (
                "warning: `a==1` is yanked (reason: \"broken\")\nerror: command 'gcc' failed: No such file",
                Cause::Compiler,
            ),
            ("warning: The `requires-python` of `a` is unusual\nerror: Git executable not found", Cause::Git),
            ("npm notice a tunneling socket\nnpm error code ELIFECYCLE", Cause::Other),
            // A compiler that is not there stands before whatever else was said.
            ("Reason for being yanked: broken\nerror: command 'gcc' failed: No such file", Cause::Compiler),
            ("fatal error: Python.h: No such file or directory\nhint: depends on python", Cause::Compiler),
            // A build may fail by another cause, too.
            (
                "The build backend returned an error\nRuntimeError: x requires a different Python: 3.9",
                Cause::Python,
            ),
            ("npm error gyp ERR! stack FetchError: self-signed certificate", Cause::Certificate),
        ] {
            assert_eq!(Cause::of(log), cause, "{log}");
            let speaks_of_registry = cause.next().contains("registry can be reached");
            assert_eq!(speaks_of_registry, cause == Cause::Network, "{log}: {}", cause.next());
        }
        let log = "added\nerror: command 'gcc' failed: No such file\nhint: a\nhint: b";
        assert_eq!(Cause::Compiler.line(log), Some("error: command 'gcc' failed: No such file"));
        let log = "npm warn ENOTFOUND\nnpm error ENOTFOUND x";
        assert_eq!(Cause::Network.line(log), Some("npm error ENOTFOUND x"));
        assert_eq!(Cause::Compiler.line("failed to build wheel"), Some("failed to build wheel"));
    }
}

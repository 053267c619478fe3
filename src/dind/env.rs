//! The variables that point the docker CLI at the DinD daemon, as lines for `eval` in a shell.

use std::ffi::{OsStr, OsString};

use crate::config::Daemon;

/// The lines; `in_context` says whether a `DOCKER_CONTEXT` is set, of which the docker CLI would warn at each call.
pub fn lines(daemon: &Daemon, in_context: bool) -> OsString {
    let mut out = OsString::new();
    let mut export = |name: &str, value: &OsStr| {
        out.push("export ");
        out.push(name);
        out.push("=");
        out.push(quoted(value));
        out.push("\n");
    };
    export("DOCKER_HOST", OsStr::new(&daemon.address));
    if let Some(certs) = &daemon.certs {
        export("DOCKER_CERT_PATH", certs.as_os_str());
        export("DOCKER_TLS_VERIFY", OsStr::new("1"));
    } else {
        out.push("unset DOCKER_CERT_PATH DOCKER_TLS_VERIFY\n");
    }
    if in_context {
        out.push("unset DOCKER_CONTEXT\n");
    }
    out
}

/// A word for `sh` that stands for exactly these bytes.
fn quoted(value: &OsStr) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = value.as_bytes();
    if !bytes.is_empty() && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"/:._-".contains(b)) {
        return value.to_owned();
    }
    let mut word = vec![b'\''];
    for &byte in bytes {
        if byte == b'\'' {
            word.extend_from_slice(br"'\''");
        } else {
            word.push(byte);
        }
    }
    word.push(b'\'');
    OsString::from_vec(word)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    use super::*;

    fn daemon(certs: Option<&OsStr>) -> Daemon {
        Daemon::configured("tcp://127.0.0.1:12376", certs.map(Into::into))
    }

    #[test]
    fn plain_values_stay_readable() {
        assert_eq!(
            lines(&daemon(Some(OsStr::new("/home/me/.local/share/berth/certs"))), false),
            "export DOCKER_HOST=tcp://127.0.0.1:12376\n\
             export DOCKER_CERT_PATH=/home/me/.local/share/berth/certs\n\
             export DOCKER_TLS_VERIFY=1\n"
        );
    }

    #[test]
    fn without_certificates_and_in_a_context_the_shells_own_are_unset() {
        assert_eq!(
            lines(&daemon(None), true),
            "export DOCKER_HOST=tcp://127.0.0.1:12376\n\
             unset DOCKER_CERT_PATH DOCKER_TLS_VERIFY\n\
             unset DOCKER_CONTEXT\n"
        );
    }

    #[test]
    fn a_shell_reads_any_value_back() {
        for value in ["", "a b", "it's", "$HOME `x` \"q\" \\", "a\nb", "~", "*;&|<>", "ü"] {
            let script = lines(&daemon(Some(OsStr::new(value))), false);
            let mut command = OsString::from("eval \"$1\"; printf %s \"$DOCKER_CERT_PATH\"");
            command.push("");
            let shell = Command::new("sh").arg("-c").arg(command).arg("sh").arg(script).output().unwrap();
            assert_eq!(OsStr::from_bytes(&shell.stdout), value);
        }
    }
}

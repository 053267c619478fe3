//! Who berth is to a cluster: a plug-in that gives credentials, or a token in a file that somebody renews.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::header::AUTHORIZATION;
use kube::client::{AuthError, Body};
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode, Kubeconfig};
use mcp_berth::failure::chain;
use tower::BoxError;

/// What a person does who has no credentials.
pub(crate) const LOG_IN: &str = "try `kubectl auth whoami`, and log in to the cluster";
/// A file's token is read again after so long.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What a plug-in would read is the client's.
pub(super) fn keep_input(kubeconfig: &mut Kubeconfig) {
    let infos = kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut());
    for exec in infos.filter_map(|info| info.exec.as_mut()) {
        exec.interactive_mode = Some(ExecInteractiveMode::Never);
    }
}

/// A plug-in as a person knows it. Its arguments and its variables may be secrets, and its own words too.
#[derive(Debug, Clone, Default)]
pub(super) struct PlugIn {
    command: Option<String>,
    install_hint: Option<String>,
}

impl PlugIn {
    pub(super) fn of(info: &AuthInfo) -> Self {
        let Some(ExecConfig { command, install_hint, .. }) = info.exec.clone() else {
            return Self::default();
        };
        Self { command, install_hint }
    }

    fn name(&self) -> String {
        let command = self.command.as_ref().map(|command| format!(" `{command}`"));
        format!("the plug-in for credentials{}", command.unwrap_or_default())
    }

    pub(super) fn failed(&self, error: &AuthError) -> String {
        match error {
            AuthError::AuthExecStart(error) => format!("{} cannot be run: {error}", self.name()),
            AuthError::AuthExecRun { out, .. } => format!("{} failed ({})", self.name(), out.status),
            AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => format!("{} gave none", self.name()),
            AuthError::AuthExec(_) => "the `auth-provider` gives no credentials; `exec` may".to_owned(),
            error => chain(error),
        }
    }

    /// What a person does about it.
    pub(super) fn mended_by(&self, error: &AuthError) -> String {
        match (error, &self.install_hint) {
            (AuthError::AuthExecStart(_), Some(hint)) => hint.trim().to_owned(),
            (AuthError::AuthExecStart(_), None) => {
                "install it, or correct its user's `exec` in the kubeconfig".to_owned()
            }
            _ => LOG_IN.to_owned(),
        }
    }

    /// Such an error among those of requests: credentials are asked for again when they are too old.
    pub(super) fn discreet(&self, error: BoxError) -> BoxError {
        match error.downcast::<AuthError>() {
            Ok(error) => self.failed(&error).into(),
            Err(error) => error,
        }
    }
}

/// A plug-in's command and its output hold secrets, so nobody is told of them.
pub(crate) fn no_credentials(error: &AuthError) -> String {
    PlugIn::default().failed(error)
}

/// A token that is renewed in its file, as in a pod.
#[derive(Clone)]
pub(super) struct TokenFile {
    path: PathBuf,
    last: Arc<Mutex<(HeaderValue, Instant)>>,
}

impl TokenFile {
    /// Takes its place among a user's credentials, where it goes before a token, as with kubectl.
    pub(super) fn take(info: &mut AuthInfo) -> Result<Option<Self>, AuthError> {
        let is_another = info.auth_provider.is_some() || (info.username.is_some() && info.password.is_some());
        let Some(path) = info.token_file.take_if(|_| !is_another) else { return Ok(None) };
        let path = PathBuf::from(path);
        let header = read(&path)?;
        (info.token, info.exec) = (None, None);
        Ok(Some(Self { path, last: Arc::new(Mutex::new((header, Instant::now()))) }))
    }

    pub(super) fn show(&self, mut request: http::Request<Body>) -> http::Request<Body> {
        request.headers_mut().insert(AUTHORIZATION, self.header(Instant::now()));
        request
    }

    /// Where the file is gone, or being written, the last one counts.
    fn header(&self, now: Instant) -> HeaderValue {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(last.1) >= READ_AGAIN_AFTER {
            match read(&self.path) {
                Ok(header) => last.0 = header,
                Err(error) => tracing::debug!("the last token is used again: {error}"),
            }
            last.1 = now;
        }
        last.0.clone()
    }
}

fn read(path: &PathBuf) -> Result<HeaderValue, AuthError> {
    let unreadable = |error| AuthError::ReadTokenFile(error, path.clone());
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let token = text.trim();
    if token.is_empty() {
        return Err(unreadable(std::io::Error::other("it is empty")));
    }
    let mut header =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(AuthError::InvalidBearerToken)?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_again_without_its_line_end_and_the_last_one_outlives_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| std::fs::write(file.path(), text).unwrap();
        let mut info = AuthInfo { token_file: Some(file.path().display().to_string()), ..Default::default() };
        info.token = Some("inline".to_owned().into());
        assert!(TokenFile::take(&mut info.clone()).is_err(), "it is empty");
        write("one\n");
        let token = TokenFile::take(&mut info).unwrap().unwrap();
        assert!(info.token.is_none() && info.token_file.is_none());
        let now = Instant::now();
        write("two\n");
        assert_eq!(token.header(now), "Bearer one");
        assert_eq!(token.header(now + READ_AGAIN_AFTER), "Bearer two");
        write("");
        assert_eq!(token.header(now + READ_AGAIN_AFTER * 2), "Bearer two");
        let shown = token.show(http::Request::new(Body::empty()));
        assert!(shown.headers()[AUTHORIZATION].is_sensitive());
    }

    #[test]
    fn a_plug_in_that_is_not_there_is_told_with_its_hint() {
        let exec = ExecConfig { command: Some("aws".to_owned()), ..Default::default() };
        let mut info = AuthInfo { exec: Some(exec), ..Default::default() };
        let error = AuthError::AuthExecStart(std::io::ErrorKind::NotFound.into());
        let plug_in = PlugIn::of(&info);
        assert_eq!(
            plug_in.failed(&error),
            "the plug-in for credentials `aws` cannot be run: entity not found"
        );
        assert!(plug_in.mended_by(&error).starts_with("install it"));
        info.exec.as_mut().unwrap().install_hint = Some("get it there\n".to_owned());
        assert_eq!(PlugIn::of(&info).mended_by(&error), "get it there");
        assert_eq!(PlugIn::of(&info).mended_by(&AuthError::ExecPluginFailed), LOG_IN);
    }
}

//! A first start of a server, as its client would make it: does it begin a session, and which tools does it list?

use std::ffi::OsString;
use std::time::Duration;

use serde_json::json;

use super::client::{Client, ClientError, Kind};
use super::process::{Launch, Process};

/// What the tools are waited for.
const LIST_WITHIN: Duration = Duration::from_mins(1);
/// A session that was let go is over by then, its server's grace included.
const EXIT_WITHIN: Duration = Duration::from_secs(20);
/// The marks of berth's own lines among a session's.
const OURS: &str = "berth: ";

/// A server that is to be tried.
#[derive(Debug)]
pub struct Trial<'a> {
    pub launch: Launch<'a>,
    pub server: &'a str,
    pub kind: Kind,
    /// All that the client would hand on.
    pub environment: Vec<(OsString, OsString)>,
    /// For the first answer.
    pub within: Duration,
}

/// Why a server does not begin a session.
#[derive(Debug)]
pub struct Failed {
    pub why: String,
    /// Claude Code has asked by the newer protocol and then by the older one, as the first answer took too long, and the server
    /// keeps to the newer one.
    pub is_late: bool,
}

impl Trial<'_> {
    /// What the server's tools are called, or why there is none of it.
    pub async fn run(&self) -> Result<Vec<String>, Failed> {
        // What is tried is this very start, and no death of it may be mended unseen.
        let arguments = [self.server, "--standby", "0", "--on-failure", "exit"];
        let environment = &self.environment;
        let process = self.launch.spawn(arguments, |command| {
            command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
        });
        let other = |why: String| Failed { why, is_late: false };
        let mut process = process.map_err(|error| other(format!("cannot start berth: {error}")))?;
        let (from_session, to_session) = process.pipes().map_err(|error| other(error.to_string()))?;
        let mut client = Client::new(self.kind, from_session, to_session);
        let listed = async {
            client.begin(self.within).await?;
            client.request(&json!("trial-tools"), "tools/list", json!({}), LIST_WITHIN).await
        };
        let answer = listed.await;
        let has_given_up = client.has_given_up();
        client.close().await;
        let ended = tokio::time::timeout(EXIT_WITHIN, process.wait()).await;
        if ended.is_err() {
            process.kill().await;
        }
        match answer {
            Ok(list) => {
                let tools = list["tools"].as_array().into_iter().flatten();
                Ok(tools.map(|tool| tool["name"].as_str().unwrap_or_default().to_owned()).collect())
            }
            // It has begun, and has something else than tools.
            Err(ClientError::Refused { method, .. }) if method == "tools/list" => Ok(Vec::new()),
            Err(error) => {
                // berth's own word is that there was no answer at all.
                let is_servers = matches!(
                    &error,
                    ClientError::Refused { method, message } if method == "initialize" && !message.starts_with(OURS)
                );
                Err(Failed { why: why(&error, &process), is_late: is_servers && has_given_up })
            }
        }
    }
}

/// What berth said of it: as an answer, or on standard error where the session has ended with its server.
fn why(error: &ClientError, process: &Process) -> String {
    if let ClientError::Refused { message, .. } = error
        && let Some(message) = message.strip_prefix(OURS)
    {
        return message.to_owned();
    }
    let said = std::fs::read(&process.stderr).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let ours = said.lines().rev().filter_map(|line| line.strip_prefix(OURS));
    let failure = ours.into_iter().find(|line| !line.starts_with("warning:"));
    failure.map_or_else(|| process.with_last_words(&error.to_string()), str::to_owned)
}

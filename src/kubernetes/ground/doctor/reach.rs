//! One try to reach an address from a probe pod: the keeper's own, by an exec.

use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout};

/// A policy takes effect a moment after its pod has started, and so does a pod's own network.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// The keeper itself gives up after a second.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);
/// What it says is a line.
const LONGEST_ANSWER: u64 = 4096;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tried {
    Reached,
    /// Refused, or no answer.
    Kept,
    /// Nobody can say, and why.
    Unknown(String),
}

#[derive(Deserialize)]
struct Said {
    connected: bool,
}

pub(super) async fn once(pods: &Api<Pod>, pod: &str, to: SocketAddr) -> Tried {
    match timeout(ANSWERS_WITHIN, ask(pods, pod, to)).await {
        Ok(Ok(true)) => Tried::Reached,
        Ok(Ok(false)) => Tried::Kept,
        Ok(Err(why)) => Tried::Unknown(why),
        Err(_) => Tried::Unknown(format!("no answer from the pod `{pod}`")),
    }
}

/// Again and again until it is as it should be, or stays otherwise.
pub(super) async fn settled(pods: &Api<Pod>, pod: &str, to: SocketAddr, wanted: &Tried) -> Tried {
    let until = Instant::now() + SETTLES_WITHIN;
    loop {
        let tried = once(pods, pod, to).await;
        if tried == *wanted || Instant::now() + AGAIN_AFTER > until {
            return tried;
        }
        sleep(AGAIN_AFTER).await;
    }
}

async fn ask(pods: &Api<Pod>, pod: &str, to: SocketAddr) -> Result<bool, String> {
    let (address, port) = (to.ip().to_string(), to.port().to_string());
    let command = ["/keeper", "probe", "connect", &address, &port];
    let params = AttachParams::default().stdin(false).stdout(true).stderr(false);
    let mut process = pods.exec(pod, command, &params).await.map_err(|error| error.to_string())?;
    let mut text = String::new();
    let stdout = process.stdout().ok_or("the exec has no output")?;
    stdout.take(LONGEST_ANSWER).read_to_string(&mut text).await.map_err(|error| error.to_string())?;
    let said = serde_json::from_str::<Said>(&text).map(|said| said.connected);
    said.map_err(|_| format!("the keeper in the pod `{pod}` says `{}`", text.trim()))
}

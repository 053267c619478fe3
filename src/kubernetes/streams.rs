//! The exec streams of a server's helper.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{SinkExt, Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use mcp_berth::dock::numbered::FIRST;
use mcp_berth::dock::records::SECRET;
use mcp_berth::dock::records::resume::{GONE, REFUSED};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::causes::denied::Denials;
use super::causes::refused::Asked;
use super::ended;
use super::keeper::KEEPER;
use super::link::{NotOpened, Streams};
use super::pump::{Ended, Place, To, What};

/// With the helper's first bytes.
type From = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A stream whose kubelet or API server gives no answer is tried again.
const OPENED_WITHIN: Duration = Duration::from_secs(5);
/// As a shell has it: the program could not be run, or is not there.
const NOT_RUN: [i32; 2] = [126, 127];

/// Opens the streams of one server.
pub(crate) struct Execs {
    client: Client,
    pods: Api<Pod>,
    place: Place,
    /// By which the helper knows us. It goes over the stream, for what an exec's command says stands in audit logs.
    secret: [u8; SECRET],
    cuts: [Arc<Notify>; 2],
    denials: Denials,
    /// When the first stream was tried first.
    since: Option<Instant>,
}

impl Execs {
    pub(crate) fn new(client: Client, place: Place) -> Self {
        let pods = Api::namespaced(client.clone(), &place.namespace);
        Self {
            client,
            pods,
            place,
            secret: [0; SECRET],
            cuts: [Arc::default(), Arc::default()],
            denials: Denials::default(),
            since: None,
        }
    }

    /// How long a try may take. Where all is slow, a start's has as much time as went into those before.
    fn opened_within(&mut self, epoch: u64) -> Duration {
        let since = *self.since.get_or_insert_with(Instant::now);
        if epoch == FIRST { OPENED_WITHIN.max(since.elapsed()) } else { OPENED_WITHIN }
    }

    /// Notified whenever a stream was cut: others to the same pod may be so as well, each of which has its own.
    pub(crate) fn cuts(&self) -> [Arc<Notify>; 2] {
        self.cuts.clone()
    }
}

impl Streams for Execs {
    type To = To;
    type From = From;

    async fn open(&mut self, epoch: u64) -> Result<(To, From), NotOpened> {
        let number = epoch.to_string();
        let command: &[&str] = match epoch {
            FIRST => &[KEEPER, "serve"],
            _ => &[KEEPER, "resume", &number],
        };
        if epoch == FIRST {
            // Another helper than that of the last try: that one may still come, and is nobody's then.
            let random = SystemRandom::new().fill(&mut self.secret);
            random.map_err(|_| NotOpened::Gone("the system gives no random numbers".to_owned()))?;
        } else {
            self.cuts.iter().for_each(|cut| cut.notify_one());
        }
        let within = self.opened_within(epoch);
        let opened = async {
            let opened = self.place.open(&self.client, What::Exec(command)).await;
            let (mut to, mut from) = match opened {
                Ok(halves) => halves,
                Err(error) => {
                    let asked =
                        Asked { verb: "get", resource: "pods/exec", namespace: &self.place.namespace };
                    let denied = self.denials.note(asked, &error);
                    return Err(denied.map_or_else(|| refused(error), NotOpened::Denied));
                }
            };
            to.send(Bytes::copy_from_slice(&self.secret)).await.map_err(|error| cut(&error))?;
            // The helper's hello is the proof that there is a stream.
            match from.next().await {
                Some(Ok(hello)) => Ok((to, Box::pin(stream::iter([Ok(hello)]).chain(from)) as From)),
                Some(Err(error)) => Err(cut(&error)),
                None => Err(NotOpened::Passing("the stream has ended at once".to_owned())),
            }
        };
        let late = || NotOpened::Passing("the API server or the kubelet gave no answer".to_owned());
        tokio::time::timeout(within, opened).await.unwrap_or_else(|_| Err(late()))
    }

    fn ended(&self) -> BoxFuture<'static, ()> {
        Box::pin(ended::seen(self.pods.clone(), self.place.pod.clone()))
    }
}

/// Whatever an API server says, another may say otherwise, or the same a moment later, when it has read its rules. That there
/// is no such pod is final, and that nobody gives the right ([`Denials`]).
fn refused(error: kube::Error) -> NotOpened {
    match error {
        kube::Error::Api(status) if status.code == 404 => NotOpened::Gone(status.message.clone()),
        error => NotOpened::Passing(error.to_string()),
    }
}

/// `resume` is asked only after a helper's hello, so that nobody is there is final.
fn cut(error: &io::Error) -> NotOpened {
    let code = error.get_ref().and_then(|error| error.downcast_ref::<Ended>()).and_then(Ended::exit_code);
    let is = |known: u8| code == Some(known.into());
    if is(GONE) {
        NotOpened::Gone("the server's keeper is gone, or was without a stream for too long".to_owned())
    } else if is(REFUSED) {
        NotOpened::Gone("somebody else has the server's stream".to_owned())
    } else if code.is_some_and(|code| NOT_RUN.contains(&code)) {
        NotOpened::Gone(format!("the keeper could not be run: {error}"))
    } else {
        NotOpened::Passing(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
    use serde_json::json;

    use super::*;

    fn ended(code: u8) -> io::Error {
        let status: Status = serde_json::from_value(json!({
            "status": "Failure",
            "reason": "NonZeroExitCode",
            "message": format!("command terminated with exit code {code}"),
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }))
        .unwrap();
        io::Error::other(Ended(Box::new(status)))
    }

    #[test]
    fn what_the_keeper_says_of_a_stream_is_final_and_a_cut_is_not() {
        for code in [GONE, REFUSED, 126, 127] {
            assert!(matches!(cut(&ended(code)), NotOpened::Gone(_)), "{code}");
        }
        for error in [ended(137), ended(71), ended(0), io::ErrorKind::ConnectionReset.into()] {
            assert!(matches!(cut(&error), NotOpened::Passing(_)), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_is_slow_a_start_has_more_time_for_each_try() {
        let (cluster, _) = crate::fake::cluster(|_| (200, json!({})));
        let mut execs = Execs::new(cluster.client.clone(), cluster.place("p"));
        assert_eq!(execs.opened_within(FIRST), OPENED_WITHIN);
        tokio::time::sleep(OPENED_WITHIN * 3).await;
        assert_eq!(execs.opened_within(FIRST), OPENED_WITHIN * 3);
        assert_eq!(execs.opened_within(FIRST + 1), OPENED_WITHIN, "a cut lasts no longer for that");
    }

    #[test]
    fn only_a_pod_that_is_not_there_is_final() {
        let answered = |code: u16| {
            let status = json!({ "status": "Failure", "message": "no", "reason": "x", "code": code });
            refused(kube::Error::Api(serde_json::from_value(status).unwrap()))
        };
        assert!(matches!(answered(404), NotOpened::Gone(_)));
        for code in [401, 403, 429, 500, 503] {
            assert!(matches!(answered(code), NotOpened::Passing(_)), "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_that_lacks_is_told_as_such() {
        let message = r#"pods "p" is forbidden: User "jane" cannot create resource "pods/exec" in API group "" in the namespace "n""#;
        let (cluster, seen) = crate::fake::cluster(move |_| (403, crate::fake::status(403, message)));
        let mut execs = Execs::new(cluster.client.clone(), cluster.place("p"));
        let denied = loop {
            match execs.open(FIRST).await {
                Err(NotOpened::Denied(failure)) => break failure,
                Err(NotOpened::Passing(_)) => tokio::time::sleep(Duration::from_millis(500)).await,
                other => panic!("{:?}", other.err()),
            }
        };
        assert!(denied.text.starts_with("`jane` may not create pods/exec in the namespace `n`"), "{denied}");
        assert_eq!(seen.lock().unwrap().len(), 3);
    }
}

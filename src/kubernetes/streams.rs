//! The exec streams of a server's helper.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use kube::Client;
use mcp_berth::dock::numbered::FIRST;
use mcp_berth::dock::records::resume::{GONE, REFUSED};

use super::link::{NotOpened, Streams};
use super::pod::KEEPER;
use super::pump::{Ended, Place, To, What};

/// With the helper's first bytes.
type From = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A stream whose kubelet or API server gives no answer is tried again.
const OPENED_WITHIN: Duration = Duration::from_secs(5);

/// Where the helper is, and the one word that it knows us by.
pub(crate) struct Execs {
    pub(crate) client: Client,
    pub(crate) place: Place,
    pub(crate) token: String,
}

impl Streams for Execs {
    type To = To;
    type From = From;

    async fn open(&mut self, epoch: u64) -> Result<(To, From), NotOpened> {
        let number = epoch.to_string();
        let command: &[&str] = match epoch {
            FIRST => &[KEEPER, "serve", &self.token],
            _ => &[KEEPER, "resume", &self.token, &number],
        };
        let opening = self.place.open(&self.client, What::Exec(command));
        let opened = async {
            let (to, mut from) = opening.await.map_err(refused)?;
            // The upgrade is answered before the kubelet is asked. The helper's hello is the proof.
            match from.next().await {
                Some(Ok(hello)) => Ok((to, Box::pin(stream::iter([Ok(hello)]).chain(from)) as From)),
                Some(Err(error)) => Err(cut(&error)),
                None => Err(NotOpened::Passing("the stream has ended at once".to_owned())),
            }
        };
        let late = || NotOpened::Passing("the API server or the kubelet gave no answer".to_owned());
        tokio::time::timeout(OPENED_WITHIN, opened).await.unwrap_or_else(|_| Err(late()))
    }
}

fn refused(error: kube::Error) -> NotOpened {
    match error {
        kube::Error::Api(status) if status.code == 404 => NotOpened::Gone(status.message.clone()),
        error => NotOpened::Passing(error.to_string()),
    }
}

fn cut(error: &io::Error) -> NotOpened {
    let code = error.get_ref().and_then(|error| error.downcast_ref::<Ended>()).and_then(Ended::exit_code);
    let is_gone = code.is_some_and(|code| [GONE, REFUSED].map(i32::from).contains(&code));
    if is_gone { NotOpened::Gone(error.to_string()) } else { NotOpened::Passing(error.to_string()) }
}

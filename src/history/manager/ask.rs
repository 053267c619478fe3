//! Asks a running manager for what its index has of sessions and requests, which may be more than the journals hold.
//!
//! There is an answer at once, or none: a manager that is slow, still reads the journals, or is of another version says
//! nothing that the journals do not say as well.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures::future::{Either, select};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use super::{FOLDER, TOKEN, running};
use crate::history::calls::{Call, Wanted};
use crate::history::session::Past;

/// An answer is there within this time.
const WITHIN: Duration = Duration::from_secs(1);

/// An answer is no longer (bytes).
const LONGEST: usize = 8 << 20;

/// So many are asked for at once.
const PAGE: usize = 500;

/// Which sessions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Among<'a> {
    pub server: Option<&'a str>,
    pub client: Option<&'a str>,
    /// Those that have lived since then.
    pub since: Option<Timestamp>,
    /// An id, the beginning of one, or a container's name or id.
    pub name: Option<&'a str>,
}

/// A manager that can be asked.
#[derive(Debug)]
pub struct Asked {
    address: SocketAddr,
    token: String,
}

#[derive(Deserialize)]
struct SessionPage {
    complete: bool,
    sessions: Vec<Past>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct CallPage {
    complete: bool,
    calls: Vec<Call>,
    next: Option<String>,
}

impl Asked {
    /// The manager of this state folder.
    pub fn find(state: &Path) -> Option<Self> {
        let address = running(state).ok()??.api?;
        let token = std::fs::read_to_string(state.join(FOLDER).join(TOKEN)).ok()?;
        Some(Self { address, token: token.trim().to_owned() })
    }

    /// So many sessions at the most, the newest first.
    pub async fn sessions(&self, among: &Among<'_>, number: usize) -> Option<Vec<Past>> {
        let (mut all, mut after) = (Vec::new(), None);
        while all.len() < number {
            let since = among.since.map(|since| since.to_string());
            let limit = (number - all.len()).min(PAGE).to_string();
            let query = [
                ("server", among.server),
                ("client", among.client),
                ("since", since.as_deref()),
                ("name", among.name),
                ("limit", Some(&limit)),
                ("after", after.as_deref()),
            ];
            let page: SessionPage =
                self.get("/v1/sessions", &query).await.filter(|page: &SessionPage| page.complete)?;
            all.extend(page.sessions);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Some(all)
    }

    /// The requests of these sessions: the slowest first, or the last ones in their order.
    pub async fn calls(
        &self,
        wanted: &Wanted,
        among: &Among<'_>,
        session: Option<&str>,
    ) -> Option<Vec<Call>> {
        let (mut all, mut after) = (Vec::new(), None);
        let is = |flag: bool| flag.then_some("true");
        while all.len() < wanted.number {
            let since = wanted.since.map(|since| since.to_string());
            let limit = (wanted.number - all.len()).min(PAGE).to_string();
            let query = [
                ("server", among.server),
                ("client", among.client),
                ("session", session),
                ("since", since.as_deref()),
                ("slow", is(wanted.slowest)),
                ("errors", is(wanted.failed)),
                ("limit", Some(&limit)),
                ("after", after.as_deref()),
            ];
            let page: CallPage =
                self.get("/v1/calls", &query).await.filter(|page: &CallPage| page.complete)?;
            all.extend(page.calls);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if !wanted.slowest {
            all.reverse();
        }
        Some(all)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, Option<&str>)]) -> Option<T> {
        let said = query.iter().filter_map(|(name, value)| Some((name, (*value)?)));
        let said: Vec<String> = said
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            .collect();
        let target = format!("{path}?{}", said.join("&"));
        let body = tokio::time::timeout(WITHIN, self.fetch(&target)).await.ok()?;
        let answer = body.and_then(|body| Ok(serde_json::from_slice(&body)?));
        answer.inspect_err(|error| tracing::debug!("the manager at {}: {error}", self.address)).ok()
    }

    async fn fetch(&self, target: &str) -> io::Result<Vec<u8>> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let request = Request::get(target)
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .body(String::new())
            .map_err(io::Error::other)?;
        let answer = pin!(async move {
            let response = sender.send_request(request).await.map_err(io::Error::other)?;
            if response.status() != StatusCode::OK {
                return Err(io::Error::other(format!("it says {}", response.status())));
            }
            collect(response.into_body()).await
        });
        match select(answer, pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            // Its end may come with the last bytes of the answer.
            Either::Right((_, answer)) => answer.await,
        }
    }
}

async fn collect(mut body: Incoming) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(bytes) = frame.map_err(io::Error::other)?.into_data() else { continue };
        if all.len() + bytes.len() > LONGEST {
            return Err(io::Error::other("its answer is too long"));
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::history::manager::{Holder, lock};

    /// A manager that gives these answers, one a connection, and then none; and the requests that it gets.
    async fn told(answers: Vec<String>) -> (Option<Vec<Past>>, Vec<String>) {
        let state = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let holder = Holder { pid: 1, api: listener.local_addr().ok(), ..Holder::default() };
        std::fs::create_dir(state.path().join(FOLDER)).unwrap();
        std::fs::write(state.path().join(FOLDER).join(TOKEN), "t0ken\n").unwrap();
        std::fs::write(lock(state.path()), serde_json::to_string(&holder).unwrap()).unwrap();
        assert!(Asked::find(state.path()).is_none(), "nobody holds the lock");
        let kept = File::open(lock(state.path())).unwrap();
        kept.lock().unwrap();
        let manager = Asked::find(state.path()).expect("it runs");
        let among = Among { client: Some("a&b"), ..Among::default() };
        let mut requests = Vec::new();
        let serve = async {
            for answer in answers {
                let mut stream = listener.accept().await.unwrap().0;
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap();
                requests.push(String::from_utf8_lossy(&head[..length]).into_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let all = tokio::select! {
            all = manager.sessions(&among, 1000) => all,
            () = serve => None,
        };
        (all, requests)
    }

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    fn page(session: &str, complete: bool, next: &str) -> String {
        let session = format!(
            "{{\"session\":\"{session}\",\"state\":\"live\",\"started\":\"2026-11-22T10:00:00Z\",\"containers\":[],\"new\":1}}"
        );
        answer("200 OK", &format!("{{\"complete\":{complete},\"sessions\":[{session}],\"next\":{next}}}"))
    }

    #[tokio::test]
    async fn all_parts_of_an_answer_are_asked_for() {
        let (all, requests) = told(vec![page("a", true, "\"1-a\""), page("b", true, "null")]).await;
        let all: Vec<String> = all.unwrap().into_iter().map(|past| past.session).collect();
        assert_eq!(all, ["a", "b"]);
        assert!(requests[0].starts_with("GET /v1/sessions?client=a%26b&limit=500 "), "{requests:?}");
        assert!(requests[0].to_ascii_lowercase().contains("\r\nauthorization: bearer t0ken\r\n"));
        assert!(requests[1].contains("&after=1%2Da "), "{requests:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn half_an_answer_is_none() {
        for answers in [
            vec![],
            vec!["HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{".to_owned()],
            vec![answer("401 Unauthorized", "{}")],
            vec![answer("200 OK", "{\"sessions\":[]}")],
            vec![page("a", false, "null")],
            vec![page("a", true, "\"1-a\""), answer("503 Service Unavailable", "{}")],
        ] {
            assert!(told(answers.clone()).await.0.is_none(), "{answers:?}");
        }
    }
}

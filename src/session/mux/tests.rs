//! The multiplexer over lanes that the tests play; each lane is a small server of its own.

mod answers;
mod eras;
mod lists;
mod living;
mod names;
mod server;
mod storm;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use bytes::Bytes;

use super::*;
use crate::catalogue::{Hello, List, Told};
use server::Played;

/// Longer than this no answer is waited for; on the test's own clock.
const HANGS: Duration = Duration::from_mins(5);

/// A client and its session.
struct Stage {
    to_mux: Option<WriteHalf<DuplexStream>>,
    from_mux: Lines<BufReader<ReadHalf<DuplexStream>>>,
    /// How often each lane was started.
    starts: Arc<Mutex<Vec<usize>>>,
    /// The lanes among these that a need has started.
    lazy: Arc<Mutex<Vec<usize>>>,
    kept: Arc<Mutex<Vec<(usize, Told)>>>,
    /// A person has accepted all definitions.
    accepted: Arc<AtomicBool>,
    /// The configuration changes.
    changes: mpsc::Sender<Reshape>,
    stop: CancellationToken,
    session: JoinHandle<Over>,
}

struct Set {
    servers: Vec<Played>,
    room: Option<usize>,
    known: Vec<Option<Told>>,
    /// So many of the servers, the last ones, are no members yet.
    later: usize,
    eager: bool,
    idle: Option<Duration>,
    /// Tools that begin with `new` have to be accepted.
    holds: bool,
}

impl Set {
    fn of(servers: Vec<Played>) -> Self {
        let known = servers.iter().map(|_| None).collect();
        Self { servers, room: Some(41), known, later: 0, eager: false, idle: None, holds: false }
    }

    /// Must be called in a `LocalSet`.
    fn stage(self) -> Stage {
        let Self { servers, room, known, later, eager, idle, holds } = self;
        let (client, ours) = tokio::io::duplex(1 << 20);
        let (from_client, to_client) = split(ours);
        let (from_mux, to_mux) = split(client);
        let starts = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::new(Mutex::new(Vec::<(usize, Told)>::new()));
        let stop = CancellationToken::new();
        let member = |played: &Played| MemberOptions {
            server: played.name.to_owned(),
            label: played.name.to_owned(),
            is_eager: eager,
            idle,
            holds,
        };
        let (keeping, reading) = (Arc::clone(&kept), Arc::clone(&kept));
        let accepted = Arc::new(AtomicBool::new(false));
        let has_accepted = Arc::clone(&accepted);
        let held = move |told: &Told| {
            let names = told.tools.as_ref().map(tool_names).unwrap_or_default();
            let is_held = holds && !has_accepted.load(Ordering::Relaxed);
            // With one tool alone they are what a person has accepted.
            let is_held = is_held && names.len() > 1;
            names.into_iter().filter(|name| is_held && name.starts_with("new")).collect::<Vec<_>>()
        };
        let held_of_new = held.clone();
        let (tell, changes) = mpsc::channel(1);
        let group = Group {
            members: servers[..servers.len() - later].iter().map(member).collect(),
            room,
            tools: None,
            deny_tools: Vec::new(),
            known: Box::new(move |asking: &Asking<'_>| {
                // As a catalogue: what was kept last goes before.
                let kept = reading.lock().unwrap();
                let is_of_era = |told: &Told| match told.hello {
                    Hello::Initialize(_) => asking.revision < "2026",
                    _ => asking.revision > "2026",
                };
                let is_it = |(member, told): &&(usize, Told)| *member == asking.member && is_of_era(told);
                let last = kept.iter().rev().find(is_it).map(|(_, told)| told.clone());
                let told = last.or_else(|| known[asking.member].clone()).filter(is_of_era)?;
                let held = held(&told);
                Some(Recalled { told, held })
            }),
            keep: Box::new(move |asking, told, _| {
                let held = held_of_new(&told);
                keeping.lock().unwrap().push((asking.member, told));
                held
            }),
            changes,
            held: Box::new(|_, _| {}),
            session: "test".to_owned(),
            secret: "secret".to_owned(),
            max_line: 1 << 20,
            stop_grace: Duration::from_secs(3),
            hangup: Hangup::default(),
            stop: stop.clone(),
        };
        let (started, lazy) = (Arc::clone(&starts), Arc::new(Mutex::new(Vec::new())));
        let needed = Arc::clone(&lazy);
        let session = tokio::task::spawn_local(run(from_client, to_client, group, move |member, pipe| {
            started.lock().unwrap().push(member);
            needed.lock().unwrap().extend(pipe.is_lazy.then_some(member));
            servers[member].clone().serve(pipe)
        }));
        Stage {
            to_mux: Some(to_mux),
            from_mux: BufReader::new(from_mux).lines(),
            starts,
            lazy,
            kept,
            accepted,
            changes: tell,
            stop,
            session,
        }
    }
}

impl Stage {
    async fn says(&mut self, message: Value) {
        let line = format!("{message}\n");
        self.to_mux.as_mut().unwrap().write_all(line.as_bytes()).await.unwrap();
    }

    async fn hears_line(&mut self) -> String {
        let line = tokio::time::timeout(HANGS, self.from_mux.next_line());
        line.await.expect("it hangs").unwrap().expect("a line")
    }

    async fn hears(&mut self) -> Value {
        serde_json::from_str(&self.hears_line().await).unwrap()
    }

    /// The answer to a request; other lines before it are left alone.
    async fn asks(&mut self, id: u32, method: &str, params: Value) -> Value {
        self.says(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        self.answer(id).await
    }

    async fn answer(&mut self, id: u32) -> Value {
        loop {
            let message = self.hears().await;
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
        }
    }

    async fn begins(&mut self) -> Value {
        let params = json!({
            "protocolVersion": "2025-11-25", "capabilities": { "roots": { "listChanged": true } },
            "clientInfo": { "name": "test", "version": "1" },
        });
        let answer = self.asks(0, "initialize", params).await;
        self.says(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        answer
    }

    async fn calls(&mut self, id: u32, tool: &str, arguments: Value) -> Value {
        self.asks(id, "tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    fn starts(&self) -> Vec<usize> {
        self.starts.lock().unwrap().clone()
    }

    async fn leaves(mut self) -> (Vec<Value>, Over) {
        self.to_mux.take().unwrap().shutdown().await.unwrap();
        let mut rest = Vec::new();
        while let Some(line) = tokio::time::timeout(HANGS, self.from_mux.next_line()).await.unwrap().unwrap()
        {
            rest.push(serde_json::from_str(&line).unwrap());
        }
        (rest, self.session.await.unwrap())
    }
}

fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": { "sampling": {}, "roots": {}, "elicitation": {} },
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    })
}

/// A request of the new era.
fn modern(id: u32, method: &str, mut params: Value) -> Value {
    let all = params["_meta"].take();
    params["_meta"] = meta();
    for (key, value) in all.as_object().into_iter().flatten() {
        params["_meta"][key] = value.clone();
    }
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn tool_names(list: &List) -> Vec<String> {
    let name =
        |item: &Bytes| serde_json::from_slice::<Value>(item).unwrap()["name"].as_str().unwrap().to_owned();
    list.items.iter().map(name).collect()
}

/// Runs a test whose tasks are of one thread.
async fn local(test: impl Future<Output = ()>) {
    tokio::task::LocalSet::new().run_until(test).await;
}

/// What a catalogue would know of a server.
fn told(played: &Played) -> Told {
    let list = |kind: &str| {
        let items = played.items(kind).into_iter().map(|item| Bytes::from(item.to_string())).collect();
        Some(List { items, ..List::default() })
    };
    Told {
        image: String::new(),
        hello: Hello::Initialize(played.initialized("2025-11-25").to_string().into()),
        tools: list("tools"),
        prompts: list("prompts"),
        resources: list("resources"),
        templates: list("resourceTemplates"),
    }
}

//! `berth-kubernetes`: sessions whose servers run in pods.
#![forbid(unsafe_code)]

mod lifeline;
mod link;
mod pod;
mod pump;
mod streams;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use mcp_berth::commands::program;
use mcp_berth::config::Settings;
use mcp_berth::dock::records::Start;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use lifeline::Lifeline;
use link::{Said, ToServer};
use pod::{CONTAINER, Owner, Spec};
use pump::Place;
use streams::Execs;

fn main() -> ExitCode {
    program(async |_| run().await)
}

async fn run() -> anyhow::Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let began = Instant::now();
    let client = kube::Client::try_default().await?;
    let namespace = client.default_namespace().to_owned();
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let mut settings = Settings::default();
    settings.user = Some("1000:1000".to_owned());
    let session = mcp_berth::dock::owner::new_session()?;
    let name = format!("mcp-try-{session}");
    let spec = Spec {
        name: &name,
        image: &args[0],
        keeper_image: &args[1],
        client: "try",
        server: "try",
        hash: "x",
        settings: &settings,
        claim_within: Duration::from_secs(30),
        reconnect: Duration::from_secs(15),
        owner: Some(Owner { session: &session, client_session: None, project: None }),
    };
    pods.create(&PostParams::default(), &spec.pod()?).await?;
    eprintln_time("created", began);
    let place = Place { namespace, pod: name.clone(), container: CONTAINER.to_owned() };
    let lifeline = Lifeline::begin(client.clone(), place.clone());
    let start = Start {
        reconnect: Duration::from_secs(15),
        grace: Duration::from_secs(2),
        argv: args[2..].iter().map(|word| word.clone().into_bytes()).collect(),
        ..Start::default()
    };
    let mut record = Vec::new();
    start.encode(&mut record).map_err(|_| anyhow::anyhow!("too long"))?;
    let (to, input) = mpsc::channel(16);
    let (output, mut from) = mpsc::channel(16);
    let execs =
        Execs { client, place, token: format!("{session}{}", mcp_berth::dock::owner::new_session()?) };
    let linked = tokio::spawn(async move {
        link::run(execs, &record, input, output, (Duration::from_secs(30), Duration::from_secs(15))).await
    });
    tokio::spawn(async move {
        let mut stdin = tokio::io::stdin();
        let mut bytes = vec![0; 32 << 10];
        while let Ok(count @ 1..) = stdin.read(&mut bytes).await {
            if to.send(ToServer::Input(Bytes::copy_from_slice(&bytes[..count]))).await.is_err() {
                return;
            }
        }
        let _ = to.send(ToServer::InputEnd).await;
        std::future::pending::<()>().await;
    });
    let mut stdout = tokio::io::stdout();
    let mut is_first = true;
    while let Some(said) = from.recv().await {
        match said {
            Said::Output(bytes) => {
                if std::mem::take(&mut is_first) {
                    eprintln_time("first bytes", began);
                }
                stdout.write_all(&bytes).await?;
                stdout.flush().await?;
            }
            Said::Errors(bytes) => tokio::io::stderr().write_all(&bytes).await?,
            other => tracing::warn!("{other:?}"),
        }
    }
    tracing::warn!("{:?}", linked.await?);
    lifeline.end(Duration::from_secs(1)).await;
    pods.delete(&name, &DeleteParams::default()).await?;
    Ok(ExitCode::SUCCESS)
}

fn eprintln_time(what: &str, began: Instant) {
    tracing::warn!("{what}: {:?}", began.elapsed());
}

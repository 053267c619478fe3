use mcp_berth::config::Server;
use mcp_berth::dock::spec::Spec;
use mcp_berth::failure::{Code, Failure};
use mcp_berth::observe::trace::Trace;
use mcp_berth::values::Standby;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::*;
use crate::fake;
use crate::housekeeping::{Bounds, Housekeeping, Made};
use crate::pod::ANNOTATION_ENDED;

#[tokio::test(start_paused = true)]
async fn a_link_without_room_makes_the_input_wait_and_its_end_comes_last() {
    let (to, mut link) = mpsc::channel(1);
    let mut input = Input::new(to);
    let bytes = vec![b'x'; LONGEST + 1];
    let writing = tokio::time::timeout(Duration::from_secs(1), input.write_all(&bytes));
    assert!(writing.await.is_err(), "a record holds no more than {LONGEST}");
    let Some(ToServer::Input(first)) = link.recv().await else { panic!() };
    assert_eq!(first.len(), LONGEST);
    input.write_all(b"y").await.unwrap();
    let (ended, ()) = tokio::join!(input.shutdown(), async {
        let Some(ToServer::Input(last)) = link.recv().await else { panic!() };
        assert_eq!(&last[..], b"y");
        assert!(matches!(link.recv().await, Some(ToServer::InputEnd)));
    });
    ended.unwrap();
    drop(link);
    assert_eq!(input.write(b"z").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

/// A session whose server has told its end, or whose link has told why there is none.
async fn exit_with(answer: (u16, Value), said: Option<Said>, over: Over) -> Exit {
    upstream_with(answer, said, over).await.0.post_mortem().await
}

async fn upstream_with(
    answer: (u16, Value),
    said: Option<Said>,
    over: Over,
) -> (KubernetesUpstream, fake::Seen) {
    let (cluster, seen) = fake::cluster(move |_| answer.clone());
    let mut server = Server::from_image("i".parse().unwrap(), Vec::new(), &fake::settings());
    server.settings.standby = Standby::NONE;
    let housekeeping = Housekeeping {
        cluster: cluster.clone(),
        spec: Arc::new(Spec::new(server, "c", "s")),
        made: Made::Now { has_others: false },
        bounds: Bounds::default(),
        template: None,
        trace: Trace::off(),
    };
    let hold = Hold::new(cluster.pods(), "p".to_owned());
    let (input, _given) = mpsc::channel(1);
    let (say, output) = mpsc::channel(1);
    if let Some(said) = said {
        say.send(said).await.unwrap();
    }
    drop(say);
    let task = AbortOnDropHandle::new(tokio::spawn(async { over }));
    let linked = Linked { input, output, cuts: Arc::default(), ports: None, task };
    let mut upstream = KubernetesUpstream::new(hold, linked, 7, Nodes::default(), housekeeping.start());
    assert!(upstream.next().await.is_none());
    (upstream, seen)
}

#[tokio::test(start_paused = true)]
async fn of_an_end_that_its_client_wanted_nobody_is_asked() {
    let exited = Some(Said::Ended(Ending::Exited(0)));
    let (mut upstream, seen) = upstream_with((200, json!({ "metadata": {} })), exited, Over::Told).await;
    upstream.client_left().await;
    assert_eq!(upstream.post_mortem().await, Exit::Code(0));
    upstream.release().await;
    assert_eq!(fake::told(&seen), ["DELETE /p"]);
}

#[tokio::test(start_paused = true)]
async fn a_kill_is_told_even_where_the_server_ends_in_order() {
    let pod = |annotations: Value| (200, json!({ "metadata": { "annotations": annotations } }));
    let exited = || Some(Said::Ended(Ending::Exited(0)));
    let killed = pod(json!({ ANNOTATION_ENDED: "true" }));
    assert_eq!(exit_with(killed, exited(), Over::Told).await, Exit::Ended);
    assert_eq!(exit_with(pod(json!({})), exited(), Over::Told).await, Exit::Code(0));
    let away = (503, fake::status(503, "no"));
    assert_eq!(exit_with(away, exited(), Over::Told).await, Exit::Code(0));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_the_cluster_ends_is_lost_whatever_code_it_ends_with() {
    let condition =
        json!({ "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI" });
    let drained = || {
        (
            200,
            json!({
                "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" },
                "spec": { "containers": [], "nodeName": "n1" },
                "status": { "phase": "Running", "conditions": [condition] },
            }),
        )
    };
    for ending in [Ending::Exited(0), Ending::Killed(15)] {
        let exit = exit_with(drained(), Some(Said::Ended(ending)), Over::Told).await;
        assert!(
            matches!(&exit, Exit::LostAs { why, .. } if why.contains("EvictionByEvictionAPI")),
            "{exit:?}"
        );
    }
    // What only its server has done is its own.
    let there = (200, json!({ "metadata": {}, "status": { "phase": "Running" } }));
    let told = Some(Said::Ended(Ending::Killed(15)));
    assert_eq!(exit_with(there, told, Over::Told).await, Exit::Code(143));
}

#[tokio::test(start_paused = true)]
async fn of_a_silence_nobody_is_asked_for_long() {
    let there = (200, json!({ "metadata": {}, "status": { "phase": "Running" } }));
    let began = tokio::time::Instant::now();
    let exit = exit_with(there, None, Over::Away("no stream".to_owned())).await;
    assert!(exit.is_lost() && began.elapsed() < LOOK_EVERY, "{exit:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_pod_is_told_as_the_cluster_and_the_link_know_it() {
    let told = |exit: Exit| match exit {
        Exit::LostAs { why, next } => (why, next),
        other => panic!("{other:?}"),
    };
    let mut gone = fake::status(404, "pods \"p\" not found");
    gone["reason"] = json!("NotFound");
    let gone = (404, gone);
    let (why, next) = told(exit_with(gone, None, Over::Lost("no stream".to_owned())).await);
    assert_eq!(why, "the pod `p` is no longer there");
    assert!(next.ends_with("`kubectl get events -n n`"), "{next}");
    let there = (200, json!({ "metadata": {}, "status": { "phase": "Running" } }));
    let (why, _) = told(exit_with(there.clone(), None, Over::Lost("no stream".to_owned())).await);
    assert!(why.starts_with("there is no way to the pod `p`") && why.ends_with(": no stream"), "{why}");
    let right = Failure { code: Code::Configuration, text: "may not".to_owned(), next: Some("n".to_owned()) };
    assert_eq!(
        told(exit_with(there, None, Over::Denied(right)).await),
        ("may not".to_owned(), "n".to_owned())
    );
}

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::PoisonError;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use jiff::{SignedDuration, Timestamp};
use mcp_berth::config::{Config, Home};
use mcp_berth::observe::journal;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::sync::mpsc;

use super::*;
use crate::journals::Follower;

mod tls;

/// What a collector gives for an answer, one after the other; afterwards it takes all.
#[derive(Debug, Default)]
struct Answers(Mutex<VecDeque<Response>>);

impl Answers {
    fn next(&self) -> Response {
        let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        next.unwrap_or_else(|| StatusCode::OK.into_response())
    }
}

/// A collector that says what it has received.
struct Receiver {
    address: String,
    answers: Arc<Answers>,
    traces: mpsc::Receiver<ExportTraceServiceRequest>,
    metrics: mpsc::Receiver<ExportMetricsServiceRequest>,
}

impl Receiver {
    async fn new() -> Self {
        type Shared<T> = State<(Arc<Answers>, mpsc::Sender<T>)>;
        async fn receive<T: Message + Default>(
            State((answers, requests)): Shared<T>,
            headers: HeaderMap,
            body: Bytes,
        ) -> Response {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            requests.try_send(T::decode(body).expect("protobuf")).expect("room");
            answers.next()
        }
        let answers = Arc::<Answers>::default();
        let ((to_traces, traces), (to_metrics, metrics)) = (mpsc::channel(100), mpsc::channel(100));
        let router = Router::new()
            .route("/v1/traces", post(receive).with_state((Arc::clone(&answers), to_traces)))
            .route("/v1/metrics", post(receive).with_state((Arc::default(), to_metrics)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { address, answers, traces, metrics }
    }

    fn answer(&self, answers: impl IntoIterator<Item = Response>) {
        self.answers.0.lock().unwrap().extend(answers);
    }

    /// The spans of all requests so far.
    fn spans(&mut self) -> Vec<Span> {
        let requests = std::iter::from_fn(|| self.traces.try_recv().ok());
        requests.flat_map(spans_of).collect()
    }

    fn names(&mut self) -> Vec<String> {
        self.spans().into_iter().map(|span| span.name).collect()
    }
}

fn spans_of(request: ExportTraceServiceRequest) -> Vec<Span> {
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

/// A state folder with journals, and the manager's folder in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.folder()).unwrap();
        std::fs::create_dir(place.0.path().join(journal::FOLDER)).unwrap();
        place
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("manager")
    }

    fn otlp(&self, address: &str) -> Otlp {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let text = format!("[manager]\notlp = \"{address}\"");
        let collector = Config::parse(&text, Path::new("b.toml"), &home).unwrap().manager.otlp.unwrap();
        let mut otlp = Otlp::open(&collector, &self.folder(), Arc::default()).unwrap();
        otlp.exporter.gather = Duration::ZERO;
        otlp.exporter.pauses = (Duration::from_millis(1), Duration::from_millis(1));
        otlp
    }

    fn metrics(&self, otlp: &Otlp) -> Arc<Metrics> {
        let dropped = Arc::clone(&otlp.common.dropped);
        Metrics::open(&self.folder(), Arc::default(), dropped).unwrap()
    }

    fn append(&self, session: &str, text: &str) {
        let path = self.0.path().join(journal::FOLDER).join(format!("{session}.jsonl"));
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// One look of a manager that begins now.
    fn look(&self, otlp: &Otlp) {
        let mut sink = otlp.sink().unwrap().unwrap();
        Follower::new(self.0.path()).look(&mut [&mut *sink]).unwrap();
    }

    /// Sends what waits, once.
    async fn send(&self, otlp: &Otlp) {
        let read = CancellationToken::new();
        read.cancel();
        otlp.work(&self.metrics(otlp), &read, &CancellationToken::new()).await;
    }
}

/// Records of `ago` from the number `first` on: what stands behind their numbers.
fn records(ago: SignedDuration, first: u64, members: &[&str]) -> String {
    let time = Timestamp::now() - ago;
    let mut text = String::new();
    for (seq, members) in (first..).zip(members) {
        writeln!(text, "{{\"time\":\"{time}\",\"seq\":{seq},{members}}}").unwrap();
    }
    text
}

const NOW: SignedDuration = SignedDuration::ZERO;
const START: &str = r#""kind":"start","server":"files","client":"codex""#;
const STEP: &str = r#""kind":"step","name":"inspect the image","duration_ms":4.0"#;
const UP: &str = r#""kind":"up","how":"cold","duration_ms":120.0,"server":"files","client":"codex""#;
const CALL: &str = r#""kind":"call","method":"tools/call","tool":"read","latency_ms":15.0,"outcome":"ok""#;

#[tokio::test]
async fn each_span_is_sent_once_whoever_ends_in_between() {
    let (place, mut receiver) = (Place::new(), Receiver::new().await);
    let later = STEP.replace("inspect the image", "take a name");
    place.append("aaaaaaaaaaaa", &records(NOW, 1, &[START, STEP]));
    place.look(&place.otlp(&receiver.address));
    place.append("aaaaaaaaaaaa", &records(NOW, 3, &[UP, &later, CALL]));
    let otlp = place.otlp(&receiver.address);
    place.look(&otlp);
    place.send(&otlp).await;
    let spans = receiver.spans();
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["start files", "inspect the image", "take a name", "tools/call read"]);
    let parents: Vec<&[u8]> = spans.iter().map(|span| span.parent_span_id.as_slice()).collect();
    let start = spans[0].span_id.as_slice();
    assert_eq!(parents, [&[][..], start, start, &[]]);
    // Another manager has another file of spans to send: none.
    let otlp = place.otlp(&receiver.address);
    place.look(&otlp);
    place.send(&otlp).await;
    assert_eq!(receiver.names(), [""; 0]);
    place.append("aaaaaaaaaaaa", &records(NOW, 6, &[CALL]));
    place.look(&otlp);
    drop(otlp);
    let otlp = place.otlp(&receiver.address);
    place.send(&otlp).await;
    assert_eq!(receiver.names(), ["tools/call read"], "it waited for the next manager");
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_sent_again_as_the_same_spans() {
    let (place, mut receiver) = (Place::new(), Receiver::new().await);
    place.append("aaaaaaaaaaaa", &records(NOW, 1, &[START, CALL, CALL]));
    let otlp = place.otlp(&receiver.address);
    place.look(&otlp);
    // On its way, and killed.
    let batch = otlp.common.outbox.lock().unwrap().take(exporter::BATCH).unwrap().unwrap();
    let sent: Vec<Span> = batch.spans.iter().map(|span| Span::decode(span.as_slice()).unwrap()).collect();
    drop(otlp);
    let otlp = place.otlp(&receiver.address);
    place.look(&otlp);
    place.send(&otlp).await;
    assert_eq!((receiver.spans(), sent.len()), (sent, 2));
}

#[tokio::test]
async fn what_a_collector_cannot_take_now_waits() {
    let (place, mut receiver) = (Place::new(), Receiver::new().await);
    place.append("aaaaaaaaaaaa", &records(NOW, 1, &[START, CALL]));
    let otlp = place.otlp(&receiver.address);
    place.look(&otlp);
    let (metrics, read, stop) = (place.metrics(&otlp), CancellationToken::new(), CancellationToken::new());
    let busy = || (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")]).into_response();
    receiver.answer([busy(), StatusCode::TOO_MANY_REQUESTS.into_response()]);
    let tried = async {
        let mut tried = Vec::new();
        for _ in 0..3 {
            tried.push(spans_of(receiver.traces.recv().await.unwrap()));
        }
        read.cancel();
        tried
    };
    let (tried, ()) = tokio::join!(tried, otlp.work(&metrics, &read, &stop));
    assert!(tried[0].len() == 1 && tried.iter().all(|spans| *spans == tried[0]), "{tried:?}");
    assert_eq!(otlp.common.dropped.load(Ordering::Relaxed), 0);
    place.send(&otlp).await;
    assert_eq!(receiver.names(), [""; 0]);
}

#[tokio::test]
async fn what_a_collector_refuses_is_counted() {
    let (place, mut receiver) = (Place::new(), Receiver::new().await);
    let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "too old".to_owned() };
    let partial = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    receiver.answer([StatusCode::BAD_REQUEST.into_response(), partial.into_response()]);
    let otlp = place.otlp(&receiver.address);
    for (seq, dropped) in [(1, 2), (3, 3), (5, 3)] {
        place.append("aaaaaaaaaaaa", &records(NOW, seq, &[CALL, CALL]));
        place.look(&otlp);
        place.send(&otlp).await;
        assert_eq!((receiver.names().len(), otlp.common.dropped.load(Ordering::Relaxed)), (2, dropped));
    }
    drop(otlp);
    let otlp = place.otlp(&receiver.address);
    assert_eq!(otlp.common.dropped.load(Ordering::Relaxed), 3, "a counter never falls");
}

#[tokio::test]
async fn without_a_collector_the_oldest_are_dropped_and_counted() {
    let place = Place::new();
    // Nobody listens there.
    let otlp = place.otlp("http://127.0.0.1:1");
    let most = usize::try_from(outbox::MOST).unwrap();
    place.append("aaaaaaaaaaaa", &records(NOW, 1, &vec![CALL; most + 3]));
    place.look(&otlp);
    place.send(&otlp).await;
    assert_eq!(otlp.common.dropped.load(Ordering::Relaxed), 3);
    let told = place.metrics(&otlp).exported();
    let dropped = told.into_iter().find(|metric| metric.name == "berth.otlp_dropped").unwrap();
    assert!(format!("{dropped:?}").contains("AsDouble(3.0)"), "{dropped:?}");
    let mut receiver = Receiver::new().await;
    drop(otlp);
    place.send(&place.otlp(&receiver.address)).await;
    let spans = receiver.spans();
    assert_eq!((spans.len(), spans.last().unwrap().name.as_str()), (most, "tools/call read"));
}

#[test]
fn what_is_on_its_way_is_not_dropped() {
    let place = Place::new();
    let mut outbox = Outbox::open(&place.folder()).unwrap();
    let most = usize::try_from(outbox::MOST).unwrap();
    let none = || std::iter::empty::<(&str, Option<String>)>();
    outbox.keep(&vec![vec![1]; most], none()).unwrap();
    let batch = outbox.take(10).unwrap().unwrap();
    outbox.keep(&vec![vec![2]; 15], none()).unwrap();
    assert_eq!(outbox.dropped(), 5);
    outbox.done(&batch, 0).unwrap();
    assert_eq!(outbox.dropped(), 5, "ten have arrived");
}

#[tokio::test]
async fn what_is_long_over_is_not_told() {
    let (place, mut receiver) = (Place::new(), Receiver::new().await);
    let long = SignedDuration::from_mins(61);
    let old = [records(long, 1, &[START, STEP, UP, CALL]), records(NOW, 5, &[CALL])].concat();
    place.append("aaaaaaaaaaaa", &old);
    let otlp = place.otlp(&receiver.address);
    place.look(&otlp);
    place.send(&otlp).await;
    let spans = receiver.spans();
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert!(format!("{spans:?}").contains("files"), "what was said long ago is known");
}

#[tokio::test]
async fn a_session_is_forgotten_with_its_journal() {
    let place = Place::new();
    let otlp = place.otlp("http://127.0.0.1:1");
    place.append("aaaaaaaaaaaa", &records(NOW, 1, &[START]));
    place.look(&otlp);
    std::fs::remove_file(place.0.path().join(journal::FOLDER).join("aaaaaaaaaaaa.jsonl")).unwrap();
    place.append("bbbbbbbbbbbb", &records(NOW, 1, &[START]));
    place.look(&otlp);
    let sessions = otlp.common.outbox.lock().unwrap().sessions().unwrap();
    assert_eq!(sessions.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["bbbbbbbbbbbb"]);
}

fn text_of(resource: &Resource, key: &str) -> String {
    let attribute = resource.attributes.iter().find(|attribute| attribute.key == key).expect(key);
    match attribute.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn metrics_go_on_over_a_new_start_of_the_manager() {
    let (place, mut receiver) = (Place::new(), Receiver::new().await);
    let mut before = None;
    for seq in [1, 2] {
        let otlp = place.otlp(&receiver.address);
        let metrics = place.metrics(&otlp);
        place.append("aaaaaaaaaaaa", &records(NOW, seq, &[CALL]));
        Follower::new(place.0.path()).look(&mut [&mut *metrics.sink()]).unwrap();
        drop(metrics);
        place.send(&otlp).await;
        let sent = receiver.metrics.try_recv().unwrap().resource_metrics.remove(0);
        let resource = sent.resource.unwrap();
        assert_eq!(text_of(&resource, "service.name"), "mcp-berth");
        assert_eq!(text_of(&resource, "service.version"), env!("CARGO_PKG_VERSION"));
        let told = &sent.scope_metrics[0].metrics;
        let named = |name: &str| told.iter().find(|metric| metric.name == name).unwrap();
        let Some(Data::Sum(sum)) = &named("berth.journal_records").data else { panic!("no sum") };
        let Some(Data::Histogram(histogram)) = &named("mcp.server.operation.duration").data else {
            panic!("no histogram")
        };
        let point = &histogram.data_points[0];
        assert!(
            sum.is_monotonic && sum.aggregation_temporality == 2 && histogram.aggregation_temporality == 2
        );
        assert_eq!((point.count, point.bucket_counts[1], point.explicit_bounds.len()), (seq, seq, 14));
        let keys: Vec<&str> = point.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        assert_eq!(keys, ["server", "mcp.method.name", "gen_ai.tool.name"]);
        assert!(point.start_time_unix_nano <= point.time_unix_nano);
        let now = (text_of(&resource, "service.instance.id"), point.start_time_unix_nano);
        assert_eq!(sum.data_points[0].start_time_unix_nano, now.1);
        assert!(before.is_none_or(|before| before == now), "another stream");
        before = Some(now);
    }
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_does_not_answer_holds_the_end_up_no_longer_than_a_second() {
    let place = Place::new();
    // It never accepts: the kernel does.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let otlp = place.otlp(&format!("http://{}", listener.local_addr().unwrap()));
    place.append("aaaaaaaaaaaa", &records(NOW, 1, &[CALL]));
    place.look(&otlp);
    let (read, stop) = (CancellationToken::new(), CancellationToken::new());
    read.cancel();
    stop.cancel();
    let began = tokio::time::Instant::now();
    otlp.work(&place.metrics(&otlp), &read, &stop).await;
    assert!(began.elapsed() >= LAST && began.elapsed() < 2 * LAST, "{:?}", began.elapsed());
    assert!(otlp.common.outbox.lock().unwrap().take(1).unwrap().is_some(), "it waits");
}

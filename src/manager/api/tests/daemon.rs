//! The API against a daemon that is none.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use mcp_berth::config::{Config, Home};
use mcp_berth::observe::audit::{self};
use serde_json::{Value, json};
use tower_service::Service;

use crate::api::routers;
use crate::shared::Shared;
use crate::token::Token;
use crate::web::guard;

/// What the daemon has: names, and what their keepers show of their owners.
const CONTAINERS: [(&str, &str); 4] = [
    ("mcp-claude-code-1", "for 0a0a0a0a0a0a client-session=0199"),
    ("mcp-claude-code-2", "for 0b0b0b0b0b0b client-session=0199"),
    ("mcp-codex-1", "for 0c0c0c0c0c0c"),
    ("mcp-codex-2.standby", ""),
];

/// Answers as an engine does, and keeps what it was asked to end.
#[derive(Debug, Clone, Default)]
struct Daemon {
    killed: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    fn answer(&self, method: &Method, path: &str) -> Response<Body> {
        let path = path.trim_start_matches('/');
        let path =
            path.strip_prefix('v').and_then(|path| path.split_once('/')).map_or(path, |(_, rest)| rest);
        let parts: Vec<&str> = path.split('/').collect();
        let killed = self.killed.lock().unwrap();
        let there = || CONTAINERS.iter().filter(|(name, _)| !killed.iter().any(|killed| killed == name));
        match (method.as_str(), &*parts) {
            ("GET", ["_ping"] | []) => "OK".into_response(),
            ("GET", ["info"]) => axum::Json(json!({ "MemTotal": 1u64 << 30 })).into_response(),
            ("GET", ["containers", "json"]) => {
                let rows: Vec<Value> = there().map(|(name, _)| row(name)).collect();
                axum::Json(rows).into_response()
            }
            ("GET", ["containers", name, "top"]) => {
                let owner = there().find(|(there, _)| there == name).map_or("", |(_, owner)| owner);
                let command = format!("/.berth/keeper hold {owner}");
                let top =
                    json!({ "Titles": ["PID", "USER", "COMMAND"], "Processes": [["1", "root", command]] });
                axum::Json(top).into_response()
            }
            ("POST", ["containers", name, "kill"]) => {
                drop(killed);
                self.killed.lock().unwrap().push((*name).to_owned());
                StatusCode::NO_CONTENT.into_response()
            }
            _ => {
                let message = json!({ "message": format!("No such container: {path}") });
                (StatusCode::NOT_FOUND, axum::Json(message)).into_response()
            }
        }
    }

    /// At a socket in `folder`.
    fn listen(&self, folder: &Path) {
        let listener = tokio::net::UnixListener::bind(folder.join("docker.sock")).unwrap();
        let daemon = self.clone();
        let answer = async move |request: axum::extract::Request| {
            daemon.answer(request.method(), request.uri().path())
        };
        let router = Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
}

fn row(name: &str) -> Value {
    let client = name.trim_start_matches("mcp-").rsplit_once('-').unwrap().0;
    json!({
        "Id": name, "Names": [format!("/{name}")], "State": "running", "Created": 1_700_000_000,
        "Command": "/.berth/keeper hold",
        "Labels": {
            "io.mcp-berth.managed-by": "berth", "io.mcp-berth.client": client,
            "io.mcp-berth.server": "files", "io.mcp-berth.spec": "abc",
        },
    })
}

/// An API of a state folder of its own.
pub(super) struct Api {
    folder: tempfile::TempDir,
    pub(super) router: Router,
    pub(super) token: Token,
    daemon: Daemon,
}

impl Api {
    /// With a daemon, and `servers` behind it in `berth.toml`.
    pub(super) fn new(servers: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Daemon::default();
        daemon.listen(folder.path());
        let toml = format!("[dind]\nhost = \"unix://{}/docker.sock\"\n{servers}", folder.path().display());
        let shared = Shared::of(folder.path(), &toml);
        let (open, with_token) = routers(&shared);
        let router = guard::behind(open, with_token, &shared.guard());
        Self { folder, router, token: shared.token.clone(), daemon }
    }

    pub(super) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        self.send(method, path, headers, String::new()).await
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Response<Body> {
        let request = Request::builder().method(method).uri(path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.router.clone().call(request.body(Body::from(body)).unwrap()).await.unwrap()
    }

    /// The answer's status and JSON to whoever has the token.
    pub(super) async fn told(&self, method: &str, path: &str) -> (u16, Value) {
        let bearer = format!("Bearer {}", self.token.text());
        let answer = self.ask(method, path, &[("host", "localhost"), ("authorization", &bearer)]).await;
        let status = answer.status().as_u16();
        let kind = if status == 200 { "application/json" } else { "application/problem+json" };
        assert_eq!(answer.headers()[header::CONTENT_TYPE], kind, "{path}");
        (status, json_of(answer).await)
    }

    pub(super) fn audit(&self) -> Vec<audit::Entry> {
        let text = std::fs::read_to_string(self.folder.path().join("state").join(audit::FILE));
        text.unwrap_or_default().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub(super) async fn json_of(answer: Response<Body>) -> Value {
    serde_json::from_slice(&to_bytes(answer.into_body(), 1 << 20).await.unwrap()).unwrap()
}

#[tokio::test]
async fn containers_are_told_with_their_owners_as_ps_tells_them() {
    let api = Api::new("");
    let (status, told) = api.told("GET", "/v1/containers").await;
    assert_eq!(status, 200, "{told}");
    let containers = told["containers"].as_array().unwrap();
    let seen: Vec<_> = containers.iter().map(|row| (row["name"].as_str(), row["session"].as_str())).collect();
    let session = ["0a0a0a0a0a0a", "0b0b0b0b0b0b", "0c0c0c0c0c0c", ""].map(Some);
    let expected: Vec<_> = CONTAINERS.iter().map(|(name, _)| Some(*name)).zip(session).collect();
    assert_eq!(seen, expected);
    assert_eq!(
        (&containers[0]["client_session"], &containers[0]["state"]),
        (&json!("0199"), &json!("active"))
    );
    assert_eq!(containers[0]["created"], "2023-11-14T22:13:20Z");
    // The same fields as `berth ps --json`, in the same order.
    let config = Config::load(&home(&api), None).unwrap();
    let engine =
        mcp_berth::dock::docker::Engine::new(mcp_berth::dind::endpoint(&config, &home(&api)).unwrap());
    let seen = mcp_berth::dind::containers::see(&engine, &config, &home(&api).state, None, false, None)
        .await
        .unwrap();
    let rows = serde_json::to_string(&seen.rows).unwrap();
    assert_eq!(serde_json::to_string(&told["containers"]).unwrap(), rows);
}

fn home(api: &Api) -> Home {
    let place = api.folder.path().to_str().unwrap().to_owned();
    Home::from_env(&|name| (name == "BERTH_HOME").then(|| place.clone())).unwrap()
}

#[tokio::test]
async fn a_session_is_ended_and_noted_and_a_word_for_several_ends_none() {
    let api = Api::new("");
    let (status, problem) = api.told("DELETE", "/v1/sessions/0199").await;
    assert_eq!((status, problem["status"].as_u64()), (409, Some(409)));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("mcp-claude-code-1, mcp-claude-code-2"), "{detail}");
    let (status, problem) = api.told("DELETE", "/v1/sessions/nobody").await;
    assert_eq!((status, &problem["detail"]), (404, &json!("no session `nobody`; see `/v1/containers`")));
    assert_eq!(api.told("DELETE", "/v1/containers/0a0a0a0a0a0a").await.0, 404, "that is no container's name");
    assert_eq!((api.daemon.killed.lock().unwrap().len(), api.audit().len()), (0, 0));

    let (status, ended) = api.told("DELETE", "/v1/sessions/0c0c0c0c0c0c").await;
    let expected =
        json!({ "ended": [{ "name": "mcp-codex-1", "server": "files", "session": "0c0c0c0c0c0c" }] });
    assert_eq!((status, ended), (200, expected));
    let (status, ended) = api.told("DELETE", "/v1/containers/mcp-codex-2.standby").await;
    assert_eq!((status, &ended["ended"][0]["session"]), (200, &json!("")));
    assert_eq!(*api.daemon.killed.lock().unwrap(), ["mcp-codex-1", "mcp-codex-2.standby"]);
    let noted = api.audit();
    assert_eq!((noted[0].event.as_str(), noted[0].detail.as_str()), ("ended by the API", "mcp-codex-1"));
    assert_eq!(noted[0].session.as_deref(), Some("0c0c0c0c0c0c"));
}

#[tokio::test]
async fn standby_is_told_by_server_client_and_hash() {
    let api = Api::new("[limits]\nstandby = 7\n");
    let (_, told) = api.told("GET", "/v1/standby").await;
    let waiting = json!([{ "name": "mcp-codex-2.standby", "created": "2023-11-14T22:13:20Z" }]);
    let kinds = json!([{
        "kind": "codex-abc", "server": "files", "client": "codex", "spec": "abc", "target": null, "bounds": null,
        "containers": waiting,
    }]);
    assert_eq!(told, json!({ "waiting": 1, "cap": 7, "kinds": kinds }));
}

#[tokio::test]
async fn servers_are_those_of_the_file_as_it_is_now_without_values() {
    let api = Api::new("[servers.a]\nimage = \"i\"\nargs = [\"--key=s3cr3t\"]\nenv = { KEY = \"s3cr3t\" }\n");
    let (_, told) = api.told("GET", "/v1/servers").await;
    let [server] = &told["servers"].as_array().unwrap()[..] else { panic!("{told}") };
    let shown = (&server["name"], &server["image"], &server["network"], &server["has_image"]);
    assert_eq!(shown, (&json!("a"), &json!("i"), &json!("egress"), &json!(false)));
    assert!(!told.to_string().contains("s3cr3t"), "{told}");

    let file = api.folder.path().join("berth.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}[servers.b]\nuvx = \"mcp-server-git\"\nnetwork = \"none\"\n"))
        .unwrap();
    let (_, told) = api.told("GET", "/v1/servers").await;
    assert_eq!(told["servers"][1]["package"], "uvx mcp-server-git");

    std::fs::write(&file, format!("{text}nonsense = 1\n")).unwrap();
    let (status, problem) = api.told("GET", "/v1/servers").await;
    assert_eq!(status, 503);
    assert!(problem["detail"].as_str().unwrap().contains("`nonsense`"), "{problem}");
    assert_eq!(
        api.told("GET", "/v1/containers").await.0,
        200,
        "a mistake in a server keeps nobody from ending one"
    );
}

#[tokio::test]
async fn errors_are_problems_whoever_makes_them() {
    let api = Api::new("");
    let (status, problem) = api.told("GET", "/v1/nothing").await;
    assert_eq!((status, &problem["detail"]), (404, &json!("there is nothing at this path")));
    assert_eq!(api.told("POST", "/v1/containers").await.0, 405);
    let (status, problem) = api.told("DELETE", "/v1/containers/%ff").await;
    assert_eq!((status, &problem["title"]), (400, &json!("Bad Request")));
    let bearer = format!("Bearer {}", api.token.text());
    let answer = api.ask("PUT", "/v1/containers", &[("host", "localhost"), ("authorization", &bearer)]).await;
    assert_eq!(answer.headers()[header::ALLOW], "GET,HEAD");
}

#[tokio::test]
async fn without_the_token_two_questions_are_answered() {
    let api = Api::new("");
    let local = ("host", "127.0.0.1:18080");
    assert_eq!(api.ask("GET", "/healthz", &[local]).await.status(), 200);
    assert_eq!(json_of(api.ask("GET", "/readyz", &[local]).await).await, json!({ "status": "ok" }));
    for path in ["/v1/containers", "/v1/servers", "/openapi.json", "/", "/v1/nothing"] {
        assert_eq!(api.ask("GET", path, &[local]).await.status(), 401, "{path}");
    }
    std::fs::write(api.folder.path().join("berth.toml"), "[dind]\nhost = \"unix:///nowhere\"\n").unwrap();
    let answer = api.ask("GET", "/readyz", &[local]).await;
    assert_eq!(answer.status(), 503);
    assert!(json_of(answer).await["detail"].as_str().unwrap().contains("the DinD daemon gives no answer"));
}

#[tokio::test]
async fn a_page_of_another_origin_and_a_wrong_token_are_refused_and_noted() {
    let api = Api::new("");
    let token = format!("Bearer {}", api.token.text());
    let wrong = Token::random();
    let bearer = format!("Bearer {}", wrong.text());
    let (local, right) = (("host", "127.0.0.1:18080"), ("authorization", token.as_str()));
    let refused = [
        (vec![local, right, ("origin", "http://evil.example")], 403, "a page of `http://evil.example`"),
        (vec![("host", "evil.example"), right], 403, "`Host: evil.example`"),
        (vec![local, right, ("sec-fetch-site", "cross-site")], 403, "another origin"),
        (vec![local, ("authorization", &bearer)], 401, "a wrong token"),
    ];
    // Who has no token has not tried one: this is noted nowhere.
    assert_eq!(api.ask("GET", "/v1/containers", &[local]).await.status(), 401);
    for (headers, expected, _) in &refused {
        let answer = api.ask("GET", "/v1/containers", headers).await;
        assert_eq!(answer.status(), *expected, "{headers:?}");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
    // The lines are written beside the answers.
    while api.audit().len() < refused.len() {
        tokio::task::yield_now().await;
    }
    let mut noted = api.audit();
    noted.sort_by_key(|entry| entry.time);
    assert_eq!(noted.len(), refused.len());
    for (entry, (_, _, why)) in noted.iter().zip(&refused) {
        assert_eq!(entry.event, "log-in refused");
        assert!(entry.detail.contains(why), "{entry:?}");
    }
    let text = std::fs::read_to_string(api.folder.path().join("state").join(audit::FILE)).unwrap();
    assert!(!text.contains(wrong.text()) && !text.contains(api.token.text()), "{text}");
}

#[tokio::test]
async fn every_operation_is_described_with_what_it_may_answer() {
    let api = Api::new("");
    let (_, description) = api.told("GET", "/openapi.json").await;
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() >= 8, "{paths:?}");
    let operations = paths.iter().flat_map(|(path, item)| {
        item.as_object()
            .unwrap()
            .iter()
            .map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    for (name, operation) in operations {
        let responses = operation["responses"].as_object().unwrap();
        let is_open = ["get /healthz", "get /readyz"].contains(&name.as_str());
        assert_eq!(operation.get("security").is_none(), is_open, "{name}");
        assert_eq!(responses.contains_key("401"), !is_open, "{name}");
        for status in ["200", "400", "403", "429", "503"] {
            assert!(responses.contains_key(status), "{name} has no {status}");
        }
        // What stands in a path, a query or a header is text, and no text is `null`.
        let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_nullable = |parameter: &&Value| parameter["schema"]["type"].is_array();
        assert_eq!(parameters.iter().find(is_nullable), None, "{name}");
    }
    assert!(description["components"]["schemas"]["Problem"]["properties"]["detail"].is_object());
}

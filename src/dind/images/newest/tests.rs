//! What is under a name after each end of a renewal, in an engine that knows as much of the Engine API as that takes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use super::*;
use crate::dock::dial::Endpoint;
use crate::failure::Code;

const IMAGE: &str = "registry.example:5000/a/b:1";
const NEW: &str = "sha256:1111";

/// Names, and the ids of the images that have them.
type Names = Arc<Mutex<BTreeMap<String, String>>>;

async fn answer(stream: UnixStream, names: Names) {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let Some(request) = lines.first() else { return };
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let target = percent_encoding::percent_decode_str(target).decode_utf8_lossy().into_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let parameter = |name: &str| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_default().to_owned()
    };
    let parts: Vec<&str> = path.trim_matches('/').splitn(2, '/').collect();
    let body = {
        let mut names = names.lock().unwrap();
        match (method, parts[0], parts[1]) {
            ("GET", "distribution", _) => {
                Some(json!({ "Descriptor": { "mediaType": "m", "digest": NEW, "size": 1 }, "Platforms": [] }))
            }
            ("POST", "images", "create") => {
                names.insert(parameter("fromImage"), NEW.to_owned());
                Some(json!({ "status": "done" }))
            }
            ("GET", "images", name) => {
                let name = name.trim_end_matches("/json");
                let id = names.get(name).or_else(|| names.values().find(|id| *id == name)).cloned();
                id.map(|id| {
                    let of = names.iter().filter(|(_, other)| **other == id).map(|(name, _)| name.clone());
                    let (digests, tags): (Vec<_>, Vec<_>) = of.partition(|name| name.contains('@'));
                    json!({ "Id": id, "RepoTags": tags, "RepoDigests": digests })
                })
            }
            ("POST", "images", id) => {
                names.insert(parameter("repo"), id.trim_end_matches("/tag").to_owned());
                Some(json!({}))
            }
            ("DELETE", "images", id) => {
                names.retain(|_, other| *other != id);
                Some(json!([]))
            }
            _ => None,
        }
    };
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_else(|| json!({ "message": "no such image" })).to_string();
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\n");
    let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let _ = stream.write_all(answer.as_bytes()).await;
}

#[tokio::test]
async fn a_name_leads_to_the_former_image_until_the_new_one_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let (listener, names) = (UnixListener::bind(&socket).unwrap(), Names::default());
    let of = Arc::clone(&names);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&of)));
        }
    });
    let daemon = Engine::new(Endpoint::parse(&format!("unix://{}", socket.display()), None).unwrap());
    let (cli, progress) = (DockerCli::default(), Progress::silent());
    let at = Site { state: folder.path(), host: None, daemon: &daemon, cli: &cli, progress: &progress };
    let old = "sha256:0000".to_owned();
    names.lock().unwrap().insert(IMAGE.to_owned(), old.clone());
    let has_name = || names.lock().unwrap().get(IMAGE).cloned().unwrap();
    let ids = || names.lock().unwrap().values().cloned().collect::<Vec<_>>();

    // Its session ends while it is judged.
    let (judging, is_judged) = oneshot::channel();
    let endless = async |_: &str| {
        let _ = judging.send(());
        std::future::pending::<Result<(), Failure>>().await
    };
    tokio::select! {
        _ = renew(&at, IMAGE, endless) => unreachable!(),
        judged = tokio::time::timeout(Duration::from_secs(30), is_judged) => judged.unwrap().unwrap(),
    }
    assert_eq!(has_name(), old);

    let refuse = async |held: &str| {
        assert_eq!(held, format!("registry.example:5000/a/b@{NEW}"));
        Err::<(), _>(Failure { code: Code::Configuration, text: "unsigned".to_owned(), next: None })
    };
    let refused = renew(&at, IMAGE, refuse).await;
    assert!(matches!(&refused, Err(NotRenewed::Refused(why)) if why.text == "unsigned"), "{refused:?}");
    assert_eq!((has_name(), ids()), (old.clone(), vec![old.clone()]), "nothing of the other stays");

    assert_eq!(renew(&at, IMAGE, async |_: &str| Ok(7)).await.unwrap(), Some(7));
    assert_eq!(has_name(), NEW);
    assert!(!ids().contains(&old));
    assert_eq!(renew(&at, IMAGE, async |_: &str| Ok(8)).await.unwrap(), None, "it is there");
}

#[test]
fn a_repository_has_no_tag() {
    for (image, expected) in
        [("a", "a"), ("a:1", "a"), ("h:5000/a", "h:5000/a"), ("h:5000/a/b:1", "h:5000/a/b")]
    {
        assert_eq!(repository(image), expected);
    }
}

use std::sync::Arc;

use kube::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::cluster::client;

/// The proxy's address for a cluster, by the environment's variables; user and password are apart.
fn chosen(cluster: &str, variables: &[(&str, &str)]) -> Option<String> {
    let lookup =
        |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let proxy = proxy(None, &cluster.parse().unwrap(), lookup).unwrap()?;
    Some(proxy.uri().to_string())
}

#[test]
fn the_environment_names_a_proxy_as_it_does_for_kubectl() {
    let https = ("HTTPS_PROXY", "http://u:p@proxy:3128");
    let to = |cluster: &str, no: &str| chosen(cluster, &[https, ("NO_PROXY", no)]);
    let by = Some("http://proxy:3128/".to_owned());
    assert_eq!(to("https://api.example:6443", ""), by);
    assert_eq!(to("http://api.example", ""), None, "HTTPS_PROXY is for https alone");
    assert_eq!(chosen("http://api.example", &[("http_proxy", "proxy:3128")]), by);
    assert_eq!(chosen("https://a", &[("HTTPS_PROXY", ""), ("https_proxy", "http://proxy:3128")]), by);
    assert_eq!(chosen("https://a", &[("ALL_PROXY", "http://proxy:3128")]), None, "Go knows no such variable");
    assert_eq!(chosen("https://a", &[("HTTPS_PROXY", "ftp://proxy")]), None);
    for loopback in ["https://127.0.0.1:6443", "https://localhost:6443", "https://[::1]:6443"] {
        assert_eq!(to(loopback, ""), None, "{loopback}");
    }
    for no in ["*", "example", ".example", "*.example", "a.b, api.example", "api.example:6443", "API.example"]
    {
        assert_eq!(to("https://api.example:6443", no), None, "{no}");
    }
    for no in ["pi.example", "api.example:443", "x.api.example", "10.0.0.0/8"] {
        assert_eq!(to("https://api.example:6443", no), by, "{no}");
    }
    assert_eq!(to("https://api.example", "api.example:443"), None, "the port that is not written");
    for no in ["10.0.0.0/8", "10.1.2.3", "10.1.2.3:6443"] {
        assert_eq!(to("https://10.1.2.3:6443", no), None, "{no}");
    }
    for no in ["fd00::/8", "fd00::1", "[fd00::1]:6443"] {
        assert_eq!(to("https://[fd00::1]:6443", no), None, "{no}");
    }
}

#[test]
fn a_kubeconfigs_proxy_counts_whatever_the_environment_says() {
    let everything = |name: &str| Some(if name.contains("NO") { "*" } else { "http://other" }.to_owned());
    let named = |url: &str| proxy(Some(url), &"https://127.0.0.1:6443".parse().unwrap(), everything);
    for url in ["http://p:1", "https://p:1", "socks5://p:1"] {
        assert_eq!(named(url).unwrap().unwrap().uri().to_string(), format!("{url}/"));
    }
    for url in ["ftp://u:secret@p", "socks4://p", "http://p:secret:1"] {
        let failure = named(url).unwrap_err();
        assert!(failure.text.contains("`proxy-url`") && !failure.to_string().contains("secret"), "{failure}");
    }
}

/// An API server that knows one answer.
async fn answering() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut peer, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                until(&mut peer, b"\r\n\r\n").await;
                peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nahoy!").await.unwrap();
            });
        }
    });
    port
}

async fn until(peer: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    while !heard.ends_with(end) {
        heard.push(peer.read_u8().await.unwrap());
    }
    heard
}

/// A client for a cluster whose name nobody but the proxy knows.
fn through(named: &str) -> Client {
    let cluster: Uri = "http://cluster.invalid:8080".parse().unwrap();
    let proxy = proxy(Some(named), &cluster, |_| None).unwrap();
    let mut config = Config::new(cluster);
    config.connect_timeout = Some(Duration::from_millis(300));
    client(config, proxy.as_ref(), Duration::from_secs(35)).unwrap()
}

async fn asked(client: &Client) -> kube::Result<String> {
    client.request_text(http::Request::get("/").body(Vec::new()).unwrap()).await
}

#[tokio::test]
async fn a_proxy_is_told_the_clusters_name_and_who_asks() {
    let server = answering().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = Arc::new(std::sync::Mutex::new(String::new()));
    let told = Arc::clone(&said);
    tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.unwrap();
        let lines = until(&mut peer, b"\r\n\r\n").await;
        told.lock().unwrap().push_str(&String::from_utf8(lines).unwrap());
        peer.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut peer, &mut server).await;
    });
    assert_eq!(asked(&through(&format!("http://me:a%40b@127.0.0.1:{port}"))).await.unwrap(), "ahoy!");
    let said = said.lock().unwrap().to_lowercase();
    assert!(said.starts_with("connect cluster.invalid:8080 http/1.1\r\n"), "{said}");
    assert!(said.contains("proxy-authorization: basic bwu6yubi\r\n"), "{said}");
}

#[tokio::test]
async fn a_proxy_may_speak_socks() {
    let server = answering().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let proxying = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.unwrap();
        assert_eq!(peer.read_u8().await.unwrap(), 5);
        let methods = peer.read_u8().await.unwrap();
        for _ in 0..methods {
            peer.read_u8().await.unwrap();
        }
        peer.write_all(&[5, 0]).await.unwrap();
        let name = "cluster.invalid";
        let mut request = vec![0; 4 + 1 + name.len() + 2];
        peer.read_exact(&mut request).await.unwrap();
        assert_eq!(&request[..4], [5, 1, 0, 3], "a name");
        assert_eq!(&request[5..5 + name.len()], name.as_bytes());
        peer.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 1]).await.unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut peer, &mut server).await;
    });
    assert_eq!(asked(&through(&format!("socks5://127.0.0.1:{port}"))).await.unwrap(), "ahoy!");
    proxying.abort();
}

#[tokio::test]
async fn a_proxy_that_refuses_or_says_nothing_is_told_without_its_password() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let refusing = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.unwrap();
        until(&mut peer, b"\r\n\r\n").await;
        peer.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.unwrap();
        // The next one waits with the kernel.
        (peer, listener)
    });
    let client = through(&format!("http://me:secret@127.0.0.1:{port}"));
    let told = |error: kube::Error| mcp_berth::failure::chain(&error);
    let refused = told(asked(&client).await.unwrap_err());
    let by = format!("there is no way by the proxy `http://127.0.0.1:{port}/`");
    assert!(refused.contains(&by) && refused.contains("authorization required"), "{refused}");
    let _held = refusing.await.unwrap();
    let silent = told(asked(&client).await.unwrap_err());
    assert!(silent.contains(&by) && !silent.contains("secret"), "{silent}");
}

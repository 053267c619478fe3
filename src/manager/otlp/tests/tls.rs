//! A collector behind TLS.

use bytes::Bytes;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::super::post::Unsent;
use super::*;

/// A certificate of itself alone, with its key.
fn certificate() -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap(), key)
}

#[tokio::test]
async fn a_collector_behind_tls_must_show_a_certificate_that_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (shown, key) = certificate();
    let (trusted, other) = (folder.path().join("trusted.pem"), folder.path().join("other.pem"));
    std::fs::write(&trusted, shown.pem()).unwrap();
    std::fs::write(&other, certificate().0.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![shown.der().clone()], key)
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                assert!(stream.read_buf(&mut head).await.unwrap() > 0);
            }
            let head = String::from_utf8_lossy(&head).to_lowercase();
            assert!(head.contains("authorization: bearer sesame"), "{head}");
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    });
    let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
    let text = format!("[manager]\notlp = \"{address}\"");
    let collector = Config::parse(&text, Path::new("b.toml"), &home).unwrap().manager.otlp.unwrap();
    let headers = |name: &str| {
        (name == "OTEL_EXPORTER_OTLP_HEADERS").then(|| "authorization=Bearer%20sesame".to_owned())
    };
    let target = Settings::read(&collector, &headers).unwrap().traces.unwrap();
    let send = async |certificate: &Path| {
        let post = Post::new(&collector, Some(certificate)).unwrap();
        post.send(&target, Bytes::new()).await
    };
    assert_eq!(send(&trusted).await.unwrap(), Bytes::new());
    match send(&other).await.unwrap_err() {
        Unsent::Later { why, .. } => assert!(why.contains("invalid peer certificate"), "{why}"),
        refused @ Unsent::Refused(_) => panic!("{refused}"),
    }
    let none = Post::new(&collector, Some(&folder.path().join("none.pem"))).unwrap_err();
    assert!(none.text.contains("none.pem"), "{none}");
}

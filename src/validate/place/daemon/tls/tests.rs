//! Attempts on servers of our own, with and without TLS.

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::dind::certs;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// Serves connections one after another, each with `answer`, for as long as the test runs.
async fn serve(tls: Option<ServerConfig>, answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(acceptor) = &acceptor else {
                // Reads first: a close with unread bytes would be a reset.
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer).await;
                continue;
            };
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

/// A server's end with the certificates in `folder`.
fn server(folder: &Path, asks_clients: bool) -> ServerConfig {
    let provider = || Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = if asks_clients {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(folder.join(certs::CA)).unwrap()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let cert = certs::server_certificate(folder).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join(certs::SERVER_KEY)).unwrap();
    builder.with_single_cert(vec![cert], key).unwrap()
}

async fn knock_as_all_three(asks_clients: bool) -> [Attempt; 3] {
    let folder = tempfile::tempdir().unwrap();
    certs::ensure(folder.path(), &[], jiff::Timestamp::now()).unwrap();
    let port = serve(Some(server(folder.path(), asks_clients)), OK).await;
    let configs = Configs::read(folder.path()).unwrap();
    let knock = |config: &Arc<ClientConfig>| attempt("127.0.0.1", port, Some(Arc::clone(config)));
    [knock(&configs.ours).await, knock(&configs.none).await, knock(&configs.foreign).await]
}

#[tokio::test]
async fn a_server_that_asks_for_certificates_refuses_strangers() {
    let [ours, none, foreign] = knock_as_all_three(true).await;
    assert_eq!(ours, Attempt::Answered(200));
    assert!(matches!(&none, Attempt::Refused(_)), "{none}");
    assert!(matches!(&foreign, Attempt::Refused(_)), "{foreign}");
}

#[tokio::test]
async fn a_server_that_asks_nobody_is_found_out() {
    assert_eq!(knock_as_all_three(false).await, [const { Attempt::Answered(200) }; 3]);
}

#[tokio::test]
async fn plain_doors_are_told_apart() {
    let port = serve(None, OK).await;
    assert_eq!(attempt("127.0.0.1", port, None).await, Attempt::Answered(200));
    assert!(is_open("127.0.0.1", port).await);
    let port = serve(None, b"").await;
    assert!(matches!(attempt("127.0.0.1", port, None).await, Attempt::Refused(_)));
    let port = serve(None, b"SSH-2.0-x\r\n").await;
    assert!(matches!(attempt("127.0.0.1", port, None).await, Attempt::Refused(_)));
    // Nobody's; one that was the kernel's choice and was let go may be another's in a moment.
    let free = 1;
    assert!(matches!(attempt("127.0.0.1", free, None).await, Attempt::Unknown(_)));
    assert!(!is_open("127.0.0.1", free).await);
}

#[tokio::test]
async fn the_port_below_is_looked_at() {
    let port = serve(None, OK).await;
    assert_eq!(plain_ports("127.0.0.1", port + 1).await, [(format!("127.0.0.1:{port}"), true)]);
}

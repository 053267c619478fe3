//! Asks for a name in a container and on this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::UdpSocket;

use super::{Asked as Who, failed};
use crate::dind;
use crate::dock::docker::Engine;
use crate::dock::resolver::{self, Resolver};
use crate::doctor::line::Seen;
use crate::doctor::names::{ASKED_FOR, Asked, Names};
use crate::exam::inside::Inside;
use crate::values::Network;

/// As long as the probe waits.
const PATIENCE: Duration = Duration::from_secs(6);
const PORT: u16 = 53;
/// Any: nobody but the one that is asked is heard.
const NUMBER: [u8; 2] = [0x62, 0x65];

/// The network of the probe container. Where no server has one, none is tried.
pub(super) fn network(asked: &Who<'_>) -> Network {
    let has_egress = asked.config.servers.values().any(|server| server.settings.network != Network::None);
    if has_egress { Network::Egress } else { Network::None }
}

pub(super) async fn look(asked: &Who<'_>, daemon: &Engine, inside: &Inside) -> Seen<Names> {
    if network(asked) == Network::None {
        return Seen::NotApplicable("no configured server has a network".to_owned());
    }
    let session = match inside.ask(&["names", ASKED_FOR]).await {
        Ok(answer) => read(&answer),
        Err(why) => return Seen::failed(why, "berth status"),
    };
    let follows = dind::asks_as_we_do(asked.config, daemon.endpoint());
    let told = if follows { Some(resolver::told(daemon).await).transpose() } else { Ok(None) };
    let told = match told {
        Ok(told) => told,
        Err(error) => return failed(error),
    };
    let own = if session.iter().any(Asked::is_answered) { Vec::new() } else { resolver::asked_here() };
    let this_machine = futures::future::join_all(own.into_iter().map(ask)).await;
    let usable = Resolver::of_this_machine().map(|own| own.nameservers).unwrap_or_default();
    Seen::Found(Names { session, this_machine, told, usable, daemon: asked.config.dind.name.clone() })
}

/// What the probe said.
fn read(answer: &Value) -> Vec<Asked> {
    let rows = answer["asked"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |row: &Value| Asked {
        server: row["server"].as_str().unwrap_or("?").to_owned(),
        answer: row["code"]
            .as_u64()
            .and_then(|code| u8::try_from(code).ok())
            .ok_or_else(|| row["error"].as_str().unwrap_or("no proper answer").to_owned()),
        took: Duration::from_millis(row["ms"].as_u64().unwrap_or_default()),
    };
    rows.iter().map(row).collect()
}

async fn ask(server: IpAddr) -> Asked {
    let began = Instant::now();
    let answer = tokio::time::timeout(PATIENCE, code(SocketAddr::new(server, PORT))).await;
    let answer = match answer {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer in {} s", PATIENCE.as_secs())),
    };
    Asked { server: server.to_string(), answer, took: began.elapsed() }
}

/// The code of a nameserver's answer.
async fn code(server: SocketAddr) -> std::io::Result<u8> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&question()).await?;
    let mut answer = [0; 512];
    loop {
        let length = socket.recv(&mut answer).await?;
        if length >= 12 && answer[..2] == NUMBER && answer[2] & 0x80 != 0 {
            return Ok(answer[3] & 0xf);
        }
    }
}

/// For the name's IPv4 address (RFC 1035, section 4): one question, and whoever is asked may ask others.
fn question() -> Vec<u8> {
    let mut question = [&NUMBER[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in ASKED_FOR.split('.') {
        question.extend(u8::try_from(label.len()));
        question.extend_from_slice(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    question
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_probes_answer_is_read() {
        let answer = json!({ "asked": [
            { "server": "172.30.240.1", "code": 3, "error": null, "ms": 4 },
            { "server": "10.0.0.1", "code": null, "error": "no answer in 6 s", "ms": 6001 },
        ] });
        let asked = read(&answer);
        assert_eq!((&asked[0].answer, asked[0].took), (&Ok(3), Duration::from_millis(4)));
        assert_eq!(asked[1].answer, Err("no answer in 6 s".to_owned()));
        assert_eq!(read(&json!({})), []);
    }

    #[tokio::test]
    async fn a_nameserver_is_asked_and_its_answers_code_read() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let answering = async {
            let mut asked = [0; 512];
            let (length, client) = server.recv_from(&mut asked).await.unwrap();
            assert_eq!(&asked[12..length], b"\x07example\x03com\0\0\x01\0\x01");
            // Another question's answer first.
            server.send_to(&[0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0], client).await.unwrap();
            (asked[2], asked[3]) = (0x81, 0x83);
            server.send_to(&asked[..length], client).await.unwrap();
        };
        let (code, ()) = tokio::join!(code(address), answering);
        assert_eq!(code.unwrap(), 3);
    }
}

//! Looks at the certificates' files, and at the certificate that the daemon shows.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;

use super::Asked;
use crate::dind::{self, certs};
use crate::dock::dial::Stream;
use crate::doctor::SILENT;
use crate::doctor::certificates::{Certificates, Key, Served};
use crate::doctor::line::Seen;
use crate::failure::{Failure, chain};

pub(super) async fn look(asked: &Asked<'_>) -> Seen<Certificates> {
    let Some(folder) = asked.config.dind.daemon(asked.home).certs else {
        return Seen::NotApplicable("the daemon is reached by a Unix socket".to_owned());
    };
    let ours = asked.is_ours();
    let names: &[&str] =
        if ours { &[certs::CA_KEY, certs::SERVER_KEY, certs::CLIENT_KEY] } else { &[certs::CLIENT_KEY] };
    let mut keys: Vec<Key> = names.iter().map(|name| key(&folder.join(name))).collect();
    if ours {
        keys.push(key(&folder));
    }
    let unusable = dind::endpoint(asked.config, asked.home).err().map(|error| {
        let text = chain(&error);
        let next = Failure::from(error).next;
        (text, if ours { "berth up".to_owned() } else { next.unwrap_or_default() })
    });
    let server = match &asked.daemon {
        Some(daemon) => match daemon.endpoint().dial().await {
            Ok(Stream::Tls(stream)) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                Seen::Found(Served {
                    days: shown.and_then(|shown| certs::days_left(shown, Timestamp::now())),
                    is_the_files: certs::server_certificate(&folder)
                        .ok()
                        .filter(|_| ours)
                        .zip(shown)
                        .map(|(file, shown)| file == *shown),
                })
            }
            Ok(_) => Seen::NotApplicable("the daemon shows none".to_owned()),
            Err(error) => Seen::failed(chain(&error), "berth status"),
        },
        None => Seen::NotApplicable(SILENT.to_owned()),
    };
    Seen::Found(Certificates {
        client_days: certs::client_days_left(&folder, Timestamp::now()),
        folder: folder.display().to_string(),
        unusable,
        server,
        keys,
        ours,
    })
}

fn key(path: &Path) -> Key {
    let found = std::fs::metadata(path).ok();
    Key {
        path: path.display().to_string(),
        mode: found.as_ref().map(MetadataExt::mode),
        own: found.as_ref().map(Metadata::uid) == Some(rustix::process::geteuid().as_raw()),
    }
}

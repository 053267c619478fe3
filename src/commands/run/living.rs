//! A session of a profile sees that berth.toml has changed.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::pending;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Config;
use super::members::{Making, Member, Members};
use crate::backend::Backend;
use crate::config::Profile;
use crate::failure::Failure;
use crate::session::mux::Reshape;

/// So often the file is looked at: a watch of the kernel's would be one of the 128 that a user may have.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(2);

/// Tells the session of servers that come to its profile or go, as long as it lasts.
pub(super) async fn watch<B: Backend>(
    making: &Making<'_, B>,
    config: &Config,
    mut profile: Profile,
    members: &Members<B::Ready>,
    changes: mpsc::Sender<Reshape>,
) -> Infallible {
    let Some(file) = &config.file else { return pending().await };
    let mut order: Vec<usize> = (0..members.borrow().len()).collect();
    // It may have changed since it was read.
    let (mut seen, mut before) = (None, None);
    let mut told = BTreeSet::new();
    loop {
        tokio::time::sleep(LOOKED_AT_EVERY).await;
        let stamp = stamp(file).await;
        // What is being written is not whole yet.
        let is_at_rest = stamp == std::mem::replace(&mut before, stamp);
        if stamp.is_none() || !is_at_rest || stamp == seen {
            continue;
        }
        seen = stamp;
        let reshaped = read(making, file, &profile.name).and_then(|(config, wanted)| {
            let reshape = reshape(making, &config, (&profile, &wanted), members, (&order, &mut told))?;
            Ok((wanted, reshape))
        });
        match reshaped {
            Ok((_, None)) => {}
            Ok((wanted, Some(reshape))) => {
                tracing::warn!(
                    "the profile `{}` has changed: its servers are {}; a client that ignores `list_changed`, as Codex \
                     does, has to reconnect",
                    wanted.name,
                    wanted.servers.join(", ")
                );
                (profile, order) = (wanted, reshape.order.clone());
                let _ = changes.send(reshape).await;
            }
            Err(failure) => tracing::warn!(
                "cannot use the changed {}: {}; the session goes on with the servers that it has",
                file.display(),
                failure.text
            ),
        }
    }
}

/// What tells one content of the file from another.
async fn stamp(file: &Path) -> Option<[i64; 5]> {
    let metadata = tokio::fs::metadata(file).await.ok()?;
    let [inode, length] = [metadata.ino(), metadata.len()].map(u64::cast_signed);
    Some([inode, length, metadata.mtime(), metadata.mtime_nsec(), metadata.ctime()])
}

fn read<B>(making: &Making<'_, B>, file: &Path, profile: &str) -> Result<(Config, Profile), Failure> {
    let config = Config::load(making.home, Some(file)).map_err(Failure::from)?;
    let profile = config.profile(profile).map_err(Failure::from)?.clone();
    Ok((config, profile))
}

/// What the session has to become; `None`: it is that.
fn reshape<B: Backend>(
    making: &Making<'_, B>,
    config: &Config,
    (before, wanted): (&Profile, &Profile),
    members: &Members<B::Ready>,
    (order, told): (&[usize], &mut BTreeSet<String>),
) -> Result<Option<Reshape>, Failure> {
    let mut fresh = Vec::new();
    let mut new_order = Vec::new();
    let first = members.borrow().len();
    for name in &wanted.servers {
        let known = members.borrow();
        let server = config.server(name).map_err(Failure::from)?.with_overrides(&making.args.settings.0);
        let present = order.iter().copied().find(|&member| known[member].server.name == *name);
        if let Some(member) = present {
            if server != known[member].server && told.insert(name.clone()) {
                tracing::warn!("[servers.{name}] has changed: sessions that begin from now on have that");
            }
            new_order.push(member);
        } else {
            new_order.push(first + fresh.len());
            fresh.push(making.member(config, server));
        }
    }
    if (before.peers, &before.network) != (wanted.peers, &wanted.network) {
        tracing::warn!("`peers` and `network` of a profile hold for sessions that begin from now on");
    }
    if new_order == order && before == wanted {
        return Ok(None);
    }
    let added = fresh.iter().map(Member::options).collect();
    members.borrow_mut().extend(fresh);
    let (tools, deny_tools) = (wanted.tools.clone(), wanted.deny_tools.clone());
    Ok(Some(Reshape { added, order: new_order, tools, deny_tools }))
}

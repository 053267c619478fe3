//! Asks whose numbers the users of session containers have: in the probe container, and the daemon of the sessions.

use futures::future::join_all;

use super::{Asked, failed};
use crate::dind::ids::Ids;
use crate::dind::soon;
use crate::dock::docker::Engine;
use crate::dock::roster;
use crate::doctor::ids::Users;
use crate::doctor::line::Seen;
use crate::exam::inside::Inside;

pub(super) async fn look(asked: &Asked<'_>, daemon: &Engine, inside: &Inside) -> Seen<Users> {
    let map = match inside.ask(&["read", "/proc/self/uid_map"]).await {
        Ok(answer) => answer["text"].as_str().unwrap_or_default().to_owned(),
        Err(why) => return Seen::failed(why, "berth validate"),
    };
    let dind = &asked.config.dind;
    let ids = (asked.is_ours() && dind.userns).then(|| Ids::of(&dind.name));
    let container = asked.is_ours().then(|| dind.name.clone());
    let mut known = Vec::new();
    if let Some(ids) = ids {
        let sessions = match soon(daemon, roster::list(daemon)).await {
            Ok(sessions) => sessions,
            Err(error) => return failed(error),
        };
        let users = sessions.into_iter().filter(|session| session.running).map(async |session| {
            // A session that ends in this moment has none.
            let asked = async { Ok(roster::user(daemon, &session).await) };
            let user = soon(daemon, asked).await.ok().flatten().filter(|user| !user.is_empty())?;
            (!ids.shows(&user)).then_some((session.name, user))
        });
        known = join_all(users).await.into_iter().flatten().collect();
    }
    Seen::Found(Users { map, ids, container, known })
}

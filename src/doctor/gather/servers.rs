//! Looks at each configured server by itself.

use super::Asked;
use super::clients::resolved;
use crate::doctor::servers::{Lack, Server};

pub(super) fn look(asked: &Asked<'_>) -> Vec<Server> {
    let servers = asked.config.servers.values().map(|server| {
        let alone = resolved(asked.config, server, asked.lookup)
            .map_err(|error| Lack { why: error.message().to_owned(), next: error.hint().map(str::to_owned) });
        Server { name: server.name.clone(), image: server.image.clone(), alone }
    });
    servers.collect()
}

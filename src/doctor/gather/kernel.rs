//! Asks a container with `isolation = "gvisor"` for its kernel.

use super::{Asked, failed, probes};
use crate::dind::soon;
use crate::dock::lease::Lease;
use crate::dock::wire::Wire;
use crate::doctor::images::{Image, Presence};
use crate::doctor::kernel::Kernel;
use crate::doctor::line::Seen;
use crate::exam::inside::container::InContainer;
use crate::values::{Isolation, Network};

pub(super) async fn look(asked: &Asked<'_>, images: &[Image]) -> Seen<Kernel> {
    let daemon = match asked.daemon() {
        Ok(daemon) => daemon,
        Err(seen) => return seen,
    };
    let is_apart = |name: &String| {
        let server = asked.config.servers.get(name);
        server.is_some_and(|server| server.settings.isolation == Isolation::Gvisor)
    };
    let wanted = images.iter().filter(|image| image.servers.iter().any(is_apart));
    let mut present =
        wanted.clone().filter(|image| matches!(image.there, Seen::Found(Presence::Present { .. })));
    let Some(image) = present.next() else {
        return Seen::NotApplicable(if wanted.count() == 0 {
            "no configured server has `isolation = \"gvisor\"`".to_owned()
        } else {
            "the daemon has no image of a server with `isolation = \"gvisor\"`".to_owned()
        });
    };
    let Some(spec) = probes::spec(&image.name, Network::None, Isolation::Gvisor) else {
        return Seen::NotApplicable(format!("`{}` cannot be named", image.name));
    };
    let lease = async {
        let wire = Wire::connect(daemon.endpoint()).await?;
        Lease::create(daemon, wire, &probes::declared(daemon, spec).await?).await
    };
    let lease = match lease.await {
        Ok(lease) => lease,
        Err(error) => return failed(error),
    };
    let inside = InContainer::new(daemon, lease.container()).inside().with_patience(asked.patience);
    let said = inside.ask(&["kernel"]).await;
    drop(lease);
    let daemons = soon(daemon, daemon.version()).await.map(|version| version.kernel).unwrap_or_default();
    match said {
        Ok(said) => Seen::Found(Kernel {
            image: image.name.clone(),
            daemons,
            version: said["version"].as_str().unwrap_or_default().to_owned(),
            says_gvisor: said["says_gvisor"] == true,
        }),
        Err(why) => Seen::failed(why, "berth validate"),
    }
}

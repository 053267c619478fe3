//! The settings of what a server's container may use.

use crate::config::network;
use crate::config::settings::definition::DefaultValue::{Value as Is, Words};
use crate::config::settings::definition::Setting;
use crate::config::settings::definition::Takes::{Many, One};
use crate::values::{Backend, Capability, Cpus, Isolation, Memory, Pids, Pull, User};

/// A heading of `berth run --help`.
const CONTAINER: &str = "Container";

/// What its container may use.
pub(super) fn container() -> Vec<Setting> {
    vec![
        Setting::one::<Backend>(
            "backend",
            Is("\"docker\""),
            "where the server runs: `docker` (a container of berth's daemon) or `kubernetes` (a pod of the cluster that [kubernetes] names)",
            |settings, backend| settings.backend = backend,
        )
        .option("backend", One("KIND"), CONTAINER)
        .help("`docker` (a container of berth's daemon) or `kubernetes` (a pod of a cluster)"),
        Setting::one::<Isolation>(
            "isolation",
            Is("\"container\""),
            "`container` (the daemon's kernel is shared) or `gvisor` (a kernel of its own); see [isolation](isolation.md)",
            |settings, isolation| settings.isolation = isolation,
        )
        .option("isolation", One("KIND"), CONTAINER)
        .help("`container` (the daemon's kernel is shared) or `gvisor` (a kernel of its own)"),
        network::setting(CONTAINER),
        Setting::one::<Memory>(
            "memory",
            Is("\"512m\""),
            "memory limit, such as 512m; there is no swap",
            |settings, memory| {
                settings.memory = memory.bytes();
            },
        )
        .option("memory", One("SIZE"), CONTAINER),
        Setting::one::<Cpus>("cpus", Is("1"), "processors' worth of time, such as 0.5", |settings, cpus| {
            settings.nano_cpus = cpus.nanos();
        })
        .option("cpus", One("CPUS"), CONTAINER),
        Setting::one::<Pids>("pids", Is("256"), "most processes and threads", |settings, pids| {
            settings.pids = pids.count();
        })
        .option("pids", One("N"), CONTAINER),
        Setting::one::<User>(
            "user",
            Words("the image's"),
            "user (and group) of the server, such as 1000:1000; `caller` is whoever runs `berth`; see [files](files.md)",
            |settings, user| settings.user = Some(user.into_inner()),
        )
        .option("user", One("USER"), CONTAINER),
        Setting::list::<Capability>(
            "cap_add",
            Words("none"),
            "capabilities to keep; all others are dropped",
            |settings, added| {
                settings.cap_add = added.into_iter().map(Capability::into_inner).collect();
            },
        )
        .option("cap-add", Many("CAPABILITY"), CONTAINER)
        .help("a capability to keep, such as `NET_BIND_SERVICE`; all others are dropped"),
        Setting::one::<bool>(
            "no_new_privileges",
            Is("true"),
            "whether the server can never gain privileges",
            |settings, never| {
                settings.no_new_privileges = never;
            },
        ),
        crate::config::verify::setting(),
        Setting::one::<Pull>(
            "pull",
            Is("\"missing\""),
            "when a registry is asked for `image`: `missing`, or `always` for each `berth up` and behind a session's start; see \
             [packages](packages.md)",
            |settings, pull| settings.pull = pull,
        ),
    ]
}

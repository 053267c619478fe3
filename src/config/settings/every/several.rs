//! The settings of what a client is told of a server before it runs, and of when it runs.

use super::SESSION;
use crate::config::settings::definition::DefaultValue::{Value as Is, Words};
use crate::config::settings::definition::Setting;
use crate::config::settings::definition::Takes::One;
use crate::values::{Definitions, Start, Timeout};

/// What matters most where several servers share one session.
pub(super) fn several() -> Vec<Setting> {
    vec![
        Setting::one::<Start>(
            "start",
            Words("`first-call` in a profile, else `session`"),
            "when the server starts: with its `session`, or at the `first-call` that needs it; see [profiles](profiles.md)",
            |settings, start| settings.start = Some(start),
        )
        .option("start", One("WHEN"), SESSION)
        .help("when the server starts: `session` (the default of a single server) or `first-call` (that of several)"),
        Setting::one::<bool>(
            "flatten_pages",
            Is("false"),
            "whether a single server's lists come in one page, as those of a profile do; Codex reads no second page",
            |settings, flatten| settings.flatten_pages = flatten,
        ),
        Setting::one::<Timeout>(
            "idle",
            Words("none"),
            "how long a server may have nothing to do before it gives its container back; needs `stateless`",
            |settings, time| settings.idle = Some(time.duration()),
        ),
        Setting::one::<bool>(
            "stateless",
            Is("false"),
            "whether the server keeps nothing between two calls, so that another container may answer the next",
            |settings, stateless| settings.stateless = stateless,
        ),
        Setting::one::<Definitions>(
            "definitions",
            Is("\"warn\""),
            "the reaction to a tool that is described otherwise than before: `warn`, `hold` refuses its calls until \
             `berth tools --accept`, `varying` expects it",
            |settings, definitions| settings.definitions = definitions,
        ),
    ]
}

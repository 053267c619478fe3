//! The settings of a session: its times, its bytes, and what happens when something goes wrong.

use super::SESSION;
use crate::config::settings::definition::DefaultValue::{Value as Is, Words};
use crate::config::settings::definition::Setting;
use crate::config::settings::definition::Takes::One;
use crate::values::{BrokenAnswers, Journaling, LineLimit, OnFailure, Reconnect, Span, Timeout, Way};

/// How long things may take, and what happens when they go wrong.
pub(super) fn session() -> Vec<Setting> {
    vec![
        Setting::one::<LineLimit>(
            "max_line",
            Is("\"16m\""),
            "longest message of either direction",
            |settings, limit| {
                settings.max_line = limit.bytes();
            },
        )
        .option("max-line", One("SIZE"), SESSION),
        Setting::one::<Span>(
            "stop_grace",
            Is("\"3s\""),
            "from the end of the client's input to `SIGKILL`",
            |settings, grace| {
                settings.stop_grace = grace.duration();
            },
        )
        .option("stop-grace", One("TIME"), SESSION),
        Setting::one::<Timeout>(
            "connect_timeout",
            Is("\"10s\""),
            "how long a connection to the daemon may take, and a failed start be tried again",
            |settings, time| {
                settings.connect_timeout = time.duration();
            },
        ),
        Setting::one::<Timeout>(
            "start_timeout",
            Is("\"30s\""),
            "how long the container and the server's process may take",
            |settings, time| settings.start_timeout = time.duration(),
        ),
        Setting::one::<Timeout>(
            "name_timeout",
            Is("\"150ms\""),
            "how long the client's first message is waited for, which names the client; a server with a volume for each client waits on",
            |settings, time| settings.name_timeout = time.duration(),
        ),
        Setting::one::<Timeout>(
            "answer_timeout",
            Is("\"2m\""),
            "how long a new server may take to answer its first request; a notification is not an answer",
            |settings, time| settings.answer_timeout = time.duration(),
        ),
        Setting::one::<Timeout>(
            "call_timeout",
            Words("none"),
            "how long a server may take for each answer; then the client gets an error, and the server `notifications/cancelled`",
            |settings, time| settings.call_timeout = Some(time.duration()),
        ),
        Setting::one::<BrokenAnswers>(
            "broken_answers",
            Is("\"repair\""),
            "`repair` replaces ill-formed UTF-8, `NaN` and `Infinity` in a server's message; `refuse` answers with an error",
            |settings, reaction| settings.broken_answers = reaction,
        ),
        Setting::one::<Way>(
            "streams",
            Is("\"auto\""),
            "the way of the server's bytes: `direct` by pipes, `exec` through the daemon, `auto` by pipes where they can be had",
            |settings, way| settings.streams = way,
        )
        .option("streams", One("WAY"), SESSION),
        Setting::one::<OnFailure>(
            "on_failure",
            Is("\"restart\""),
            "the reaction to a server that is lost in the middle of a session: `restart` or `exit`",
            |settings, reaction| settings.on_failure = reaction,
        )
        .option("on-failure", One("WHAT"), SESSION),
        Setting::one::<Reconnect>(
            "reconnect",
            Is("\"15s\""),
            "how long a cut to a cluster may last, from `5s` to `1h`: the server goes on for so long without its session",
            |settings, time| settings.reconnect = time.duration(),
        ),
        Setting::one::<Timeout>(
            "recover_within",
            Is("\"1m\""),
            "how long berth tries for a new server; five losses in a minute end the session in any case",
            |settings, time| settings.recover_within = time.duration(),
        ),
        Setting::one::<Journaling>(
            "journal",
            Is("\"calls\""),
            "what sessions leave for `berth logs` and `berth calls`: `true` leaves events alone, `false` nothing; `BERTH_JOURNAL=off` does, too",
            |settings, journal| settings.journal = journal,
        ),
        Setting::one::<bool>(
            "trace_context",
            Is("false"),
            "whether berth writes `traceparent` into each request's `params._meta`, as a span of the client's trace or of a new one; see [sessions](sessions.md)",
            |settings, writes| settings.trace_context = writes,
        ),
    ]
}

//! Programs that packages call and no image of berth's has: said at the import, since a server says it at its first use only.

use super::known::names_any;
use crate::runner::Parsed;

/// Words of packages' names, and the program that such a package may call.
const PROGRAMS: [(&[&str], &str); 5] = [
    (&["azure", "azmcp", "ado"], "az"),
    (&["kubernetes", "kubectl", "k8s"], "kubectl"),
    (&["helm"], "helm"),
    (&["gcloud"], "gcloud"),
    (&["ffmpeg"], "ffmpeg"),
];

/// Engines, whose servers want their sockets.
const ENGINES: [&str; 3] = ["docker", "podman", "portainer"];

/// Says what a package of this name may lack.
pub(super) fn tell(parsed: &mut Parsed) {
    let called = PROGRAMS.iter().filter(|(words, _)| names_any(parsed, words));
    let mut notes: Vec<String> = called
        .map(|(_, program)| {
            format!(
                "a package of this name may call `{program}`, which no image of berth's has; where it does, build an image from \
                 [bake]'s with `{program}` in it, and write `base = \"IMAGE\"` into its [servers.NAME]"
            )
        })
        .collect();
    if names_any(parsed, &ENGINES) {
        notes.push(
            "a package of this name may need an engine's program and socket, and berth gives no server an engine; leave the entry \
             as it is where it does"
                .to_owned(),
        );
    }
    parsed.notes.extend(notes);
}

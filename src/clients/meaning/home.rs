//! Log-ins that lie in the home folder. Nobody's line names them, so they are named, and mounted where that was asked for.

use super::known::{Known, families};
use super::memory::home_of;
use crate::clients::Machine;
use crate::runner::{Parsed, Program};

/// Mounts the log-ins that the package lives on, read-only at the server's HOME; or says how.
pub(super) fn offer(parsed: &mut Parsed, machine: &Machine<'_>, known: &Known) {
    // A package's image has its home there, whoever its user is.
    let (Program::Package(_), Some(home)) = (&parsed.program, machine.home()) else { return };
    let at = home_of(parsed);
    for folder in known.logins.iter().filter(|folder| !machine.is_folder(&home.join(folder))) {
        parsed.notes.push(format!(
            "it looks for its log-in in `~/{folder}`, which is not there; log in without berth first, then write \
             `mounts = [\"~/{folder}:{at}/{folder}\"]` into its [servers.NAME]"
        ));
    }
    let logins = families(parsed).flat_map(|family| family.logins).chain(known.logins);
    let there: Vec<&str> = logins.copied().filter(|folder| machine.is_folder(&home.join(folder))).collect();
    let how = if machine.asked.foreign {
        ": this entry comes from a project's file"
    } else {
        " (`berth import --credentials` writes it)"
    };
    for folder in there {
        let source = format!("~/{folder}");
        if parsed.mounts.iter().any(|mount| mount.contains(&format!("/{folder}"))) {
            continue;
        }
        let line = format!("{source}:{at}/{folder}");
        // A project's file may name any package.
        if machine.asked.credentials && !machine.asked.foreign {
            parsed.notes.push(format!("the log-in in `{source}` is mounted read-only at the server's HOME"));
            parsed.mounts.push(line);
        } else {
            parsed.notes.push(format!(
                "a package of this name lives on the log-in in `{source}`, which it does not see; if it is to have that, write \
                 `mounts = [\"{line}\"]` into its [servers.NAME]{how}"
            ));
        }
    }
}

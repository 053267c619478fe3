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

/// Words of packages that work on what only this machine has: its screen, its programs, what is plugged into it.
const DESKTOP: [&str; 16] = [
    "adb",
    "android",
    "apple",
    "applescript",
    "bluetooth",
    "clipboard",
    "ios",
    "iterm",
    "macos",
    "mobile",
    "pyautogui",
    "screenshot",
    "serial",
    "simulator",
    "windows",
    "xcodebuildmcp",
];

/// Words of packages that run any command.
const SHELLS: [&str; 7] = ["bash", "commands", "powershell", "runner", "shell", "terminal", "tmux"];

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
    if names_any(parsed, &DESKTOP) {
        notes.push(
            "a package of this name may work on this machine's own screen, programs or devices, and a container has none of them; \
             leave the entry as it is where it does"
                .to_owned(),
        );
    }
    if names_any(parsed, &SHELLS) {
        notes.push(
            "a package of this name may run commands: they run in its container, with its programs, and see of this machine only \
             what `mounts` in its [servers.NAME] names"
                .to_owned(),
        );
    }
    parsed.notes.extend(notes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::parse;

    fn told(line: &str) -> String {
        let mut parsed = parse(&shlex::split(line).unwrap()).unwrap();
        let before = parsed.notes.len();
        tell(&mut parsed);
        parsed.notes.split_off(before).join(" ")
    }

    #[test]
    fn what_lives_on_the_machine_itself_is_told_by_its_name() {
        for line in ["npx -y iterm-mcp", "uvx mcp-clipboard", "npx -y @a/mobile-mcp@latest"] {
            assert!(told(line).contains("own screen, programs or devices"), "{line}");
        }
        for line in ["npx -y mcp-server-commands", "npx mcp-shell"] {
            assert!(told(line).contains("run in its container"), "{line}");
        }
        for line in ["npx -y tavily-mcp", "uvx mcp-server-time", "docker run -i --rm mcp/terminal"] {
            assert_eq!(told(line), "", "{line}");
        }
    }
}

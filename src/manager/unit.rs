//! `berth manager unit`: how systemd runs the manager for a user, with the paths of this installation.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use mcp_berth::cli::UnitKind;
use mcp_berth::config::Manager;
use mcp_berth::failure::{Code, Failure};

/// What the units are called.
const NAME: &str = "berth-manager";

/// Where berth's files are. A user's manager of services need not have what a shell has.
const VARIABLES: [&str; 3] = ["BERTH_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"];

/// Prints both units, each under its file's name, or one of them.
pub(crate) fn run(
    which: Option<UnitKind>,
    config: &Manager,
    file: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe()?;
    let file = file.map(std::path::absolute).transpose()?;
    let mut words = vec![text(&program)?, "run"];
    if let Some(file) = &file {
        words.extend(["--config", text(file)?]);
    }
    let set = VARIABLES.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?)));
    let set: Vec<_> = set.filter(|(_, value)| !value.is_empty()).collect();
    let service = service(&words, &set);
    let socket = socket(config);
    let text = match which {
        Some(UnitKind::Service) => service,
        Some(UnitKind::Socket) => socket,
        None => format!("# {NAME}.service\n{service}\n# {NAME}.socket\n{socket}"),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| Failure {
        code: Code::Configuration,
        text: format!("`{}` is no UTF-8, which a unit has to be", path.display()),
        next: Some("install berth elsewhere".to_owned()),
    })
}

fn service(words: &[&str], variables: &[(&str, String)]) -> String {
    // In the program's path a `$` means itself.
    let [program, arguments @ ..] = words else { return String::new() };
    let arguments = arguments.iter().map(|word| quoted(&word.replace('$', "$$")));
    let command: Vec<String> = std::iter::once(quoted(program)).chain(arguments).collect();
    let variables: Vec<String> =
        variables.iter().map(|(name, value)| quoted(&format!("{name}={value}"))).collect();
    // Several in one line; an empty one sets nothing.
    let variables = variables.join(" ");
    format!(
        "[Unit]\n\
         Description=berth: API, metrics and page of this user's MCP sessions\n\
         Requires={NAME}.socket\n\
         After={NAME}.socket\n\
         \n\
         [Service]\n\
         Type=exec\n\
         Environment={variables}\n\
         ExecStart={}\n\
         Restart=on-failure\n\
         RestartPreventExitStatus=64 78\n\
         TimeoutStopSec=10\n\
         NoNewPrivileges=yes\n\
         UMask=0077\n\
         \n\
         [Install]\n\
         WantedBy=default.target\n\
         Also={NAME}.socket\n",
        command.join(" ")
    )
}

fn socket(config: &Manager) -> String {
    let Manager { api, monitor, .. } = config;
    format!(
        "[Unit]\n\
         Description=berth: the sockets of {NAME}.service\n\
         \n\
         [Socket]\n\
         # The API, then the metrics and the page.\n\
         ListenStream={api}\n\
         ListenStream={monitor}\n\
         \n\
         [Install]\n\
         WantedBy=sockets.target\n"
    )
}

/// As systemd.syntax(7) reads it back.
fn quoted(word: &str) -> String {
    let word = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('\n', "\\n");
    format!("\"{word}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_path_has_in_it_systemd_reads_it_back() {
        let unit =
            service(&["/a b/50%/$x\"/berth-manager", "run", "$y"], &[("BERTH_HOME", "/h$o\\me".to_owned())]);
        let line = |start: &str| unit.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
        assert_eq!(line("ExecStart="), r#"ExecStart="/a b/50%%/$x\"/berth-manager" "run" "$$y""#);
        assert_eq!(line("Environment="), r#"Environment="BERTH_HOME=/h$o\\me""#);
        let api = "[::1]:18080".parse().unwrap();
        let socket = socket(&Manager { api, ..Manager::default() });
        assert!(socket.contains("ListenStream=[::1]:18080\nListenStream=127.0.0.1:19090\n"), "{socket}");
    }
}

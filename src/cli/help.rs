//! What `--help` and the manual pages add to the options: examples, defaults, groups, variables, exit codes.
//!
//! One table for all subcommands. The tests parse each example, and compare each default with the real one.

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgMatches, Command, CommandFactory, Error, FromArgMatches};

use super::{Arguments, Subcommands};
use crate::help::{TOPICS, Topic};

/// Below the list of subcommands.
const OVERVIEW: &str = "\
Examples:
  berth up                        # the daemon that holds all sessions
  berth run everything            # what an AI client starts instead of the server itself
  berth run --image mcp/time      # without a configuration
  berth doctor                    # what is wrong, and the command that mends it

Files:
  ~/.config/berth/berth.toml      servers ([servers.NAME]), what they start from ([defaults]), the daemon ([dind])
  ~/.local/share/berth            certificates and the sessions' history

Manual:
  berth help                      # lists its topics, such as `berth help config`

Environment variables:
  BERTH_HOME                      a folder for both instead
  BERTH_LOG                       what is logged to standard error: error, warn (default), info, debug, trace
  BERTH_STALE_AFTER               how long `berth gc` and `berth doctor` leave alone what does not run (20s)
  DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH
                                  the engine that holds the daemon, as the docker CLI has it
  NO_COLOR                        no colours; there are none where the output is no terminal either

Exit codes:
  0   done; of `berth run`: the client has closed
  1   something was examined and did not pass (validate, chaos)
  64  the command line is wrong
  69  the daemon, the image or the server is unavailable
  70  a fault of berth's own
  78  the configuration is wrong
  130 interrupted
  141 nobody reads the output any more";

/// By subcommand.
const EXAMPLES: [(&str, &str); 32] = [
    (
        "up",
        "\
  berth up                        # start or repair; twice changes nothing
  berth --config work.toml up

The first start loads the images that the configuration names; certificates are renewed in their last 30 days.
Exits with 0 if the daemon is up and has all images.",
    ),
    (
        "down",
        "\
  berth down                      # asks first where sessions are active
  berth down --force              # ends them
  berth down --volumes            # and removes the daemon's images",
    ),
    (
        "status",
        "\
  berth status
  berth status --json             # { \"healthy\": true, … }

Exits with 0 only if sessions would work, else with 69. `berth doctor` looks at more.",
    ),
    (
        "env",
        "\
  eval \"$(berth env)\" && docker ps
  berth env",
    ),
    (
        "bake",
        "\
  berth bake                      # all servers with `npx` or `uvx`
  berth bake --pin time           # and write the exact version into the configuration
  berth bake -- npx -y @modelcontextprotocol/server-everything",
    ),
    (
        "run",
        "\
  berth run everything
  berth run --dry-run everything  # what would be created
  berth run --trace everything    # each message and each step of the start, on standard error
  berth run --network none --memory 1g --cpus 0.5 everything
  berth run --image mcp/time -- mcp-server-time --local-timezone UTC
  berth run files git             # two servers in one session: see `berth help profiles`
  berth run --profile work

A client starts it; typed on a terminal it waits for JSON-RPC lines and ends with Ctrl-D. Flags go before the values of
the configuration; a default holds where neither says anything. Sizes take k, m and g (of 1024), times ms, s, m and h.
Exits with 0 when the client has closed, else 64, 69, 70 or 78 (see `berth --help`); the client is told why, too.",
    ),
    (
        "sbom",
        "\
  berth sbom everything > everything.cdx.json

Reads the image in the daemon; asks no registry. The same image gives the same document.",
    ),
    (
        "tools",
        "\
  berth tools                     # of each server, as an entry of its own
  berth tools --profile work      # of a profile's servers behind one entry
  berth tools files git --entry work --json
  berth tools --accept git__status  # its calls were refused, for its definition had changed

Shows what the servers told when they ran last, and starts none. See `berth help profiles`.",
    ),
    (
        "catalogue",
        "\
  berth catalogue                 # what is known of which server
  berth catalogue --refresh git   # asks it again, as Claude Code and as Codex
  berth catalogue --refresh --profile work
  berth catalogue --forget

Exits with 69 if a server did not tell all.",
    ),
    (
        "secret",
        "\
  berth secret set github         # asks for it, and does not show it
  berth secret list
  berth secret remove github

A server gets it by `secrets = { GITHUB_TOKEN = { keyring = \"github\" } }`. See `berth help secrets`.",
    ),
    (
        "volume",
        "\
  berth volume import claude-memory                   # for Claude Code, as `volumes` of a server calls it
  berth volume import notes --from old_notes --shared # for all clients, under another name

`volumes = [\"claude-memory:/data\"]` of a server names it. See `berth help files`.",
    ),
    (
        "ps",
        "\
  berth ps
  berth ps --json
  berth ps --stats                # the CPU of this moment; takes a second

STARTED AS is the client's session by the id that it had when it started the server; see `berth help identity`. Memory
is what the container uses without its file cache. CPU is in percent of one processor, since the container's start.
IDLE is the time since the last request, where the session's history tells it. STREAMS is the way of the server's bytes: `direct` by pipes, `exec` through the daemon. See `berth help sessions`.",
    ),
    (
        "kill",
        "\
  berth kill mcp-claude-code-1    # by the container's name
  berth kill 0a1b2c3d4e5f         # by the session's id; `berth ps` shows both
  berth kill .                    # all sessions of the project in this folder
  berth kill --yes 4711           # all that the process 4711 has started
  berth kill --idle 8h            # all that have had no request for so long

More than one session is listed, and ended only after a yes.",
    ),
    (
        "logs",
        "\
  berth logs                      # recent sessions
  berth logs last                 # the newest one's start, words and end
  berth logs --follow last",
    ),
    (
        "sessions",
        "\
  berth sessions                  # the newest 20
  berth sessions --client codex --since 2h
  berth sessions --json",
    ),
    (
        "calls",
        "\
  berth calls                     # the last 20 requests of all sessions
  berth calls --slow --since 1h
  berth calls --errors last       # of the newest session

An outcome is `ok`, `tool_error`, `error` with its code, `timeout`, `cancelled` or `lost`.",
    ),
    (
        "manager",
        "\
  berth manager                   # in the foreground
  berth manager open              # a link to the page, for one browser
  berth manager unit socket       # for systemd",
    ),
    (
        "kubernetes",
        "\
  berth kubernetes up             # namespace, roles, limits, network policies; twice changes nothing
  berth kubernetes doctor         # shows from pods whether the policies hold",
    ),
    (
        "audit",
        "\
  berth audit                     # the last 50 events
  berth audit --since 2h --json",
    ),
    (
        "trace",
        "\
  berth run --trace=session.jsonl everything
  berth trace session.jsonl       # where the time went, what was slow, what was not answered",
    ),
    (
        "gc",
        "\
  berth gc

Removes containers that were created and have not run for 20 seconds (BERTH_STALE_AFTER). Exits with 0, whether it found some or not.",
    ),
    (
        "doctor",
        "\
  berth doctor
  berth doctor --quick            # only look, make no container: a tenth of a second
  berth doctor --json             # { \"healthy\": true, \"lines\": [{ \"name\", \"state\", \"fact\", \"next\" }] }

Each line is ok, a warning, a failure, or not applicable, with what mends it. Changes nothing.
Exits with 0 if nothing has failed (there may be warnings), with 69 if something has, with 78 if it is the configuration.",
    ),
    (
        "validate",
        "\
  berth validate
  berth validate --clients 8 --calls 20 --server everything
  berth validate --report out     # out/validation.json and out/validation.md

Exits with 0 if all checks pass, with 1 if one fails, with 69 if there is no daemon.",
    ),
    (
        "chaos",
        "\
  berth chaos                     # a minute of faults, on a daemon of its own
  berth chaos --minutes 10 --sessions 16 --seed 7
  berth chaos --faults 20 --json

Exits with 0 if no call was lost, crossed or executed twice and nothing is left, else with 1.",
    ),
    (
        "install",
        "\
  berth install claude-code everything
  berth install claude-code --scope project time files
  berth install claude-code --profile work    # one entry for the profile's servers
  berth install codex everything",
    ),
    (
        "uninstall",
        "\
  berth uninstall codex everything
  berth uninstall --all --dry-run  # everything of berth's on this machine",
    ),
    (
        "backup",
        "\
  berth backup berth.tar.zst
  berth backup berth.tar.zst --only memory --with-certs
  berth backup berth.tar.zst --with-secrets --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
    ),
    (
        "restore",
        "\
  berth restore berth.tar.zst --dry-run
  berth restore berth.tar.zst --identity key.txt",
    ),
    (
        "import",
        "\
  berth import claude-code --dry-run
  berth import codex",
    ),
    (
        "help",
        "\
  berth help                      # all commands and topics
  berth help config               # a topic of the manual
  berth help run                  # a command: the same as `berth run --help`

On a terminal $PAGER shows it, or `less -R`, or `more`; otherwise it is plain Markdown.",
    ),
    (
        "completions",
        "\
  berth completions fish > ~/.config/fish/completions/berth.fish
  berth completions zsh > ~/.zfunc/_berth
  source <(berth completions bash)    # in ~/.bashrc; so new servers' names are completed in the next shell
  berth completions elvish
  berth completions powershell",
    ),
    (
        "man",
        "\
  berth man | man -l -
  berth man ~/.local/share/man/man1

Writes berth(1) and a page for each command. The topics' pages, such as berth-config(7), go into the folder `man7` beside it.",
    ),
];

/// A heading over options of `berth run` that are no settings.
const TRACE: (&str, [&str; 2]) = ("Trace", ["trace", "trace_bodies"]);

/// The command line with all that is said of it.
pub fn command() -> Command {
    let mut command = Arguments::command().after_help(OVERVIEW);
    for (name, text) in EXAMPLES {
        if command.find_subcommand(name).is_some() {
            command = command.mut_subcommand(name, |sub| sub.after_help(format!("Examples:\n  {text}")));
        }
    }
    let names = PossibleValuesParser::new(topics(&command));
    // All at once: an argument that is changed alone would go behind the others, and positions are counted.
    command
        .mut_subcommand("run", |run| run.mut_args(explain))
        .mut_subcommand("help", |help| help.mut_arg("topic", |topic| topic.value_parser(names)))
}

/// What `berth help` takes: each topic, and each command that is not a topic's name as well.
fn topics(command: &Command) -> Vec<PossibleValue> {
    let topics = TOPICS.iter().map(|topic| PossibleValue::new(topic.name).help(topic.about()));
    let commands = command.get_subcommands().filter(|sub| Topic::find(sub.get_name()).is_none());
    let commands = commands.map(|sub| {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        PossibleValue::new(sub.get_name().to_owned()).help(about)
    });
    topics.chain(commands).collect()
}

/// Puts an option of `berth run` that is no setting under its heading.
fn explain(arg: Arg) -> Arg {
    let (heading, names) = TRACE;
    if names.contains(&arg.get_id().as_str()) { arg.help_heading(heading) } else { arg }
}

/// Parses the process's arguments.
///
/// # Errors
/// Where they are refused, or ask for the help or the version, which is the error's text then.
pub fn parse() -> Result<Arguments, Error> {
    let matches: ArgMatches = command().try_get_matches()?;
    let arguments = Arguments::from_arg_matches(&matches)?;
    if let Subcommands::Run(args) = &arguments.command {
        args.check()?;
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    /// The lines of a text that begin with `berth`, without their comments.
    fn lines(text: &str) -> impl Iterator<Item = &str> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("  berth "));
        lines.map(|line| line.split(['#', '|', '>']).next().unwrap_or_default().trim())
    }

    #[test]
    fn each_subcommand_has_an_example_and_each_example_is_understood() {
        let command = command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            let text = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            let name = sub.get_name();
            assert!(text.starts_with("Examples:\n"), "`berth {name} --help` has no example");
            assert!(lines(&text).any(|line| line.contains(name)), "none of the examples is of {name}");
            for line in lines(&text) {
                let words = ["berth"].into_iter().chain(line.split_whitespace());
                assert!(Arguments::try_parse_from(words).is_ok(), "`berth {line}` is refused");
            }
        }
        for line in lines(OVERVIEW) {
            assert!(Arguments::try_parse_from(["berth"].into_iter().chain(line.split_whitespace())).is_ok());
        }
    }

    #[test]
    fn every_option_says_what_it_is_and_those_of_run_stand_in_groups() {
        let mut command = command();
        command.build();
        for sub in command.get_subcommands() {
            for arg in sub.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", sub.get_name(), arg.get_id());
            }
        }
        let run = command.find_subcommand_mut("run").unwrap().render_help().to_string();
        for part in ["Container:", "Session:", "Variables:", "Files:", "Trace:", "[default: 512m]"] {
            assert!(run.contains(part), "{part} in {run}");
        }
    }
}

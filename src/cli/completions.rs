//! What a shell needs to complete berth's command lines.

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, Command};
use clap_complete::Shell;

use super::help;

/// `servers`, `profiles`: the names that are completed where one of a server or of a profile is meant.
pub fn script(shell: Shell, servers: &[String], profiles: &[String]) -> Vec<u8> {
    let mut command = help::command();
    for (ids, names) in [(&["server", "servers"][..], servers), (&["profile"], profiles)] {
        if names.is_empty() {
            continue;
        }
        let names = PossibleValuesParser::new(names.to_vec());
        // All at once: an argument that is changed alone would go behind the others, and positions are counted.
        command = command.mut_subcommands(|sub| {
            sub.mut_args(|arg| {
                if ids.contains(&arg.get_id().as_str()) { arg.value_parser(names.clone()) } else { arg }
            })
        });
    }
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "berth", &mut script);
    if shell == Shell::Fish {
        script.extend(command.get_subcommands().flat_map(positionals_of_fish).flat_map(String::into_bytes));
    }
    script
}

/// The generator for fish completes options alone: the words that a subcommand itself takes are told here.
fn positionals_of_fish(sub: &Command) -> Vec<String> {
    let quoted = |text: String| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let line = |value: PossibleValue| {
        let name = value.get_name().to_owned();
        let about = value.get_help().map(ToString::to_string).unwrap_or_default();
        let condition = format!("__fish_berth_using_subcommand {}", sub.get_name());
        let [condition, name, about] = [condition, name, about].map(quoted);
        format!("complete -c berth -n {condition} -f -a {name} -d {about}\n")
    };
    sub.get_positionals().flat_map(Arg::get_possible_values).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn each_shell_learns_subcommands_options_and_servers() {
        let subcommands: Vec<String> =
            help::command().get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        for shell in Shell::value_variants() {
            let (servers, profiles) = (["my-server".to_owned()], ["my-profile".to_owned()]);
            let text = String::from_utf8(script(*shell, &servers, &profiles)).unwrap();
            for word in subcommands.iter().map(String::as_str).chain(["dry-run"]) {
                assert!(text.contains(word), "{shell}: {word}");
            }
            // The generators of these two complete no values of a positional argument.
            if !matches!(shell, Shell::Elvish | Shell::PowerShell) {
                assert!(text.contains("my-server"), "{shell} completes no servers");
                assert!(text.contains("my-profile"), "{shell} completes no profiles");
                assert!(text.contains("identity"), "{shell} completes no topics");
            }
        }
    }

    #[test]
    fn fish_completes_the_words_of_a_subcommand() {
        let text = String::from_utf8(script(Shell::Fish, &["my-server".to_owned()], &[])).unwrap();
        assert!(text.contains("\nfunction __fish_berth_using_subcommand\n"), "{text}");
        for (sub, word) in [("help", "identity"), ("help", "run"), ("run", "my-server"), ("install", "codex")]
        {
            let line =
                format!("\ncomplete -c berth -n '__fish_berth_using_subcommand {sub}' -f -a '{word}' -d '");
            assert!(text.contains(&line), "{line} in {text}");
        }
        assert!(text.contains("-a 'clients' -d 'Claude Code, Codex"), "a topic is described");
    }

    #[test]
    fn without_a_configuration_there_are_no_names_and_no_fault() {
        for shell in Shell::value_variants() {
            assert!(!script(*shell, &[], &[]).is_empty());
        }
    }
}

//! Long texts: a pager shows them on a terminal. A file or a pipe gets them unchanged.

use std::fs::File;
use std::io::{self, IsTerminal, Seek, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What is tried where `$PAGER` names nothing.
const PAGERS: [&[&str]; 2] = [&["less", "-R"], &["more"]];

/// Shows `text` on standard output. `chosen` is `$PAGER`.
///
/// The pager takes this process's place. As its parent berth would end by Ctrl-C, and leave pager and shell reading one
/// terminal. So this returns only where no pager has shown the text.
///
/// # Errors
/// Standard output takes nothing.
pub fn show(text: &str, chosen: Option<&str>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if out.is_terminal()
        && let Ok(file) = file_of(text)
    {
        for mut pager in pagers(chosen) {
            let Ok(input) = file.try_clone() else { break };
            let error = pager.stdin(input).exec();
            tracing::debug!(%error, ?pager, "the pager could not be started");
        }
    }
    out.write_all(text.as_bytes())
}

/// An open file without a name, to be read from its beginning.
fn file_of(text: &str) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// In the order in which they are tried. `$PAGER` is a line for the shell, as `man` and `git` have it.
fn pagers(chosen: Option<&str>) -> Vec<Command> {
    if let Some(line) = chosen.map(str::trim).filter(|line| !line.is_empty()) {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]);
        return vec![shell];
    }
    let command = |words: &&[&str]| {
        let (program, args) = words.split_first()?;
        let mut command = Command::new(program);
        command.args(args);
        Some(command)
    };
    PAGERS.iter().filter_map(command).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn lines(chosen: Option<&str>) -> Vec<String> {
        let words = |command: &Command| {
            let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
            std::iter::once(command.get_program().to_string_lossy().into_owned())
                .chain(args)
                .collect::<Vec<_>>()
        };
        pagers(chosen).iter().map(|command| words(command).join(" ")).collect()
    }

    #[test]
    fn a_chosen_pager_is_a_line_for_the_shell_and_an_empty_line_is_no_choice() {
        assert_eq!(lines(Some("most -s")), ["sh -c most -s"]);
        assert_eq!(lines(Some(" ")), ["less -R", "more"]);
        assert_eq!(lines(None), ["less -R", "more"]);
    }

    #[test]
    fn a_pager_reads_the_text_from_its_beginning() {
        let mut read = String::new();
        file_of("a\nb\n").unwrap().read_to_string(&mut read).unwrap();
        assert_eq!(read, "a\nb\n");
    }
}

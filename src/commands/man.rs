//! `berth man`: the manual, as pages for `man`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap_mangen::Man;

use crate::cli::{ManArgs, help};
use crate::help::TOPICS;

pub fn run(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let Some(folder) = &args.folder else {
        let mut page = Vec::new();
        Man::new(help::command()).render(&mut page)?;
        out.write_all(&page)?;
        return Ok(ExitCode::SUCCESS);
    };
    let topics = folder_of_topics(folder);
    let written = || {
        std::fs::create_dir_all(folder)?;
        std::fs::create_dir_all(&topics)?;
        for topic in TOPICS {
            std::fs::write(topics.join(topic.file_name()), topic.page())?;
        }
        clap_mangen::generate_to(help::command(), folder)
    };
    written().with_context(|| format!("cannot write the manual into `{}`", folder.display()))?;
    let commands = 1 + help::command().get_subcommands().count();
    writeln!(
        out,
        "wrote {commands} pages into {}, {} into {}",
        folder.display(),
        TOPICS.len(),
        topics.display()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// `man` looks for a page of section 7 in a folder `man7` only: beside a `man1` is where it belongs.
fn folder_of_topics(folder: &Path) -> PathBuf {
    if folder.file_name().is_some_and(|name| name == "man1") {
        folder.with_file_name("man7")
    } else {
        folder.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_stand_in_the_folder_of_their_section_where_there_are_sections() {
        assert_eq!(folder_of_topics(Path::new("man/man1/")), Path::new("man/man7"));
        assert_eq!(folder_of_topics(Path::new("pages")), Path::new("pages"));
    }
}

//! Folders and files of this machine in an entry's arguments and variables: mounted at the same place, or told.

mod wish;

use std::path::{Path, PathBuf};

use super::fit;
use super::known::{Known, Memory};
use super::project;
use super::stated::Stated;
use super::words::{Begin, is_path_name, named, pieces};
use crate::clients::{Entry, Machine};
use crate::runner::{Parsed, Program, template};
use crate::values::looks_secret;
use wish::{Wish, above, quoted};

/// Whose a path is that stands under no name.
const ARGUMENTS: &str = "its arguments";

struct Files<'a> {
    machine: &'a Machine<'a>,
    /// The package writes wherever it is let.
    writes: bool,
    /// The folder that it starts in, where its entry names one.
    cwd: Option<PathBuf>,
    /// The variable that names what it remembers, and whether berth finds another place for that.
    memory: Option<&'static str>,
    moved: bool,
    /// What is mounted already.
    mounted: Vec<PathBuf>,
    wishes: Vec<Wish>,
    /// Whose path lies where the client starts it, and whether it is written.
    project: Option<(String, bool)>,
    notes: Vec<String>,
}

/// Whether there are any that the entry names.
pub(super) fn carry_over(
    parsed: &mut Parsed,
    (entry, stated): (&Entry, &Stated),
    machine: &Machine<'_>,
    known: &Known,
) -> Result<bool, String> {
    let source = |mount: &String| mount.split(':').next().map(PathBuf::from);
    let mut files = Files {
        machine,
        writes: known.writes,
        cwd: None,
        memory: match known.memory {
            Some(Memory::Variable(name, _) | Memory::Folder(name)) => Some(name),
            _ => None,
        },
        moved: false,
        mounted: parsed.mounts.iter().filter_map(source).collect(),
        wishes: Vec::new(),
        project: None,
        notes: Vec::new(),
    };
    if let Some(cwd) = &entry.cwd {
        let path = PathBuf::from(cwd);
        if !path.is_absolute() || !machine.is_folder(&path) {
            return Err(format!(
                "it starts in the folder `{cwd}` (`cwd`), which is not on this machine; write the absolute path of one that is"
            ));
        }
        files.place(cwd, &Begin::Root, "cwd", true)?;
        parsed.set("workdir", cwd.as_str());
        files.cwd = Some(path);
    }
    let args: &mut [String] = match &mut parsed.program {
        Program::Package(package) => &mut package.args,
        Program::Script { args, .. } => args,
        Program::Image { .. } => &mut [],
    };
    let mut flag: Option<String> = None;
    for arg in args {
        let plain = arg.replace("$$", "$");
        if let Some(new) = files.word(&plain, flag.as_deref())? {
            *arg = template(&new);
        }
        flag = (plain.starts_with('-') && named(&plain).is_none()).then_some(plain);
    }
    for (name, value) in &stated.variables {
        if !parsed.has_env(name) {
            continue;
        }
        if let Some(new) = files.word(value, Some(name))? {
            parsed.set_env(name, template(&new));
        }
    }
    if files.moved {
        parsed.env.retain(|(name, _)| Some(name.as_str()) != files.memory);
    }
    Ok(files.finish(parsed))
}

impl Files<'_> {
    /// Sees to the paths of a word. Gives the word as it has to be, if that is another.
    fn word(&mut self, word: &str, name: Option<&str>) -> Result<Option<String>, String> {
        let found = pieces(word, name);
        let own = named(word).map(|(flag, _)| flag);
        let name = name.or(own);
        // What looks like a credential may begin with a slash, and comes out nowhere.
        if name.is_some_and(|name| looks_secret(name) && !is_path_name(name))
            && !self.machine.has(Path::new(word))
        {
            return Ok(None);
        }
        let mut new = word.to_owned();
        // From behind, so that what stands before keeps its place.
        for piece in found.into_iter().rev() {
            let text = &word[piece.at.clone()];
            if let Some(text) =
                self.place(text, &piece.begin, name.unwrap_or(ARGUMENTS), name.is_some_and(is_path_name))?
            {
                new.replace_range(piece.at, &text);
            }
        }
        Ok((new != word).then_some(new))
    }

    /// Sees to one path. Gives the text that means the same in a container, if that is another.
    fn place(
        &mut self,
        text: &str,
        begin: &Begin,
        whose: &str,
        is_path: bool,
    ) -> Result<Option<String>, String> {
        match begin {
            Begin::Root => self.at(text, Path::new(text), template(text), whose, is_path)?,
            Begin::Home(length) => {
                let Some(home) = self.machine.home() else { return Ok(None) };
                let rest = &text[*length..];
                let path = home.join(rest.trim_start_matches('/'));
                let new = format!("${{HOME}}{rest}");
                self.at(text, &path, format!("${{HOME}}{}", template(rest)), whose, true)?;
                if new != text {
                    self.notes.push(format!(
                        "`{text}` is written as `{new}`: without a shell nobody else puts your home there"
                    ));
                    return Ok(Some(new));
                }
            }
            Begin::Here => self.here(text, whose)?,
            Begin::Variable { name, default, length } => {
                let rest = &text[*length..];
                let value = (self.machine.lookup)(name).filter(|value| !value.is_empty()).or(default.clone());
                match value {
                    _ if ["CLAUDE_PROJECT_DIR", "PWD"].contains(&name.as_str()) => {
                        self.here(&format!(".{rest}"), whose)?;
                    }
                    Some(value) if value.starts_with('/') => {
                        self.at(text, Path::new(&format!("{value}{rest}")), template(text), whose, is_path)?;
                    }
                    Some(value) if value == "." || value.starts_with("./") => {
                        self.here(&format!("{value}{rest}"), whose)?;
                    }
                    // Claude Code sets them for what its plugins start.
                    None if name.starts_with("CLAUDE_PLUGIN_") => self.plugin(name, whose),
                    _ => {}
                }
            }
        }
        Ok(None)
    }

    /// A folder of a plugin's, known when Claude Code starts the server.
    fn plugin(&mut self, name: &str, whose: &str) {
        let source = format!("${{{name}}}");
        let writable = name.ends_with("DATA") || fit::is_written(whose);
        self.wishes.push(Wish {
            path: PathBuf::from(&source),
            source,
            writable,
            whose: whose.to_owned(),
            step: Some(format!(
                "`{name}` is known when Claude Code starts the plugin: `share` has to hold its folder"
            )),
        });
    }

    /// A path in the folder in which the client starts the server.
    fn here(&mut self, text: &str, whose: &str) -> Result<(), String> {
        if let Some(cwd) = &self.cwd {
            let path = cwd.join(text.strip_prefix("./").unwrap_or(text).trim_end_matches('.'));
            return self.at(text, &path, template(&path.to_string_lossy()), whose, true);
        }
        if Path::new(text).components().any(|part| part.as_os_str() == "..") {
            self.notes.push(format!(
                "`{text}` lies outside of the folder in which the client starts it, and is not mounted; write its absolute path"
            ));
            return Ok(());
        }
        let path = self.machine.around.folder.join(text);
        let written =
            self.writes || fit::is_written(whose) || fit::is_written_file(&path) || !self.machine.has(&path);
        let before = self.project.take().is_some_and(|(_, written)| written);
        self.project = Some((text.to_owned(), before || written));
        Ok(())
    }

    /// A path of this machine; `text` as it is written, `source` as a template.
    fn at(
        &mut self,
        text: &str,
        path: &Path,
        source: String,
        whose: &str,
        is_path: bool,
    ) -> Result<(), String> {
        let (machine, home) = (self.machine, self.machine.home());
        // Without a slash at its end.
        let path: PathBuf = path.components().collect();
        let source = if source.len() > 1 { source.trim_end_matches('/').to_owned() } else { source };
        let there = machine.has(&path);
        let is_all = path == Path::new("/") && (whose == ARGUMENTS || fit::is_folder_name(whose));
        if fit::is_containers_own(&path) && !is_all {
            self.notes.extend(wish::containers_own(text, &path, is_path, machine));
            return Ok(());
        }
        if !fit::is_plain(&path) {
            if there || is_path {
                self.notes
                    .push(format!("`{text}` is not mounted: its path holds `..`, a `,`, a `:` or a `$`"));
            }
            return Ok(());
        }
        if there && machine.holds_home(&path) {
            return Err(format!(
                "{} `{text}`, which holds your whole home folder, and berth gives that to no server; name the folders that it \
                 is for",
                wish::naming(whose)
            ));
        }
        if machine.asked.foreign
            && let Some(folder) = machine.hidden(&path)
        {
            self.notes.push(format!(
                "`{text}` is not mounted: `~/{folder}` is yours alone, and this entry comes from a project's file; write \
                 `mounts = [\"{source}:{source}\"]` if you trust it"
            ));
            return Ok(());
        }
        let named = fit::is_written(whose) || self.writes;
        if machine.is_folder(&path) {
            self.wish(path, source, named, whose, None);
        } else if machine.is_file(&path) {
            let written = named || fit::is_written_file(&path);
            match above(&path, &source).filter(|_| written) {
                Some((folder, _)) if fit::is_powerful(&folder, home) => self.unfit(&path, &folder, whose)?,
                // Who writes a file writes beside it: a journal, or what then takes its name.
                Some((folder, source)) => self.wish(folder, source, true, whose, None),
                None => self.wish(path, source, false, whose, None),
            }
        } else if there {
            self.notes.push(format!("`{text}` is neither a folder nor a file, and is not mounted"));
        } else {
            self.missing(text, path, source, whose, is_path)?;
        }
        Ok(())
    }

    /// What is not there yet: the server makes it, or nobody does.
    fn missing(
        &mut self,
        text: &str,
        path: PathBuf,
        source: String,
        whose: &str,
        is_path: bool,
    ) -> Result<(), String> {
        let nearest = path.ancestors().find(|folder| self.machine.has(folder));
        if nearest == Some(Path::new("/tmp")) {
            self.notes.push(format!("`{text}` is in the container's own /tmp, and ends with the session"));
            return Ok(());
        }
        let first: PathBuf = path.components().take(2).collect();
        let is_likely = is_path || (path.components().count() > 2 && self.machine.has(&first));
        if !is_likely || self.mounted.iter().any(|folder| path.starts_with(folder)) {
            return Ok(());
        }
        let home = self.machine.home();
        if fit::is_read(whose) && !fit::is_folder_name(whose) {
            self.notes.push(format!("`{text}` is not on this machine, and is not mounted"));
            return Ok(());
        }
        if !fit::is_file_to_be(text, whose) {
            let step = format!("it is not there yet: `mkdir -p {}`", path.display());
            self.wish(path, source, true, whose, Some(step));
            return Ok(());
        }
        match above(&path, &source) {
            Some((folder, source)) if !fit::is_powerful(&folder, home) => {
                let step = (!self.machine.has(&folder))
                    .then(|| format!("it is not there yet: `mkdir -p {}`", folder.display()));
                self.wish(folder, source, true, whose, step);
            }
            Some((folder, _)) => self.unfit(&path, &folder, whose)?,
            None => {}
        }
        Ok(())
    }

    /// A file that is written where no server may write: what a package remembers goes into its volume, if nothing is
    /// there yet.
    fn unfit(&mut self, path: &Path, folder: &Path, whose: &str) -> Result<(), String> {
        let (file, folder) = (path.display(), folder.display());
        if self.memory == Some(whose) && !self.machine.is_file_with_content(path) {
            self.moved = true;
            self.notes.push(format!(
                "`{whose}` is not `{file}` there: no server may write in `{folder}`, which says what runs on this machine"
            ));
            return Ok(());
        }
        Err(format!(
            "{} `{file}`, and no server may write in `{folder}`, which says what runs on this machine; keep the file in a folder \
             of its own, such as `~/mcp`, and name it there",
            wish::naming(whose)
        ))
    }

    fn wish(&mut self, path: PathBuf, source: String, writable: bool, whose: &str, step: Option<String>) {
        let home = self.machine.home();
        let mut writable = writable;
        if writable && !self.machine.is_file(&path) && fit::is_powerful(&path, home) {
            writable = false;
            self.notes.push(format!(
                "`{}` is mounted read-only: who writes there has a hand in what runs on this machine",
                path.display()
            ));
        }
        self.wishes.push(Wish { source, path, writable, whose: whose.to_owned(), step });
    }

    /// Puts into the settings what is left when one mount holds another.
    fn finish(self, parsed: &mut Parsed) -> bool {
        let Self { mut wishes, project, notes, mounted, .. } = self;
        let any = !wishes.is_empty() || project.is_some();
        parsed.notes.extend(notes);
        // The outer ones first, and of one place what is written.
        wishes.sort_by(|a, b| a.path.cmp(&b.path).then(b.writable.cmp(&a.writable)));
        let mut kept: Vec<Wish> = Vec::new();
        for wish in wishes {
            let holds =
                |outer: &Wish| wish.path.starts_with(&outer.path) && (outer.writable || !wish.writable);
            if !kept.iter().any(holds) {
                kept.push(wish);
            }
        }
        for wish in kept {
            let Wish { source, path, writable, whose, step } = wish;
            if mounted.iter().any(|folder| path.starts_with(folder)) && !writable {
                continue;
            }
            parsed.mounts.retain(|mount| *mount != format!("{source}:{source}"));
            let mode = if writable { ":rw" } else { "" };
            parsed.mounts.push(format!("{source}:{source}{mode}"));
            let whose = quoted(&whose);
            let mut note = if writable {
                format!("`{source}` is mounted at its own place, `:rw`, since {whose} may be written")
            } else {
                format!(
                    "`{source}` is mounted at its own place, read-only, for {whose}; write `:rw` behind it if the server is to write"
                )
            };
            if let Some(step) = step {
                note = format!("{note}; {step}");
            }
            parsed.notes.push(note);
        }
        if let Some((text, writable)) = project {
            project::mount(parsed, writable);
            let how = if writable { "`:rw`" } else { "read-only" };
            parsed.notes.push(format!(
                "`{text}` lies where the client starts it: the project is mounted at its own path, {how}, and the server starts there"
            ));
        }
        any
    }
}

#[cfg(test)]
mod tests;

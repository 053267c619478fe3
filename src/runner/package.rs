//! A package of a registry, and the program in it that serves.

use super::names;

/// What installs a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    Npx,
    Uvx,
    /// A project's folder with a `pyproject.toml`, baked from its `uv.lock`.
    Uv,
}

impl Runner {
    /// As it is called, and as its key is.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Npx => "npx",
            Self::Uvx => "uvx",
            Self::Uv => "uv",
        }
    }
}

/// Packages, and what runs of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub runner: Runner,
    /// As they were written, versions included; the main one first, and there is one. Of `uv` the main one is the project's
    /// folder.
    pub packages: Vec<String>,
    /// Which of a project's extras and groups are installed, as flags.
    pub options: Vec<String>,
    /// `None`: the one that the runner chooses.
    pub program: Option<String>,
    /// Python's version.
    pub python: Option<String>,
    /// The server's arguments, as templates.
    pub args: Vec<String>,
}

impl Package {
    /// The main package, as it was written.
    pub fn main(&self) -> &str {
        self.packages.first().map_or("", String::as_str)
    }

    /// The main package without its version.
    pub fn bare(&self) -> &str {
        match self.runner {
            Runner::Npx => names::npm(self.main()),
            Runner::Uvx => names::python(self.main()),
            Runner::Uv => self.main().rsplit('/').next().unwrap_or_default(),
        }
    }

    /// The words behind the runner, as few as can be.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut push = |flag: &str, value: &str| words.extend([flag, value].map(str::to_owned));
        match (self.runner, &self.program) {
            (Runner::Npx, Some(program)) => {
                self.packages.iter().for_each(|package| push("-p", package));
                words.push(program.clone());
            }
            (Runner::Npx, None) => words.push(self.main().to_owned()),
            (Runner::Uv, program) => {
                push("--directory", self.main());
                words.push("run".to_owned());
                let mut push = |flag: &str, value: &str| words.extend([flag, value].map(str::to_owned));
                self.packages.iter().skip(1).for_each(|with| push("--with", with));
                self.python.iter().for_each(|python| push("--python", python));
                words.extend(self.options.iter().cloned());
                words.extend(program.clone());
            }
            (Runner::Uvx, program) => {
                self.packages.iter().skip(1).for_each(|with| push("--with", with));
                self.python.iter().for_each(|python| push("--python", python));
                match program {
                    Some(program) => {
                        push("--from", self.main());
                        words.push(program.clone());
                    }
                    None => words.push(self.main().to_owned()),
                }
            }
        }
        words.extend(self.args.iter().cloned());
        words
    }

    /// The same with an exact version of the main package; `None` where its version is none of a registry's.
    #[must_use]
    pub fn pinned(&self, version: &str) -> Option<Self> {
        let main = self.main();
        if self.runner == Runner::Uv || main.contains("://") || !is_version(version) {
            return None;
        }
        let mut pinned = self.clone();
        pinned.packages[0] = match self.runner {
            Runner::Npx => format!("{}@{version}", self.bare()),
            Runner::Uvx | Runner::Uv => {
                let extras = main.find('[').and_then(|at| Some(&main[at..=at + main[at..].find(']')?]));
                format!("{}{}=={version}", self.bare(), extras.unwrap_or_default())
            }
        };
        Some(pinned)
    }
}

/// Whether a text is one exact version: a package may say anything of itself.
pub fn is_version(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".+!_-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::super::{Program, parse};
    use super::*;

    fn package(line: &str) -> Package {
        match parse(&shlex::split(line).unwrap()).unwrap().program {
            Program::Package(package) => package,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_version_takes_the_place_of_whatever_was_written() {
        let pinned = |line, version| package(line).pinned(version).map(|package| package.words().join(" "));
        assert_eq!(pinned("npx @a/b --x", "1.2.3").unwrap(), "@a/b@1.2.3 --x");
        assert_eq!(pinned("npx -p b@latest tool", "1").unwrap(), "-p b@1 tool");
        assert_eq!(pinned("uvx b@latest -x", "1").unwrap(), "b==1 -x");
        assert_eq!(pinned("uvx --from 'b[cli]>=2' tool", "3").unwrap(), "--from b[cli]==3 tool");
        assert_eq!(pinned("uvx --from git+https://x/y tool", "3"), None);
        assert_eq!(pinned("npx b", "1.0.0-rc.1+a_b").unwrap(), "b@1.0.0-rc.1+a_b");
        for wrong in ["", "latest", "1 --registry=x", "1\n2", "1@2", "1/../x", &"1".repeat(65)] {
            assert_eq!(pinned("npx b", wrong), None, "{wrong}");
        }
    }
}

//! Programs and modules that pip, pipx or uv has installed, and scripts that name their own packages (PEP 723).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Instead, Places, folder_of, text};
use crate::runner::{is_script, is_version};

/// A distribution as it is installed.
struct Distribution {
    name: String,
    version: String,
    about: PathBuf,
}

impl Distribution {
    fn read(about: PathBuf) -> Option<Self> {
        let metadata = text(&about.join("METADATA"))?;
        let field = |name: &str| {
            let head = metadata.lines().take_while(|line| !line.is_empty());
            head.filter_map(|line| line.split_once(": "))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.trim())
        };
        let (name, version) = (field("Name")?.to_owned(), field("Version")?.to_owned());
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        (is_name && is_version(&version)).then_some(Self { name, version, about })
    }

    fn file(&self, name: &str) -> Option<String> {
        text(&self.about.join(name))
    }

    /// Whether it has a program of that name.
    fn has_program(&self, program: &str) -> bool {
        let entries = self.file("entry_points.txt").unwrap_or_default();
        let console = entries.split("[console_scripts]").nth(1).unwrap_or_default();
        let own = console.lines().take_while(|line| !line.starts_with('['));
        own.filter_map(|line| line.split_once('=')).any(|(name, _)| name.trim() == program)
    }

    /// Whether it has a module of that name.
    fn has_module(&self, module: &str) -> bool {
        let (folder, file) = (format!("{module}/"), format!("{module}.py,"));
        let listed =
            self.file("top_level.txt").is_some_and(|names| names.lines().any(|name| name.trim() == module));
        let record = self.file("RECORD").unwrap_or_default();
        listed || record.lines().any(|line| line.starts_with(&folder) || line.starts_with(&file))
    }

    /// The line that runs `program` of it.
    fn line(&self, program: &[&str], args: &[String]) -> Result<Instead, String> {
        let origin: Value = self
            .file("direct_url.json")
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let url = origin["url"].as_str().unwrap_or_default();
        let words = |head: &[&str]| -> Vec<String> {
            head.iter().chain(program).map(|word| (*word).to_owned()).chain(args.iter().cloned()).collect()
        };
        let Self { name, version, .. } = self;
        if let Some(folder) = url.strip_prefix("file://") {
            if Path::new(folder).join("pyproject.toml").is_file() {
                let note = format!("its program is of the project in `{folder}`");
                return Ok(Instead { argv: words(&["uv", "--directory", folder, "run"]), note });
            }
            return Err(format!(
                "its program is of `{name}`, which was installed from `{folder}` on this machine; write `uvx PACKAGE` if it \
                 is on PyPI, or build an image of it"
            ));
        }
        let commit =
            origin["vcs_info"]["commit_id"].as_str().filter(|id| id.chars().all(|c| c.is_ascii_hexdigit()));
        let from = match commit {
            Some(commit) if url.starts_with("https://") => format!("{name} @ git+{url}@{commit}"),
            _ => format!("{name}=={version}"),
        };
        let note = format!(
            "its program is Python's package `{name}` {version}, which runs instead of the one on this machine"
        );
        Ok(Instead { argv: words(&["uvx", "--from", &from]), note })
    }
}

/// The same with `uvx`, at the version that is installed.
pub(super) fn of_program(
    program: &Path,
    args: &[String],
    places: Places<'_>,
) -> Option<Result<Instead, String>> {
    let name = program.file_stem()?.to_str()?;
    let real = program.canonicalize().ok()?;
    let first = text(&real)?.lines().next()?.to_owned();
    // What pip and uv write: a few lines for Python.
    let interpreter = first.strip_prefix("#!")?.trim().trim_matches('"');
    let beside = real.parent().and_then(Path::parent).map(Path::to_owned);
    let by_line = Path::new(interpreter).parent().and_then(Path::parent).map(Path::to_owned);
    if !interpreter.contains("python") && interpreter != "/bin/sh" {
        return None;
    }
    let roots = beside.into_iter().chain(by_line);
    let found = distributions(roots, places).into_iter().find(|one| one.has_program(name))?;
    Some(found.line(&[name], args))
}

/// The module of `python -m MODULE`, and what follows it.
pub(super) fn module<'a>(program: &str, args: &'a [String]) -> Option<(&'a str, &'a [String])> {
    let base = program.rsplit('/').next().unwrap_or(program);
    let at = args.iter().position(|word| !word.starts_with('-') || word == "-m")?;
    let is_module = base.starts_with("python") && args[at] == "-m";
    is_module.then(|| Some((args.get(at + 1)?.as_str(), &args[at + 2..])))?
}

/// The same with the package that has the module.
pub(super) fn of_module(
    interpreter: &Path,
    module: &str,
    args: &[String],
    places: Places<'_>,
) -> Option<Result<Instead, String>> {
    let top = module.split('.').next().unwrap_or(module);
    // Not where its link leads: an environment's own packages lie beside the link.
    let roots = interpreter.parent().and_then(Path::parent).map(Path::to_owned);
    let found = distributions(roots, places).into_iter().find(|one| one.has_module(top))?;
    Some(found.line(&["python", "-m", module], args))
}

/// `.venv/bin/python FILE`: with its project, else with the packages that somebody installed beside that interpreter.
pub(super) fn of_environment(argv: &[String], places: Places<'_>) -> Option<Result<Instead, String>> {
    let (program, rest) = argv.split_first()?;
    let is_python = program.rsplit_once('/').is_some_and(|(_, name)| name.starts_with("python"));
    let interpreter = places.find(program).filter(|_| is_python)?;
    let root = interpreter.parent()?.parent().filter(|root| root.join("pyvenv.cfg").is_file())?;
    let at = rest.iter().position(|word| !word.starts_with('-'))?;
    let (file, behind) = (Path::new(&rest[at]), &rest[at + 1..]);
    // Other flags mean no file, or one that is another's value.
    let is_file = file.is_absolute() && is_script(&rest[at]);
    if !is_file || !rest[..at].iter().all(|flag| ["-u", "-B", "-I", "-s", "-E"].contains(&flag.as_str())) {
        return None;
    }
    let words = |head: &[&str], with: &[String]| -> Vec<String> {
        let head = head.iter().map(|word| (*word).to_owned()).chain(with.iter().cloned());
        head.chain(["python".to_owned(), rest[at].clone()]).chain(behind.iter().cloned()).collect()
    };
    let may_be = |folder: &&Path| places.home.is_none_or(|home| !home.starts_with(folder));
    let mut projects = file.ancestors().skip(1).take_while(may_be).chain(root.parent());
    if let Some(project) = projects.find(|folder| folder.join("pyproject.toml").is_file()) {
        let folder = project.to_str()?;
        let note = format!("its packages are those of the project in `{folder}`, and not of its environment");
        return Some(Ok(Instead { argv: words(&["uv", "--directory", folder, "run"], &[]), note }));
    }
    let mut found = of_roots(std::iter::once(root.to_owned()));
    // `lib64` is a link to `lib`.
    let mut seen = BTreeSet::new();
    found.retain(|one| {
        !["pip", "setuptools", "wheel"].contains(&one.name.as_str()) && seen.insert(one.name.clone())
    });
    if found.is_empty() {
        return None;
    }
    found.retain(|one| one.about.join("REQUESTED").is_file());
    if found.is_empty() || found.iter().any(|one| one.about.join("direct_url.json").is_file()) {
        return Some(Err(format!(
            "`{}` has packages that no container has; write `uv run --with PACKAGE {}` with those that the script imports",
            interpreter.display(),
            file.display()
        )));
    }
    let names: Vec<String> = found.iter().map(|one| format!("`{}`", one.name)).collect();
    let with = found.iter().flat_map(|one| ["--with".to_owned(), format!("{}=={}", one.name, one.version)]);
    let note = format!(
        "its packages are those of this machine's environment, at their versions: {}; import it again when they change",
        names.join(", ")
    );
    Some(Ok(Instead { argv: words(&["uv", "run"], &with.collect::<Vec<_>>()), note }))
}

/// The distributions of an environment, or of the system and its user.
fn distributions(roots: impl IntoIterator<Item = PathBuf>, places: Places<'_>) -> Vec<Distribution> {
    of_roots(roots.into_iter().chain(places.home.map(|home| home.join(".local"))))
}

fn of_roots(roots: impl Iterator<Item = PathBuf>) -> Vec<Distribution> {
    let mut found = Vec::new();
    for root in roots {
        for lib in ["lib", "local/lib", "lib64"] {
            for python in listed(&root.join(lib), "python3") {
                for packages in ["site-packages", "dist-packages"] {
                    let about = listed(&python.join(packages), "").into_iter();
                    let about = about.filter(|path| path.extension().is_some_and(|end| end == "dist-info"));
                    found.extend(about.filter_map(Distribution::read));
                }
            }
        }
    }
    found
}

/// What of a folder begins with a text, in the order of its names.
fn listed(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// `uv run FILE` where the file names the packages that it needs: those become the line's own.
pub(super) fn own_packages(argv: &[String]) -> Option<Instead> {
    let (uv, rest) = argv.split_first().filter(|(program, _)| program.rsplit('/').next() == Some("uv"))?;
    let run = rest.iter().position(|word| word == "run")?;
    let at = rest.iter().position(|word| is_script(word)).filter(|at| *at > run)?;
    let directory = rest.iter().position(|word| word == "--directory").filter(|directory| *directory < at);
    let folder = directory.and_then(|directory| rest.get(directory + 1));
    let file = match folder {
        Some(folder) => Path::new(folder).join(&rest[at]),
        None => PathBuf::from(&rest[at]),
    };
    let packages = file.is_absolute().then(|| packages_of(&text(&file)?)).flatten()?;
    let dropped =
        |index: usize| directory.is_some_and(|directory| index == directory || index == directory + 1);
    let mut words = vec![uv.clone()];
    for (index, word) in rest.iter().enumerate().filter(|(index, _)| !dropped(*index)) {
        words.push(if index == at { file.display().to_string() } else { word.clone() });
        if index == run {
            words.extend(packages.iter().flat_map(|package| ["--with".to_owned(), package.clone()]));
        }
    }
    let note = format!(
        "its packages are those that the script in `{}` names; import it again when they change",
        folder_of(&file).display()
    );
    Some(Instead { argv: words, note })
}

/// The packages of a script's own block, at least one.
fn packages_of(script: &str) -> Option<Vec<String>> {
    let (_, block) = script.split_once("# /// script\n")?;
    let (block, _) = block.split_once("\n# ///")?;
    let lines: Option<Vec<&str>> =
        block.lines().map(|line| line.strip_prefix("# ").or_else(|| line.strip_prefix('#'))).collect();
    let table: toml::Table = lines?.join("\n").parse().ok()?;
    let named = table.get("dependencies")?.as_array()?;
    // A marker is for other machines.
    let packages: Vec<String> = named
        .iter()
        .filter_map(|one| one.as_str())
        .map(|one| one.split(';').next().unwrap_or_default().replace(' ', ""))
        .collect();
    (!packages.is_empty()).then_some(packages)
}

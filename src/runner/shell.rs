//! A shell in front of one plain command: `bash -c "cd DIR && npx …"`. Nothing is evaluated: what would need a shell is
//! refused.

use super::names::{self, template};
use super::script;
use super::{Parsed, Program, Runner, RunnerError, understand};

/// What of a shell's line needs a shell.
const NEEDS: &str = "berth starts no shell: it takes over one plain command, with `cd FOLDER &&`, `export NAME=VALUE &&` or \
                     `NAME=VALUE` before it";

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    And,
}

fn refused(what: &str) -> RunnerError {
    RunnerError::new(format!("its shell line has {what}"), NEEDS)
}

/// The words after `bash`.
pub(super) fn parse(words: &[String]) -> Result<Parsed, RunnerError> {
    let is_flag = |word: &&String| word.starts_with('-') && word.len() > 1;
    let flags = words.iter().take_while(is_flag).count();
    let means_line = |word: &String| {
        let letters = word.strip_prefix('-').filter(|letters| !letters.starts_with('-'));
        letters.is_some_and(|letters| letters.contains('c'))
    };
    let plain = |word: &String| {
        ["--login", "--noprofile", "--norc"].contains(&word.as_str())
            || word.strip_prefix('-').is_some_and(|letters| letters.chars().all(|c| "cilexu".contains(c)))
    };
    if !words[..flags].iter().any(means_line) {
        return Err(RunnerError::new(
            "a shell runs a script of this machine",
            "write the command that the script starts, its program first",
        ));
    }
    if !words[..flags].iter().all(plain) {
        return Err(refused("flags that berth does not know"));
    }
    match &words[flags..] {
        [line] => of_line(line),
        [] => Err(refused("no command")),
        _ => Err(refused("words behind it")),
    }
}

fn of_line(line: &str) -> Result<Parsed, RunnerError> {
    let tokens = tokens(line)?;
    let mut commands: Vec<Vec<String>> = vec![Vec::new()];
    for token in tokens {
        match (token, commands.last_mut()) {
            (Token::Word(word), Some(command)) => command.push(word),
            _ => commands.push(Vec::new()),
        }
    }
    let Some(last) = commands.pop().filter(|last| !last.is_empty()) else {
        return Err(refused("no command"));
    };
    let (mut folder, mut env, mut notes): (Option<String>, Vec<(String, String)>, Vec<String>) =
        Default::default();
    for command in &commands {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["cd", to] if folder.is_none() && script::is_rooted(to) => folder = Some((*to).to_owned()),
            ["cd", ..] => return Err(refused("a `cd` to a folder that is not named by its absolute path")),
            ["export", variables @ ..] => {
                for variable in variables {
                    env.push(assignment(variable).ok_or_else(|| refused("an `export` without a value"))?);
                }
            }
            ["source" | ".", file] if file.ends_with("/nvm.sh") => {}
            ["nvm" | "fnm", "use", ..] => {
                notes.push("`nvm use` is left out: `node` in [bake] says which Node there is".to_owned());
            }
            _ => return Err(refused("more than one command")),
        }
    }
    let last = if last.first().is_some_and(|word| word == "exec") { &last[1..] } else { &last[..] };
    let before = last.iter().map_while(|word| assignment(word)).collect::<Vec<_>>();
    let argv = &last[before.len()..];
    let mut parsed = match &folder {
        Some(folder) => within(folder, argv)?,
        None => understand(argv)?,
    };
    for (name, value) in env.into_iter().chain(before) {
        parsed.set_env(&name, template(&value));
    }
    parsed.notes.extend(notes);
    Ok(parsed)
}

/// `NAME=VALUE`
fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    let is_name = names::is_variable(name) && !name.contains(['.', '-']);
    is_name.then(|| (name.to_owned(), value.to_owned()))
}

/// What a command means that starts in a folder of this machine: it sees that folder, and starts there.
pub(super) fn within(folder: &str, argv: &[String]) -> Result<Parsed, RunnerError> {
    let folder = folder.trim_end_matches('/');
    let words = match argv.split_first() {
        Some((program, rest)) if names::program(program) == "uv" => {
            let directory = ["--directory".to_owned(), folder.to_owned()];
            let has_one =
                rest.iter().any(|word| word.starts_with("--directory") || word.starts_with("--project"));
            let directory = directory.into_iter().filter(|_| !has_one);
            std::iter::once(program.clone()).chain(directory).chain(rest.iter().cloned()).collect()
        }
        Some((program, rest)) => {
            let rest = script::absolute(folder, program, rest);
            std::iter::once(program.clone()).chain(rest).collect()
        }
        None => Vec::new(),
    };
    let mut parsed = understand(&words)?;
    if !matches!(parsed.program, Program::Image { .. }) {
        script::mount_folder("the folder that it starts in", folder, &mut parsed)?;
        parsed.set("workdir", template(folder));
        let is_project = matches!(&parsed.program, Program::Package(package) if package.runner == Runner::Uv);
        if matches!(&parsed.program, Program::Package(_)) && !is_project {
            parsed.notes.push(format!("it starts in `{}`, which it cannot write", template(folder)));
        }
    }
    Ok(parsed)
}

/// The words of a line, quotes taken away. A variable is written `${NAME}` afterwards, as in the configuration.
fn tokens(line: &str) -> Result<Vec<Token>, RunnerError> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), '$') => return Err(refused("a `$` in single quotes")),
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (Some(_), '\\') => match chars.next() {
                Some('$') => return Err(refused("a `$` that is none")),
                Some(c @ ('"' | '\\' | '`')) => word.get_or_insert_default().push(c),
                Some(c) => word.get_or_insert_default().extend(['\\', c]),
                None => return Err(refused("an unclosed quote")),
            },
            (None, '\\') => match chars.next() {
                Some('$') | None => return Err(refused("a `$` that is none")),
                Some(c) => word.get_or_insert_default().push(c),
            },
            (_, '`') => return Err(refused("a command in it (`…`)")),
            (_, '$') => {
                let rest: String = chars.clone().collect();
                let (name, length) =
                    variable(&rest).ok_or_else(|| refused("a `$` that is no plain variable"))?;
                word.get_or_insert_default().extend(["${", name, "}"]);
                chars.by_ref().take(length).for_each(drop);
            }
            (None, '&') if chars.peek() == Some(&'&') => {
                chars.next();
                tokens.extend(word.take().map(Token::Word));
                tokens.push(Token::And);
            }
            (None, ';' | '|' | '&' | '\n') => return Err(refused("more than one command")),
            (None, '<' | '>') => return Err(refused("a redirection")),
            (None, '(' | ')' | '{' | '}') => return Err(refused("a group of commands")),
            // Other patterns stand for themselves where they match nothing, as in an address or in `mcp[cli]`.
            (None, '*') => return Err(refused("a pattern of files")),
            (None, '#') if word.is_none() => return Err(refused("a comment")),
            (None, '~') if word.is_none() && matches!(chars.peek(), None | Some('/' | ' ')) => {
                word = Some("${HOME}".to_owned());
            }
            (None, '~') if word.is_none() => return Err(refused("another user's home folder")),
            (None, c) if c.is_whitespace() => tokens.extend(word.take().map(Token::Word)),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(refused("an unclosed quote"));
    }
    tokens.extend(word.map(Token::Word));
    Ok(tokens)
}

/// The variable at the start of what follows a `$`, and how many characters name it.
fn variable(rest: &str) -> Option<(&str, usize)> {
    let is_name = |name: &str| names::is_variable(name) && !name.contains(['.', '-']);
    if let Some(inside) = rest.strip_prefix('{') {
        let (name, _) = inside.split_once('}')?;
        return is_name(name).then_some((name, name.len() + 2));
    }
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
    is_name(&rest[..end]).then_some((&rest[..end], end))
}

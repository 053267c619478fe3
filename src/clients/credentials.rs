//! Moves the credentials of a command line into variables of the client's entry: berth's configuration must hold none.
//! The server is started with the same words as before.

use super::Entry;
use super::variables::{is_berths, is_of_machine};
use crate::runner::{Parsed, Program};
use crate::values::{SecretArgument, Template, credentials, secret_arguments, words};

/// What becomes of a credential among the arguments.
#[derive(Debug, Clone, Copy)]
pub enum Moving<'a> {
    Moved,
    /// The entry stays as it is, and its person is told what to type.
    Refused {
        command: &'a str,
    },
}

/// Words of a flag that say nothing of whose credential it is.
#[rustfmt::skip]
const GENERIC: [&str; 26] = [
    "access", "account", "api", "app", "auth", "authorization", "basic", "bearer", "client", "credential", "credentials",
    "header", "key", "login", "pass", "password", "pat", "personal", "private", "pwd", "secret", "service", "signature",
    "token", "user", "x",
];

/// Words of a server's name that say nothing of what it is.
const UNTELLING: [&str; 6] = ["mcp", "server", "servers", "modelcontextprotocol", "cli", "latest"];

/// Puts `${NAME}` in the place of each credential among the arguments; gives the names with their values. `Err` says why
/// the line can't be taken over, and what to do.
pub(super) fn move_out(
    parsed: &mut Parsed,
    entry: &Entry,
    moving: Moving<'_>,
) -> Result<Vec<(String, String)>, String> {
    if fixed(&parsed.program).any(|word| !credentials(word).is_empty()) {
        return Err(refusal("what is to be installed or run", "leave the login out"));
    }
    let server = parsed.name.clone();
    let mut moved: Vec<(String, String)> = Vec::new();
    let args: Vec<String> = movable(&mut parsed.program).iter().map(|word| (**word).clone()).collect();
    let mut taken: Vec<String> = args
        .iter()
        .chain(parsed.env.iter().map(|(_, value)| value))
        .flat_map(|text| variables(text))
        .collect();
    taken.extend(entry.env_vars.iter().chain(parsed.env.iter().map(|(name, _)| name)).cloned());
    let mut places: Vec<(SecretArgument, String)> = Vec::new();
    for found in secret_arguments(&args) {
        let value = args[found.word].get(found.range.clone()).unwrap_or_default().replace("$$", "$");
        let known = entry.env.iter().chain(&moved).find(|(_, known)| *known == value);
        let name = known.map_or_else(
            || {
                let is_taken = |name: &String| {
                    taken.contains(name) || entry.env.iter().chain(&moved).any(|(known, _)| known == name)
                };
                free(&variable(&server, &found), is_taken)
            },
            |(name, _)| name.clone(),
        );
        if let Moving::Refused { command } = moving {
            return Err(refusal(
                &found.what,
                &format!("type `{command}` to move it into the entry's `env` as `{name}`"),
            ));
        }
        if known.is_none() {
            moved.push((name.clone(), value));
        }
        parsed.notes.push(format!("{} is in the entry's `env` now, as `{name}`", found.what));
        places.push((found, name));
    }
    let mut words = movable(&mut parsed.program);
    // From behind, so that the places before it stay where they are.
    for (found, name) in places.into_iter().rev() {
        words[found.word].replace_range(found.range, &format!("${{{name}}}"));
        if Template::parse(words[found.word]).is_err() {
            return Err(refusal(
                &found.what,
                "write the variable without a default, and put the value into the entry's `env`",
            ));
        }
    }
    Ok(moved)
}

pub(super) fn refusal(what: &str, next: &str) -> String {
    format!("{what} looks like a credential, which berth's configuration must not hold; {next}")
}

/// The words of a command line that stand for what runs.
fn fixed(program: &Program) -> impl Iterator<Item = &String> {
    let (packages, image) = match program {
        Program::Package(package) => (&package.packages[..], None),
        Program::Image { image, .. } => (&[][..], Some(image)),
        Program::Script { .. } => (&[][..], None),
    };
    packages.iter().chain(image)
}

/// Those that are the server's own.
fn movable(program: &mut Program) -> Vec<&mut String> {
    match program {
        Program::Package(package) => package.args.iter_mut().collect(),
        Program::Image { command, args, .. } => {
            command.iter_mut().flatten().chain(args.iter_mut().flatten()).collect()
        }
        Program::Script { args, .. } => args.iter_mut().collect(),
    }
}

fn variables(text: &str) -> Vec<String> {
    Template::parse(text)
        .map(|template| template.variables().map(str::to_owned).collect())
        .unwrap_or_default()
}

/// A variable's name for a credential: of its flag where that tells whose it is, else of the server and the flag.
fn variable(server: &str, found: &SecretArgument) -> String {
    let flag = found.name.as_deref().unwrap_or("token");
    let flag = fit_words(if flag == "k" { "key" } else { flag });
    let mut name: Vec<String> = Vec::new();
    if flag.iter().all(|word| GENERIC.contains(&word.as_str())) {
        let mut of_server = fit_words(server);
        of_server.retain(|word| !UNTELLING.contains(&word.as_str()));
        name.extend(if of_server.is_empty() { vec!["mcp".to_owned()] } else { of_server });
    }
    name.extend(flag.into_iter().filter(|word| word != "x"));
    fit_name(&name.join("_"))
}

/// The words of a name; a number belongs to the word before it.
fn fit_words(name: &str) -> Vec<String> {
    let mut fit: Vec<String> = Vec::new();
    for word in words(name) {
        match fit.last_mut() {
            Some(last) if word.bytes().all(|byte| byte.is_ascii_digit()) => last.push_str(&word),
            _ => fit.push(word),
        }
    }
    fit
}

/// A name that a template can have, and that is nobody else's.
pub(super) fn fit_name(name: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = name.chars().map(fits).collect();
    let is_fit = name.starts_with(|c: char| c.is_ascii_alphabetic()) && can_move(&name);
    if is_fit { name } else { format!("MCP_{name}") }
}

/// The name itself, or with a number behind it.
pub(super) fn free(name: &str, is_taken: impl Fn(&String) -> bool) -> String {
    let numbered = (2..).map(|n| format!("{name}_{n}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|name| !is_taken(name)).unwrap_or_default()
}

/// Whether a variable of the server's can stand in the client's entry, where berth itself has it too.
pub(super) fn can_move(name: &str) -> bool {
    // Others cannot be named in a template.
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !is_of_machine(name) && !is_berths(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner;

    /// What the line becomes, and what is moved.
    fn moved(words: &[&str], env: &[(&str, &str)]) -> Result<(String, Vec<String>), String> {
        let argv: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut parsed = runner::parse(&argv).unwrap();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let entry = Entry { env, ..Entry::default() };
        let moved = move_out(&mut parsed, &entry, Moving::Moved)?;
        let words: Vec<String> = movable(&mut parsed.program).iter().map(|word| (**word).clone()).collect();
        Ok((words.join(" "), moved.into_iter().map(|(name, value)| format!("{name}={value}")).collect()))
    }

    #[test]
    fn a_credential_gets_a_variable_that_says_whose_it_is() {
        for (words, line, variable) in [
            (
                &["npx", "-y", "@upstash/context7-mcp", "--api-key", "sesame"][..],
                "--api-key ${CONTEXT7_API_KEY}",
                "CONTEXT7_API_KEY=sesame",
            ),
            (
                &["npx", "@sentry/mcp-server@latest", "--access-token=sesame", "--host=h"],
                "--access-token=${SENTRY_ACCESS_TOKEN} --host=h",
                "SENTRY_ACCESS_TOKEN=sesame",
            ),
            (
                &["npx", "figma-developer-mcp", "--figma-api-key=sesame"],
                "--figma-api-key=${FIGMA_API_KEY}",
                "FIGMA_API_KEY=sesame",
            ),
            (
                &["npx", "mcp-remote", "https://h/?tavilyApiKey=sesame&a=b"],
                "https://h/?tavilyApiKey=${TAVILY_API_KEY}&a=b",
                "TAVILY_API_KEY=sesame",
            ),
            (
                &["npx", "mcp-remote", "https://h/mcp", "--header", "Authorization: Bearer ses$ame"],
                "https://h/mcp --header Authorization: Bearer ${REMOTE_TOKEN}",
                "REMOTE_TOKEN=ses$ame",
            ),
            (
                &["npx", "mcp-remote", "https://h/mcp", "--header", "X-Api-Key:sesame"],
                "https://h/mcp --header X-Api-Key:${REMOTE_API_KEY}",
                "REMOTE_API_KEY=sesame",
            ),
            (
                &["uvx", "postgres-mcp", "postgres://me:sesame@db/x"],
                "postgres://me:${POSTGRES_PASSWORD}@db/x",
                "POSTGRES_PASSWORD=sesame",
            ),
            (
                &["node", "/srv/1st/index.js", "-k", "se5ame"],
                "/srv/1st/index.js -k ${MCP_1_ST_KEY}",
                "MCP_1_ST_KEY=se5ame",
            ),
            (
                &["docker", "run", "-i", "some/docker-thing", "--token", "sesame"],
                "--token ${MCP_DOCKER_THING_TOKEN}",
                "MCP_DOCKER_THING_TOKEN=sesame",
            ),
        ] {
            let (moved, variables) = moved(words, &[]).unwrap();
            assert_eq!((moved.as_str(), &variables[..]), (line, &[variable.to_owned()][..]), "{words:?}");
        }
    }

    #[test]
    fn a_variables_name_is_nobody_elses_and_one_value_is_moved_once() {
        let line = [
            "npx",
            "a-mcp",
            "--api-key",
            "sesame",
            "--token",
            "sesame",
            "--other",
            "${A_SECRET}",
            "--secret",
            "barley",
        ];
        let (words, variables) = moved(&line, &[("A_API_KEY", "another")]).unwrap();
        assert_eq!(
            words,
            "--api-key ${A_API_KEY_2} --token ${A_API_KEY_2} --other ${A_SECRET} --secret ${A_SECRET_2}"
        );
        assert_eq!(variables, ["A_API_KEY_2=sesame", "A_SECRET_2=barley"]);
        let (words, variables) = moved(&line[..4], &[("MINE", "sesame")]).unwrap();
        assert_eq!((words.as_str(), variables.len()), ("--api-key ${MINE}", 0), "it is there already");
    }

    #[test]
    fn what_cannot_be_moved_is_refused_without_its_value() {
        for words in [
            &["npx", "p", "--api-key", "${KEY:-sesame}"][..],
            &["npx", "p", "${X:-ghp_FAKEFAKEFAKEFAKE0000}"],
        ] {
            let why = moved(words, &[]).unwrap_err();
            assert!(why.contains("credential") && !why.contains("sesame") && !why.contains("FAKE"), "{why}");
        }
    }
}

//! How runners' flags are written: `--flag`, `--flag VALUE`, `--flag=VALUE`, `-f VALUE`, `-fVALUE`, `-abc`.

use super::RunnerError;

/// What a runner's flag means to berth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag<M> {
    /// No value; it changes nothing here.
    Idle,
    /// Has a value, and changes nothing here.
    IdleValue,
    /// Left out with a word about it.
    Noted(&'static str),
    NotedValue(&'static str),
    /// No value; it means `M`.
    Set(M),
    /// Its value is for `M`.
    Takes(M),
    /// It can't be taken over: why, and what to do instead.
    Refused(&'static str, &'static str),
}

/// What comes next in a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a, M> {
    /// The flag as it is called, what it means, and its value.
    Flag(String, M, &'a str),
    /// The first word that is no flag.
    Word(&'a str),
    End,
}

/// The words of a runner's line, read up to the first that is no flag.
pub(super) struct Line<'a> {
    runner: &'a str,
    words: std::slice::Iter<'a, String>,
    /// The short flags that follow in the same word.
    cluster: &'a str,
    pub(super) notes: Vec<String>,
}

impl<'a> Line<'a> {
    pub(super) fn new(runner: &'a str, words: &'a [String]) -> Self {
        Self { runner, words: words.iter(), cluster: "", notes: Vec::new() }
    }

    /// The words that are left.
    pub(super) fn rest(&self) -> &'a [String] {
        self.words.as_slice()
    }

    pub(super) fn next<M: Copy>(
        &mut self,
        known: impl Fn(&str) -> Option<Flag<M>>,
    ) -> Result<Next<'a, M>, RunnerError> {
        loop {
            let (name, inline) = if self.cluster.is_empty() {
                let Some(word) = self.words.next() else { return Ok(Next::End) };
                if word == "--" {
                    return Ok(self.words.next().map_or(Next::End, |word| Next::Word(word)));
                }
                if !word.starts_with('-') || word == "-" {
                    return Ok(Next::Word(word));
                }
                if word.starts_with("--") {
                    match word.split_once('=') {
                        Some((name, value)) => (name.to_owned(), Some(value)),
                        None => (word.clone(), None),
                    }
                } else {
                    Self::short(&word[1..])
                }
            } else {
                let cluster = self.cluster;
                Self::short(cluster)
            };
            let words = name.split_once(char::is_whitespace);
            let is_blank = |value: &str| value.starts_with(char::is_whitespace);
            let has_value =
                |name| matches!(known(name), Some(Flag::IdleValue | Flag::NotedValue(_) | Flag::Takes(_)));
            let whole = match words {
                Some((flag, _)) if has_value(flag) => Some(flag),
                None if !name.starts_with("--") && has_value(&name) && inline.is_some_and(is_blank) => {
                    Some(name.as_str())
                }
                _ => None,
            };
            if let Some(flag) = whole {
                return Err(RunnerError::new(
                    format!("`{flag}` of `{}` and its value stand in one word", self.runner),
                    format!("make two words of them: \"{flag}\", \"VALUE\""),
                ));
            }
            let Some(flag) = known(&name) else {
                // Behind a blank there may be a credential.
                let name = words.map_or(name.as_str(), |(flag, _)| flag);
                return Err(RunnerError::new(
                    format!("berth does not know `{name}` of `{}`", self.runner),
                    "leave it out, or write the server's settings into [servers.NAME] yourself",
                ));
            };
            // Of a short flag without a value, what follows are more flags; of `--flag=true` it is the value.
            let is_short = !name.starts_with("--");
            let has_value = matches!(flag, Flag::IdleValue | Flag::NotedValue(_) | Flag::Takes(_));
            let value = if has_value {
                self.cluster = "";
                match inline.map(|value| if is_short { value.trim_start_matches('=') } else { value }) {
                    Some(value) => value,
                    None => self.words.next().ok_or_else(|| {
                        RunnerError::new(
                            format!("`{name}` of `{}` has no value", self.runner),
                            "write it after the flag",
                        )
                    })?,
                }
            } else if is_short {
                self.cluster = inline.unwrap_or_default();
                ""
            } else {
                if inline == Some("false") {
                    continue;
                }
                ""
            };
            match flag {
                Flag::Idle | Flag::IdleValue => {}
                Flag::Noted(note) | Flag::NotedValue(note) => {
                    self.notes.push(format!("`{name}` is left out: {note}"));
                }
                Flag::Set(meaning) | Flag::Takes(meaning) => return Ok(Next::Flag(name, meaning, value)),
                Flag::Refused(why, next) => return Err(self.refuse(&name, why, next)),
            }
        }
    }

    /// The first flag of a word such as `-it`, and what stands behind it.
    fn short(word: &'a str) -> (String, Option<&'a str>) {
        let first = word.chars().next().map_or(0, char::len_utf8);
        let (flag, rest) = word.split_at(first);
        (format!("-{flag}"), (!rest.is_empty()).then_some(rest))
    }

    pub(super) fn refuse(&self, flag: &str, why: &str, next: &str) -> RunnerError {
        RunnerError::new(format!("berth does not take over `{flag}` of `{}`: {why}", self.runner), next)
    }

    /// A flag's value is not what it should be. The value is not shown.
    pub(super) fn wrong(&self, flag: &str, expected: &str) -> RunnerError {
        RunnerError::new(format!("the value of `{flag}` of `{}` is not understood", self.runner), expected)
    }
}

/// A flag without its value.
pub(super) fn bare(flag: &str) -> &str {
    flag.split('=').next().unwrap_or(flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Option<Flag<char>> {
        match name {
            "-i" | "--idle" => Some(Flag::Idle),
            "-n" => Some(Flag::Noted("it changes nothing")),
            "-s" | "--set" => Some(Flag::Set('s')),
            "-v" | "--value" => Some(Flag::Takes('v')),
            "--never" => Some(Flag::Refused("it is bad", "do another thing")),
            _ => None,
        }
    }

    /// What is found up to the first word, which comes last.
    fn read(line: &str) -> Result<Vec<String>, String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut line = Line::new("it", &words);
        let mut found = Vec::new();
        loop {
            match line.next(known).map_err(|error| error.to_string())? {
                Next::Flag(name, meaning, value) => found.push(format!("{name}{meaning}{value}")),
                Next::Word(word) => found.push(word.to_owned()),
                Next::End => found.push("END".to_owned()),
            }
            if matches!(found.last(), Some(last) if !last.starts_with('-')) {
                return Ok([found, line.notes.clone(), line.rest().to_vec()].concat());
            }
        }
    }

    #[test]
    fn flags_are_read_in_all_their_forms() {
        let found = |line| read(line).unwrap().join(" ");
        assert_eq!(found("-i --idle w -s"), "w -s");
        assert_eq!(found("-is -v a --value=b=c -vd -v=e -iv f w"), "-ss -vva --valuevb=c -vvd -vve -vvf w");
        assert_eq!(found("--set=false --set=true w"), "--sets w");
        assert_eq!(found("-- -s x"), "-s x");
        assert_eq!(found("-i --"), "END");
        assert_eq!(found("-n -"), "- END `-n` is left out: it changes nothing");
    }

    #[test]
    fn a_flag_and_its_value_in_one_word_are_told_to_be_two() {
        for word in ["-v hunter2", "--value hunter2", "-v\thunter2"] {
            let words = [word.to_owned(), "w".to_owned()];
            let said = Line::new("it", &words).next(known).unwrap_err().to_string();
            let flag = word.split(char::is_whitespace).next().unwrap();
            let expected = format!(
                "`{flag}` of `it` and its value stand in one word; make two words of them: \"{flag}\", \"VALUE\""
            );
            assert_eq!(said, expected);
        }
        let words = ["--what hunter2".to_owned()];
        let said = Line::new("it", &words).next(known).unwrap_err().to_string();
        assert!(said.starts_with("berth does not know `--what` of `it`;"), "{said}");
        let words = ["--value= a b".to_owned()];
        let next = Line::new("it", &words);
        let mut next = next;
        assert_eq!(next.next(known).unwrap(), Next::Flag("--value".to_owned(), 'v', " a b"));
    }

    #[test]
    fn what_is_wrong_is_named_without_values() {
        let error = |line| read(line).unwrap_err();
        assert!(error("--what=hunter2 w").starts_with("berth does not know `--what` of `it`;"));
        assert!(error("-ix w").starts_with("berth does not know `-x` of `it`;"));
        assert_eq!(error("-i -v"), "`-v` of `it` has no value; write it after the flag");
        assert_eq!(
            error("--never w"),
            "berth does not take over `--never` of `it`: it is bad; do another thing"
        );
    }
}

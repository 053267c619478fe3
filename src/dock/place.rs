//! Where a container finds the keeper: in a folder at its root whose name is the container's own.
//!
//! An image decides what is at each path that it can know: a link there, or a volume that a link leads there, would put its own
//! program in the place of PID 1. So nobody knows the name before the container has been made. It stands in the container's
//! entry point alone, which no image can change, and there whoever takes the container over finds it.

use std::io;

use super::docker::DockerError;

/// What all such folders begin with; those of former berths were called so and no more.
const STEM: &str = "/.berth";
/// The program, in its folder.
const PROGRAM: &str = "/keeper";
/// Of 128 bits.
const DIGITS: usize = 32;

/// A keeper's folder in its container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// One that nobody has ever heard of.
    pub fn new() -> Result<Self, DockerError> {
        let digits = random()
            .map_err(|error| DockerError::broken("choose a place for", "the keeper", error.to_string()))?;
        Ok(Self(format!("{STEM}-{digits}")))
    }

    /// One that a container is known to have.
    pub fn at(folder: &str) -> Self {
        Self(folder.to_owned())
    }

    /// As it is shown where there is no container yet.
    pub fn example() -> Self {
        Self(format!("{STEM}-{}", "x".repeat(DIGITS)))
    }

    /// From the command line of a container's first process, as the daemon has it.
    pub fn of(command_line: &str) -> Option<Self> {
        let (folder, _) = split(command_line)?;
        (folder != STEM).then(|| Self(folder.to_owned()))
    }

    /// Where the keeper's volume is mounted, read-only.
    pub fn folder(&self) -> &str {
        &self.0
    }

    /// What tells it from all others; empty for a former berth's.
    pub fn digits(&self) -> &str {
        self.0.strip_prefix(STEM).unwrap_or_default().trim_start_matches('-')
    }

    pub fn program(&self) -> String {
        format!("{}{PROGRAM}", self.0)
    }
}

/// 128 bits that nobody guesses, in hexadecimal.
pub(super) fn random() -> io::Result<String> {
    let mut bits = [0; 16];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut bits).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bits)))
}

/// What follows the program in a keeper's command line, also in one of a former berth.
pub(crate) fn arguments(command_line: &str) -> Option<&str> {
    Some(split(command_line)?.1)
}

fn split(command_line: &str) -> Option<(&str, &str)> {
    let rest = command_line.strip_prefix(STEM)?;
    let digits = match rest.strip_prefix('-') {
        None => 0,
        Some(name) => {
            let named = name.get(..DIGITS)?;
            if !named.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
                return None;
            }
            DIGITS + "-".len()
        }
    };
    let (folder, rest) = command_line.split_at(STEM.len() + digits);
    let arguments = rest.strip_prefix(PROGRAM)?;
    (arguments.is_empty() || arguments.starts_with(' ')).then_some((folder, arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_places_are_alike_and_each_is_read_again() {
        let (one, other) = (Place::new().unwrap(), Place::new().unwrap());
        assert_ne!(one, other);
        let line = format!("{} hold --room ---", one.program());
        assert_eq!(Place::of(&line), Some(one.clone()));
        assert_eq!(arguments(&line), Some(" hold --room ---"));
        assert_eq!(one.folder().len(), Place::example().folder().len());
        assert!(one.folder().starts_with("/.berth-") && one.program().ends_with("/keeper"), "{one:?}");
    }

    #[test]
    fn a_former_berths_keeper_is_known_and_its_place_is_none() {
        let line = "/.berth/keeper hold --claim-within 4000";
        assert_eq!((Place::of(line), arguments(line)), (None, Some(" hold --claim-within 4000")));
    }

    #[test]
    fn others_are_no_keepers() {
        let digits = "0123456789abcdef0123456789abcdef";
        for other in [
            String::new(),
            "/bin/sh /.berth/keeper hold".to_owned(),
            "/.berth/keeper2 hold".to_owned(),
            "/.berth-/keeper hold".to_owned(),
            format!("/.berth-{digits}0/keeper hold"),
            format!("/.berth-{}/keeper hold", digits.to_uppercase()),
            format!("/.berth-{}ä/keeper hold", &digits[1..]),
            format!("/.berth-{}/keeper hold", &digits[1..]),
            format!("/.berth{digits}/keeper hold"),
        ] {
            assert_eq!((Place::of(&other), arguments(&other)), (None, None), "{other}");
        }
    }
}

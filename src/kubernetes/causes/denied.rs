//! A right that lacks, told from a refusal that passes.

use std::time::Duration;

use mcp_berth::failure::Failure;
use tokio::time::Instant;

use super::refused::Asked;

/// So often in a row, and for so long: an API server may not have read its new rules yet.
const TIMES: u32 = 3;
const FOR: Duration = Duration::from_secs(1);
const FORBIDDEN: u16 = 403;

/// What was refused in the same words, one time after another.
#[derive(Debug, Default)]
pub(crate) struct Denials(Option<Denial>);

#[derive(Debug)]
struct Denial {
    failure: Failure,
    since: Instant,
    times: u32,
}

impl Denials {
    /// Takes note of a refusal; gives it in a person's words once nothing else is to be expected.
    pub(crate) fn note(&mut self, asked: Asked<'_>, error: &kube::Error) -> Option<Failure> {
        if !matches!(error, kube::Error::Api(status) if status.code == FORBIDDEN) {
            self.0 = None;
            return None;
        }
        let failure = Failure::from(asked.refused(error));
        let denial = match self.0.take() {
            Some(denial) if denial.failure == failure => Denial { times: denial.times + 1, ..denial },
            _ => Denial { failure, since: Instant::now(), times: 1 },
        };
        let is_final = denial.times >= TIMES && denial.since.elapsed() >= FOR;
        let Denial { failure, .. } = self.0.insert(denial);
        is_final.then(|| failure.clone())
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn error(code: u16, user: &str) -> kube::Error {
        let message = format!(
            r#"pods "p" is forbidden: User "{user}" cannot get resource "pods/exec" in API group "" in the namespace "n""#
        );
        kube::Error::Api(Status::failure(&message, "").with_code(code).boxed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_refusal_is_final_when_it_has_lasted() {
        let asked = Asked { verb: "get", resource: "pods/exec", namespace: "n" };
        let mut denials = Denials::default();
        for (code, user) in [(403, "a"), (403, "a"), (500, "a"), (403, "a"), (403, "a"), (403, "b")] {
            assert_eq!(denials.note(asked, &error(code, user)), None);
            tokio::time::advance(FOR).await;
        }
        assert_eq!(denials.note(asked, &error(403, "b")), None, "twice is not often enough");
        let failure = denials.note(asked, &error(403, "b")).unwrap();
        assert!(failure.text.starts_with("`b` may not get pods/exec in the namespace `n`"), "{failure}");
        let mut denials = Denials::default();
        assert!((0..10).all(|_| denials.note(asked, &error(403, "a")).is_none()), "not all at once");
    }
}

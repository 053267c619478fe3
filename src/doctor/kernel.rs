//! Which kernel serves a container that is to have one of its own, by that kernel's own word. Judges only.

use super::line::{Line, Seen};

/// What a probe said in a container with `isolation = "gvisor"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    pub image: String,
    /// The release of the daemon's.
    pub daemons: String,
    /// What the container's calls itself.
    pub version: String,
    /// Whether its log, which a container without capabilities cannot write, names gVisor.
    pub says_gvisor: bool,
}

const NAME: &str = "gvisor";

pub(super) fn judge(seen: &Seen<Kernel>) -> Line {
    seen.line(NAME, |kernel| {
        let Kernel { image, daemons, version, says_gvisor } = kernel;
        // Where nobody knows the daemon's, nobody knows that it is another.
        let is_daemons = daemons.is_empty() || version.split(' ').any(|word| word == daemons);
        if is_daemons || !says_gvisor {
            let fact = format!("a container of `{image}` that is to have a kernel of its own has `{version}`");
            return Line::failed(NAME, fact, "berth up");
        }
        // «Linux version 4.4.0 #1 SMP …»
        let release = version.split(' ').nth(2).unwrap_or_default();
        Line::ok(
            NAME,
            format!("in a container of `{image}`: a kernel of its own ({release}) that says it is gVisor; the daemon's is {daemons}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::line::State;

    fn judged(version: &str, says_gvisor: bool) -> Line {
        judge(&Seen::Found(Kernel {
            image: "time".to_owned(),
            daemons: "6.18.44".to_owned(),
            version: version.to_owned(),
            says_gvisor,
        }))
    }

    #[test]
    fn the_daemons_own_kernel_is_a_failure_and_so_is_one_of_another_name() {
        let line = judged("Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016", true);
        assert_eq!(line.state, State::Ok);
        assert!(line.fact.contains("(4.4.0)") && line.fact.contains("6.18.44"), "{}", line.fact);
        assert_eq!(judged("Linux version 6.18.44 (gcc) #1", true).state, State::Failed);
        let other = judged("Linux version 5.0.0 (gcc) #1", false);
        assert_eq!((other.state, other.next.as_deref()), (State::Failed, Some("berth up")));
    }
}

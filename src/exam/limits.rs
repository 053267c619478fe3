//! Are the limits those of the configuration, seen from inside, and do they hold?

pub mod prove;

use crate::exam::check::{Check, Question, Seen, UNEXAMINED};

/// One session's limits.
#[derive(Debug, Clone)]
pub struct Resources {
    /// Whether the container has a kernel of its own, which does not know the limits of the daemon's.
    pub own_kernel: bool,
    /// Whether a node gives all of its containers one limit of processes.
    pub pids_of_node: bool,
    pub wanted: Limits,
    pub seen: Seen<Limits>,
    pub memory: Proof,
    pub pids: Proof,
}

/// As configured, or as read from inside.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    pub pids: Option<u64>,
    /// Processors' worth of time.
    pub cpus: Option<f64>,
    /// What a process can do now, and what any could ever get; the same in a configuration. `None`: all that there is.
    pub effective: Option<u64>,
    pub bounding: Option<u64>,
    pub no_new_privileges: bool,
    pub read_only_root: bool,
}

/// Going over a limit, and staying under it as the control.
#[derive(Debug, Clone)]
pub struct Proof {
    pub under: Seen<Went>,
    pub over: Seen<Went>,
}

/// How an attempt to use something went, and its facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Went {
    Through(String),
    Stopped(String),
}

impl Default for Resources {
    fn default() -> Self {
        let nothing = || Err(UNEXAMINED.to_owned());
        let proof = || Proof { under: nothing(), over: nothing() };
        Self {
            own_kernel: false,
            pids_of_node: false,
            wanted: Limits::default(),
            seen: Err(UNEXAMINED.to_owned()),
            memory: proof(),
            pids: proof(),
        }
    }
}

/// Docker rounds processors to hundred-thousandths of a period.
const CPUS_WITHIN: f64 = 0.001;

const DRY_RUN: &str = "berth run --dry-run SERVER, and look at the daemon with `docker info`";
const MEMORY: Question = Question::new("the memory limit is as configured", DRY_RUN);
const PIDS: Question = Question::new("the process limit is as configured", DRY_RUN);
const CPUS: Question = Question::new("the processor limit is as configured", DRY_RUN);
const MEMORY_HOLDS: Question = Question::new("memory beyond the limit is refused", DRY_RUN);
const PIDS_HOLD: Question = Question::new("processes beyond the limit are refused", DRY_RUN);
const CAPABILITIES: Question = Question::new("capabilities are as configured", DRY_RUN);
const PRIVILEGES: Question = Question::new("new privileges are out of reach", DRY_RUN);
const ROOT: Question = Question::new("the root file system is read-only", DRY_RUN);

pub(crate) fn judge(seen: &Resources) -> Vec<Check> {
    let (wanted, found) = (&seen.wanted, &seen.seen);
    let read = |question: Question, judge: &dyn Fn(&Limits) -> Check| match found {
        Ok(found) => judge(found),
        Err(why) => question.failed(why.as_str()),
    };
    let unseen = |question: Question, check: Check| {
        if seen.own_kernel {
            question.not_applicable("the container's own kernel does not show the limit")
        } else {
            check
        }
    };
    let memory = read(MEMORY, &|found| {
        MEMORY.holds(found.memory == wanted.memory, compared(&bytes(found.memory), &bytes(wanted.memory)))
    });
    let pids = read(PIDS, &|found| {
        PIDS.holds(found.pids == wanted.pids, compared(&number(found.pids), &number(wanted.pids)))
    });
    let cpus = read(CPUS, &|found| {
        let same = match (found.cpus, wanted.cpus) {
            (Some(found), Some(wanted)) => (found - wanted).abs() < CPUS_WITHIN,
            (found, wanted) => found.is_none() && wanted.is_none(),
        };
        CPUS.holds(same, compared(&number(found.cpus), &number(wanted.cpus)))
    });
    let capabilities = read(CAPABILITIES, &|found| capabilities(found, wanted));
    let privileges = if wanted.no_new_privileges {
        read(PRIVILEGES, &|found| {
            let value = u8::from(found.no_new_privileges);
            PRIVILEGES.holds(found.no_new_privileges, format!("NoNewPrivs is {value}"))
        })
    } else {
        PRIVILEGES.not_applicable("`no_new_privileges` is off in the configuration")
    };
    let root = if wanted.read_only_root {
        read(ROOT, &|found| {
            let text = if found.read_only_root { "nothing could be written" } else { "it can be written to" };
            ROOT.holds(found.read_only_root, text)
        })
    } else {
        ROOT.not_applicable("`read_only` is off in the configuration")
    };
    let memory_holds = proven(MEMORY_HOLDS, &seen.memory);
    let of_node = "the kubelet's `podPidsLimit` is the limit in a pod";
    let (memory, mut pids, cpus) = (unseen(MEMORY, memory), unseen(PIDS, pids), unseen(CPUS, cpus));
    let mut pids_hold = proven(PIDS_HOLD, &seen.pids);
    if seen.pids_of_node {
        pids = PIDS.not_applicable(of_node);
        pids_hold = PIDS_HOLD.not_applicable(of_node);
    }
    vec![memory, pids, cpus, memory_holds, pids_hold, capabilities, privileges, root]
}

fn capabilities(found: &Limits, wanted: &Limits) -> Check {
    let (Some(effective), Some(bounding)) = (found.effective, found.bounding) else {
        return CAPABILITIES.failed("capabilities cannot be read");
    };
    let told = format!("effective {effective:x}, bounding {bounding:x}");
    match wanted.bounding {
        // A user other than root has none in effect, whatever was added.
        Some(all) => {
            let right = bounding == all && effective & !all == 0;
            CAPABILITIES.holds(right, if right { told } else { format!("{told}; configured {all:x}") })
        }
        None => CAPABILITIES.not_applicable(format!("the configuration gives all ({told})")),
    }
}

fn proven(question: Question, proof: &Proof) -> Check {
    match (&proof.under, &proof.over) {
        (Ok(Went::Through(_)), Ok(Went::Stopped(how))) => question.passed(how.as_str()),
        (Ok(Went::Through(_)), Ok(Went::Through(how))) => question.failed(how.as_str()),
        (Ok(Went::Stopped(how)), _) => question.failed(format!("even less than the limit failed: {how}")),
        (Err(why), _) | (_, Err(why)) => question.failed(why.as_str()),
    }
}

fn compared(found: &str, wanted: &str) -> String {
    if found == wanted { found.to_owned() } else { format!("{found}, configured {wanted}") }
}

fn bytes(bytes: Option<u64>) -> String {
    match bytes {
        Some(bytes) if bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        Some(bytes) => format!("{bytes} bytes"),
        None => "no limit".to_owned(),
    }
}

fn number(number: Option<impl ToString>) -> String {
    number.map_or_else(|| "no limit".to_owned(), |number| number.to_string())
}

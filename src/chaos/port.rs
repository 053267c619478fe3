//! Ports for a run's daemon, outside the range that the kernel gives to connections by itself.
//!
//! A port that was bound to 0 and closed comes from that range. Any connection may take it before the engine does.

use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener};
use std::ops::RangeInclusive;

const EPHEMERAL: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// The kernel's own default.
const USUAL: RangeInclusive<u16> = 32_768..=60_999;
const UNPRIVILEGED: RangeInclusive<u16> = 1024..=u16::MAX;

/// What may be tried one after another, from a place of each process's own.
#[derive(Debug)]
pub(super) struct Ports {
    left: std::vec::IntoIter<u16>,
}

impl Ports {
    pub(super) fn of(process: u32) -> Self {
        let said = std::fs::read_to_string(EPHEMERAL).unwrap_or_default();
        Self { left: candidates(&ephemeral(&said).unwrap_or(USUAL), process).into_iter() }
    }

    /// The next one that nobody on this machine listens on; an address of another machine's can't be tried here.
    pub(super) fn next(&mut self, bind: IpAddr) -> Option<u16> {
        let is_taken =
            |port| TcpListener::bind((bind, port)).is_err_and(|e| e.kind() == ErrorKind::AddrInUse);
        self.left.find(|port| !is_taken(*port))
    }
}

/// As the kernel prints it: two numbers.
fn ephemeral(said: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = said.split_whitespace().map(str::parse);
    Some(numbers.next()?.ok()?..=numbers.next()?.ok()?)
}

/// Those above the kernel's range: below it people have their servers.
fn candidates(ephemeral: &RangeInclusive<u16>, process: u32) -> Vec<u16> {
    let mut ports: Vec<u16> = UNPRIVILEGED.filter(|port| port > ephemeral.end()).collect();
    if ports.is_empty() {
        ports = UNPRIVILEGED.filter(|port| !ephemeral.contains(port)).collect();
    }
    if ports.is_empty() {
        ports = UNPRIVILEGED.collect();
    }
    let from = usize::try_from(process).unwrap_or_default() % ports.len();
    ports.rotate_left(from);
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_one_that_the_kernel_gives_away() {
        assert_eq!(ephemeral("32768\t60999\n"), Some(USUAL));
        assert_eq!((ephemeral(""), ephemeral("1 x")), (None, None));
        let ports = candidates(&USUAL, 7);
        assert_eq!((ports[0], ports.len(), ports.iter().min()), (61_007, 4536, Some(&61_000)));
        assert_ne!(candidates(&USUAL, 8)[0], ports[0], "two runs at once begin apart");
        assert!(candidates(&(2000..=u16::MAX), 7).iter().all(|port| *port < 2000));
        assert_eq!(candidates(&(1..=u16::MAX), 7).len(), UNPRIVILEGED.count(), "a few are better than none");
    }

    #[test]
    fn one_that_somebody_listens_on_is_passed_over() {
        let bind = IpAddr::from([127, 0, 0, 1]);
        let listener = TcpListener::bind((bind, 0)).unwrap();
        let taken = listener.local_addr().unwrap().port();
        let mut ports = Ports { left: vec![taken, 1].into_iter() };
        assert_eq!(ports.next(bind), Some(1), "who may not bind it learns nothing, and it is tried");
        let mut elsewhere = Ports { left: vec![taken].into_iter() };
        assert_eq!(elsewhere.next([192, 0, 2, 1].into()), Some(taken), "it is no address of this machine's");
    }
}

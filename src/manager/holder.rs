//! Whose a taken port is, as the kernel tells it (`/proc/net/tcp`, `/proc/PID/fd`).

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A socket that listens (`TCP_LISTEN` of the kernel).
const LISTENS: &str = "0A";

/// Who has a port.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Process {
        pid: u32,
        /// Its command, as `ps` shows it.
        name: String,
    },
    /// This user's process. Only that user, and root, may see which.
    User(u32),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, name } => write!(f, "process {pid} ({name})"),
            Self::User(uid) => write!(f, "a process of user {uid}"),
        }
    }
}

/// A line of the kernel's list.
#[derive(Debug, PartialEq, Eq)]
struct Listening {
    uid: u32,
    inode: u64,
}

/// Who keeps others from listening here; `None`: the kernel does not tell.
pub(crate) fn of(address: SocketAddr) -> Option<Holder> {
    let lists =
        ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().filter_map(|list| fs::read_to_string(list).ok());
    let Listening { uid, inode } = lists.into_iter().find_map(|list| listening(&list, address))?;
    Some(process(inode).unwrap_or(Holder::User(uid)))
}

/// The first socket of a list that listens at an address, or at all addresses of its port.
fn listening(list: &str, address: SocketAddr) -> Option<Listening> {
    list.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, state, _, _, _, uid, _, inode, ..] = fields[..] else { return None };
        let (ip, port) = local.split_once(':')?;
        let ip = ip_of(ip)?.to_canonical();
        let is_there = ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified();
        let is_it = state == LISTENS && u16::from_str_radix(port, 16).ok()? == address.port() && is_there;
        is_it.then_some(Listening { uid: uid.parse().ok()?, inode: inode.parse().ok()? })
    })
}

/// The kernel shows words of four bytes, each as this machine has it.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let words = hex.as_bytes().chunks(8).map(|word| {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

/// The process that has a socket, if this user may see that.
fn process(inode: u64) -> Option<Holder> {
    let wanted = format!("socket:[{inode}]");
    let pids =
        fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has = |pid: u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.into_iter().any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == &*wanted))
    };
    let pid = pids.into_iter().find(|pid| has(*pid))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Holder::Process { pid, name: name.trim().escape_default().to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:46A0 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0
   1: 0100007F:46A1 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0 100 0 0 10 0
   2: 00000000:4A92 00000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 4713 1 0 100 0 0 10 0
";
    const TCP6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:46A0 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714 1 0 100 0 0 10 0
";

    #[cfg(target_endian = "little")]
    #[test]
    fn what_listens_at_the_address_or_at_all_of_them_has_it() {
        let inode = |list: &str, address: &str| {
            listening(list, address.parse().unwrap()).map(|Listening { uid, inode }| (uid, inode))
        };
        assert_eq!(inode(TCP, "127.0.0.1:18080"), Some((1000, 4711)));
        assert_eq!(inode(TCP, "0.0.0.0:18080"), Some((1000, 4711)));
        assert_eq!(inode(TCP, "127.0.0.2:18080"), None);
        assert_eq!(inode(TCP, "127.0.0.1:18081"), None, "a connection does not listen");
        assert_eq!(inode(TCP, "127.0.0.1:19090"), Some((33, 4713)));
        assert_eq!(inode(TCP6, "[::1]:18080"), Some((0, 4714)));
        assert_eq!(inode(TCP6, "127.0.0.1:18080"), None);
        assert_eq!(inode("", "127.0.0.1:18080"), None);
    }

    #[test]
    fn this_users_process_is_named_and_anothers_user_is() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = of(listener.local_addr().unwrap()).unwrap();
        assert!(matches!(holder, Holder::Process { pid, .. } if pid == std::process::id()), "{holder}");
        let other = Holder::User(33);
        assert_eq!(other.to_string(), "a process of user 33");
    }
}

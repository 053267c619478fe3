//! Networks of the daemon, as the Engine's own configuration has them.

use std::fmt;

use ipnet::Ipv4Net;

use super::value::Value;

/// The address of a bridge, with the prefix of its network (dockerd's `--bip`).
#[derive(Debug)]
pub struct BridgeAddress(pub Ipv4Net);

impl Value for BridgeAddress {
    const EXPECTED: &'static str =
        "a bridge's address with its network's prefix, such as \"172.30.240.1/20\"";

    fn from_text(text: &str) -> Option<Self> {
        let net: Ipv4Net = text.parse().ok()?;
        // The network's own name and its broadcast are no addresses, and below four there is no room for a container.
        let fits = net.prefix_len() <= 29 && net.addr() != net.network() && net.addr() != net.broadcast();
        fits.then_some(Self(net))
    }
}

/// A network that is cut into networks of one size (dockerd's `--default-address-pool`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressPool {
    base: Ipv4Net,
    /// The prefix of each.
    size: u8,
}

impl AddressPool {
    /// All of its networks together.
    pub fn base(&self) -> Ipv4Net {
        self.base
    }
}

impl Value for AddressPool {
    const EXPECTED: &'static str = "a network and the prefix of its parts, such as \"10.99.0.0/16:24\"";

    fn from_text(text: &str) -> Option<Self> {
        let (base, size) = text.split_once(':')?;
        let (base, size): (Ipv4Net, u8) = (base.parse().ok()?, size.parse().ok()?);
        (base.addr() == base.network() && base.prefix_len() <= size && size <= 29)
            .then_some(Self { base, size })
    }
}

impl fmt::Display for AddressPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.base, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_checked() {
        for good in ["172.30.240.1/20", "10.0.0.1/8", "192.168.1.1/29"] {
            assert!(BridgeAddress::from_text(good).is_some(), "{good}");
        }
        for bad in
            ["", "172.30.240.1", "172.30.240.0/20", "172.30.255.255/20", "10.0.0.1/30", "fd00::1/64", "x/8"]
        {
            assert!(BridgeAddress::from_text(bad).is_none(), "{bad}");
        }
        let pool = AddressPool::from_text("10.99.0.0/16:24").unwrap();
        assert_eq!(pool.to_string(), "10.99.0.0/16:24");
        for bad in
            ["", "10.99.0.0/16", "10.99.0.0/16:8", "10.99.0.1/16:24", "10.99.0.0/16:30", "10.99.0.0:24"]
        {
            assert!(AddressPool::from_text(bad).is_none(), "{bad}");
        }
    }
}

//! What a list allows.

use std::net::IpAddr;

use crate::allow::Entry;
use crate::egress::list::Allowed;

fn allowed(texts: &[&str]) -> Allowed {
    Allowed(texts.iter().map(|text| Entry::parse(text).unwrap()).collect())
}

#[test]
fn a_name_without_a_port_means_the_web() {
    let list = allowed(&["a.org", "*.b.org:8443"]);
    assert!(list.has("a.org", 80) && list.has("a.org", 443));
    for (name, port) in [("a.org", 22), ("a.org", 8443), ("x.a.org", 443), ("xa.org", 443), ("org", 443)] {
        assert!(!list.has(name, port), "{name}:{port}");
    }
    assert!(list.has("x.b.org", 8443) && list.has("y.x.b.org", 8443));
    for (name, port) in [("b.org", 8443), ("xb.org", 8443), (".b.org", 8443), ("x.b.org", 443)] {
        assert!(!list.has(name, port), "{name}:{port}");
    }
    assert!(list.knows("a.org") && list.knows("x.b.org") && !list.knows("b.org"));
    assert_eq!(list.ports(), [80, 443, 8443]);
}

#[test]
fn addresses_are_named_alone_or_by_their_network() {
    let list = allowed(&["10.1.0.0/16", "192.168.1.7:8080", "fd00:1::/32"]);
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    assert!(list.has_address(address("10.1.2.3"), 443) && !list.has_address(address("10.2.2.3"), 443));
    assert!(list.has_address(address("192.168.1.7"), 8080) && !list.has_address(address("192.168.1.7"), 80));
    assert!(list.names_address(address("192.168.1.7")) && list.names_address(address("fd00:1::9")));
    assert!(!list.names_address(address("192.168.1.8")) && !list.names_address(address("fd00:2::9")));
}

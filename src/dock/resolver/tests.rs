use super::*;

fn volume(text: &str) -> String {
    Resolver::parse(text).without_loopback().unwrap().volume("441da679")
}

#[test]
fn a_volumes_name_tells_it_all() {
    let text = "# by dhclient\nsearch home.lan corp.example\nnameserver 192.168.1.1\nnameserver fd00::1\noptions ndots:2 rotate\n";
    let name = volume(text);
    // The keeper's tests read the same.
    assert_eq!(name, "berth-dns_b441da679_n192.168.1.1_nfd00--1_ondots.2_orotate_shome.lan_scorp.example");
    let told = Resolver::of_volume(&name, "441da679").unwrap();
    assert_eq!(list(&told.nameservers), "192.168.1.1, fd00::1");
}

#[test]
fn what_others_cannot_use_is_left_out() {
    let all = "nameserver 127.0.0.1\nnameserver ::1\nnameserver fe80::1%eth0\nnameserver 0.0.0.0\nnameserver junk\nnameserver\n\
               nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n\
               domain first.example\nsearch a_b.example last.example /x\noptions a.b ok /\n";
    assert_eq!(volume(all), "berth-dns_b441da679_n10.0.0.1_n10.0.0.2_n10.0.0.3_ook_slast.example");
    assert_eq!(Resolver::parse("nameserver 127.0.0.1\n").without_loopback(), None);
}

#[test]
fn a_difference_is_told_by_what_differs() {
    let (one, other) = ([[10, 0, 0, 1].into()], [[10, 0, 0, 2].into()]);
    assert_eq!(
        difference(&one, &other),
        "the daemon asks other nameservers (10.0.0.1) than this machine (10.0.0.2)"
    );
    assert!(difference(&[], &other).contains("(set at its start)"));
    assert!(difference(&one, &one).contains("search domains"));
}

#[test]
fn a_name_is_never_longer_than_a_folders() {
    let domains: Vec<String> = (10..60).map(|n| format!("department-{n}.example")).collect();
    let name = volume(&format!("nameserver 10.0.0.1\nsearch {}\n", domains.join(" ")));
    assert!(name.len() <= 255 && name.len() > 220, "{name}");
    assert!(name.contains("_sdepartment-10.example_sdepartment-11.example"), "the first of them: {name}");
    assert!(name.ends_with(".example"), "whole ones: {name}");
}

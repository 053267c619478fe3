//! The proxies that the docker CLI gives each container. Pure.

use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;

/// Addresses of proxies as the docker CLI's file has them; any of them may hold credentials.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Proxies {
    #[serde(rename = "httpProxy")]
    http: Option<String>,
    #[serde(rename = "httpsProxy")]
    https: Option<String>,
    /// What is reached without any.
    #[serde(rename = "noProxy")]
    except: Option<String>,
    #[serde(rename = "ftpProxy")]
    ftp: Option<String>,
    #[serde(rename = "allProxy")]
    all: Option<String>,
}

impl Proxies {
    /// One proxy for HTTP and HTTPS, and what is reached without it.
    pub fn of(proxy: Option<&str>, no_proxy: Option<&str>) -> Self {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Self { http: own(proxy), https: own(proxy), except: own(no_proxy), ..Self::default() }
    }

    /// The same, with what `over` says instead: its proxies all together, and its exceptions.
    #[must_use]
    pub fn or(self, over: Self) -> Self {
        let except = over.except.clone().or_else(|| self.except.clone());
        let proxies = if over.addresses().next().is_some() { over } else { self };
        Self { except, ..proxies }
    }

    /// The same without what no container can reach.
    #[must_use]
    pub fn reachable(self) -> Self {
        let keep = |proxy: Option<String>| proxy.filter(|address| !is_loopback(address));
        let kept = Self {
            http: keep(self.http),
            https: keep(self.https),
            ftp: keep(self.ftp),
            all: keep(self.all),
            except: self.except,
        };
        if kept.addresses().next().is_some() { kept } else { Self::default() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.variables().next().is_none()
    }

    /// The variables of a container: each in the two spellings that programs look for.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let both = [
            (["HTTP_PROXY", "http_proxy"], &self.http),
            (["HTTPS_PROXY", "https_proxy"], &self.https),
            (["NO_PROXY", "no_proxy"], &self.except),
            (["FTP_PROXY", "ftp_proxy"], &self.ftp),
            (["ALL_PROXY", "all_proxy"], &self.all),
        ];
        both.into_iter().flat_map(|(names, value)| {
            let value = value.as_deref().filter(|value| !value.is_empty());
            names.into_iter().filter_map(move |name| Some((name, value?)))
        })
    }

    /// The proxies' own addresses, each once.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let mut seen = Vec::new();
        self.variables().filter(|(name, _)| *name != "NO_PROXY" && *name != "no_proxy").filter_map(
            move |(_, value)| {
                let is_new = !seen.contains(&value);
                seen.push(value);
                is_new.then_some(value)
            },
        )
    }

    /// What of the addresses is secret: `USER:PASSWORD`, and the password by itself.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = Vec::new();
        for credentials in self.addresses().filter_map(credentials) {
            secrets.push(credentials.to_owned());
            secrets.extend(credentials.split_once(':').map(|(_, password)| password.to_owned()));
        }
        secrets.retain(|secret| !secret.is_empty());
        secrets
    }

    /// The proxies' addresses for people.
    pub fn shown(&self) -> Vec<String> {
        self.addresses().map(redacted).collect()
    }

    /// Those in somebody's own network, as far as their names tell.
    pub fn local(&self) -> impl Iterator<Item = String> {
        self.addresses().filter(|address| is_local(host(address))).map(redacted)
    }

    /// Those that name the machine that a program runs on: in a container that is another one.
    pub fn on_loopback(&self) -> impl Iterator<Item = String> {
        self.addresses().filter(|address| is_loopback(address)).map(redacted)
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.variables().map(|(name, value)| format!("{name}={}", redacted(value)));
        f.debug_list().entries(shown).finish()
    }
}

/// `USER:PASSWORD` of an address, with or without a scheme.
fn credentials(address: &str) -> Option<&str> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit_once('@').map(|(credentials, _)| credentials).filter(|text| !text.is_empty())
}

/// An address for people.
fn redacted(address: &str) -> String {
    match credentials(address) {
        Some(credentials) => address.replacen(credentials, "[redacted]", 1),
        None => address.to_owned(),
    }
}

/// The host of an address, without brackets.
fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    }
}

/// Whether a host is in a network of somebody's own: by its address, or by a name without a domain.
fn is_local(host: &str) -> bool {
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.is_private() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => address.is_unique_local() || address.is_unicast_link_local(),
        Err(_) => !host.contains('.'),
    }
}

/// Whether a proxy's address is of the loopback network.
fn is_loopback(address: &str) -> bool {
    let bare = host(address);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Proxies {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn each_proxy_is_two_variables() {
        let proxies = read(r#"{"httpProxy": "http://p:1", "noProxy": "a,b", "allProxy": "", "x": 1}"#);
        let variables: Vec<_> = proxies.variables().collect();
        let expected = [
            ("HTTP_PROXY", "http://p:1"),
            ("http_proxy", "http://p:1"),
            ("NO_PROXY", "a,b"),
            ("no_proxy", "a,b"),
        ];
        assert_eq!(variables, expected);
        let names: Vec<_> = read(r#"{"httpsProxy": "x", "ftpProxy": "y", "allProxy": "z"}"#)
            .variables()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            names,
            ["HTTPS_PROXY=x", "https_proxy=x", "FTP_PROXY=y", "ftp_proxy=y", "ALL_PROXY=z", "all_proxy=z"]
        );
        assert!(read("{}").is_empty());
    }

    #[test]
    fn credentials_are_secret_and_never_shown() {
        let proxies = read(r#"{"httpProxy": "http://me:hunter2@p:1/", "httpsProxy": "you:s%40crt@q:2"}"#);
        assert_eq!(proxies.secrets(), ["me:hunter2", "hunter2", "you:s%40crt", "s%40crt"]);
        let shown = format!("{proxies:?}");
        assert!(shown.contains("http://[redacted]@p:1/") && !shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("[redacted]@q:2") && !shown.contains("s%40crt"), "{shown}");
        assert!(read(r#"{"httpProxy": "http://p:1/a@b", "noProxy": "x@y"}"#).secrets().is_empty());
    }

    #[test]
    fn a_proxy_of_this_machine_alone_is_known() {
        for address in [
            "http://127.0.0.1:3128",
            "localhost:1",
            "http://me:pw@LOCALHOST",
            "socks5://[::1]:9",
            "127.1.2.3",
        ] {
            assert!(is_loopback(address), "{address}");
        }
        for address in
            ["http://10.0.0.1:3128", "proxy.example:1", "http://[fd00::1]:1", "http://127.0.0.1@p:1"]
        {
            assert!(!is_loopback(address), "{address}");
        }
        let proxies = read(
            r#"{"httpProxy": "http://127.0.0.1:1", "httpsProxy": "http://127.0.0.1:1", "noProxy": "localhost"}"#,
        );
        assert_eq!(proxies.on_loopback().collect::<Vec<_>>(), ["http://127.0.0.1:1"]);
        assert!(proxies.reachable().is_empty(), "exceptions from nothing are none");
        let mixed =
            read(r#"{"httpProxy": "http://127.0.0.1:1", "httpsProxy": "http://p:1", "noProxy": "a"}"#);
        let names: Vec<_> = mixed.reachable().variables().map(|(name, _)| name).collect();
        assert_eq!(names, ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"]);
    }

    #[test]
    fn a_proxy_in_somebodys_own_network_is_known() {
        for address in
            ["http://me:pw@10.0.0.1:3128", "172.17.0.1", "proxy:1", "http://[fd00::1]:1/", "169.254.0.1"]
        {
            assert!(is_local(host(address)), "{address}");
        }
        for address in ["http://203.0.113.1:3128", "proxy.example:1", "http://[2001:db8::1]:1"] {
            assert!(!is_local(host(address)), "{address}");
        }
        let proxies = read(r#"{"httpProxy": "http://p.example:1", "httpsProxy": "http://me:pw@10.0.0.1:1"}"#);
        assert_eq!(proxies.local().collect::<Vec<_>>(), ["http://[redacted]@10.0.0.1:1"]);
    }

    #[test]
    fn what_is_said_nearer_goes_before() {
        let cli = read(r#"{"httpProxy": "http://p:1", "allProxy": "socks5://p:2", "noProxy": "a"}"#);
        assert_eq!(cli.clone().or(Proxies::default()), cli);
        let own = cli.clone().or(Proxies::of(Some("http://own:1"), None));
        assert_eq!(own, Proxies::of(Some("http://own:1"), Some("a")), "the proxies go together");
        let exceptions = cli.or(Proxies::of(None, Some("b")));
        assert_eq!(exceptions.addresses().next(), Some("http://p:1"));
        assert_eq!(exceptions.except.as_deref(), Some("b"));
    }
}

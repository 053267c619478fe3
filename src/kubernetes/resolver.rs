//! How the API server's name becomes an address. A program with libraries asks the C library, as kubectl does. A static
//! one has none that could load what `/etc/nsswitch.conf` names: it reads `/etc/hosts` and asks the nameservers itself.

#[cfg(any(test, target_feature = "crt-static"))]
mod own;

use hyper_util::client::legacy::connect::HttpConnector;

/// What connects.
#[cfg(not(target_feature = "crt-static"))]
pub(crate) type Connector = HttpConnector;
#[cfg(target_feature = "crt-static")]
pub(crate) type Connector = HttpConnector<own::Nameservers>;

/// Nothing is read or asked yet.
#[cfg(not(target_feature = "crt-static"))]
pub(super) fn connector() -> Connector {
    HttpConnector::new()
}

/// Nothing is read or asked yet.
#[cfg(target_feature = "crt-static")]
pub(super) fn connector() -> Connector {
    HttpConnector::new_with_resolver(own::Nameservers::default())
}

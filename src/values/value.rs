//! How a value is read: one parser per kind, which the file ([`Value`]) and the flags (`FromStr`) share. So both accept
//! and refuse the same values.

/// A kind of value and how it is read.
pub(crate) trait Value: Sized {
    /// Completes «`key` is …».
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Option<Self>;

    /// From a TOML integer or float, in decimal.
    fn from_number(_number: &str) -> Option<Self> {
        None
    }

    fn from_bool(_value: bool) -> Option<Self> {
        None
    }
}

/// A flag's value is not of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct ValueError {
    expected: &'static str,
}

impl ValueError {
    pub(crate) fn expected<T: Value>() -> Self {
        Self { expected: T::EXPECTED }
    }
}

/// Gives each kind the flags' way in.
macro_rules! from_str {
    ($($kind:ty),+) => {$(
        impl std::str::FromStr for $kind {
            type Err = ValueError;

            fn from_str(text: &str) -> Result<Self, ValueError> {
                Self::from_text(text).ok_or(ValueError::expected::<Self>())
            }
        }
    )+};
}

pub(crate) use from_str;

impl Value for String {
    const EXPECTED: &'static str = "a text in quotes";

    fn from_text(text: &str) -> Option<Self> {
        (!text.contains('\0')).then(|| text.to_owned())
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_text(_text: &str) -> Option<Self> {
        None
    }

    fn from_bool(value: bool) -> Option<Self> {
        Some(value)
    }
}

impl Value for std::net::IpAddr {
    const EXPECTED: &'static str = "an IP address such as \"127.0.0.1\"";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for std::net::SocketAddr {
    const EXPECTED: &'static str = "an address with a port such as \"127.0.0.1:18080\"";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for std::num::NonZeroU16 {
    const EXPECTED: &'static str = "a port from 1 to 65535";

    fn from_text(_text: &str) -> Option<Self> {
        None
    }

    fn from_number(number: &str) -> Option<Self> {
        number.parse().ok()
    }
}

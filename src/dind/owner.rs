//! Which home a container belongs to, where several homes share one engine.
//!
//! Labels never change, but both marks of a home may: the authority if its files are lost, the place if the folder or
//! the machine is renamed. So either mark is enough.

use std::collections::HashMap;

use super::certs;
use crate::config::Home;
use crate::dock::labels::machine;

pub use crate::dock::labels::{LABEL_AUTHORITY, LABEL_HOME};

/// A home, as the labels of its container name it.
#[derive(Debug, Clone)]
pub struct Owner {
    place: String,
    authority: Option<String>,
}

impl Owner {
    pub fn of(home: &Home) -> Self {
        Self {
            place: format!("{}:{}", machine(), home.certs.display()),
            authority: certs::fingerprint(&home.certs),
        }
    }

    /// For a container of this home.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let authority = self.authority.as_deref().map(|authority| (LABEL_AUTHORITY, authority));
        [(LABEL_HOME, self.place.as_str())].into_iter().chain(authority)
    }

    /// The other home that a container with these labels belongs to, if it isn't this one's.
    pub fn other(&self, labels: &HashMap<String, String>) -> Option<String> {
        let place = labels.get(LABEL_HOME)?;
        let same_authority =
            self.authority.as_ref().is_some_and(|ours| labels.get(LABEL_AUTHORITY) == Some(ours));
        (*place != self.place && !same_authority).then(|| place.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(place: &str, authority: Option<&str>) -> Owner {
        Owner { place: place.to_owned(), authority: authority.map(str::to_owned) }
    }

    #[test]
    fn a_home_knows_its_own_container_by_either_mark() {
        let made = owner("box:/a", Some("1"));
        let labels = made.labels().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        assert_eq!(made.other(&labels), None);
        assert_eq!(owner("box:/a", Some("2")).other(&labels), None, "its authority was made again");
        assert_eq!(owner("box:/a", None).other(&labels), None, "its certificates are lost");
        assert_eq!(owner("box:/b", Some("1")).other(&labels), None, "its folder was moved");
        for stranger in [owner("box:/b", Some("2")), owner("box:/b", None), owner("den:/a", Some("2"))] {
            assert_eq!(stranger.other(&labels).as_deref(), Some("box:/a"), "{stranger:?}");
        }
    }

    #[test]
    fn nobody_is_the_owner_of_what_says_nothing() {
        assert_eq!(owner("box:/a", None).other(&HashMap::new()), None);
        let without = owner("box:/a", None);
        assert_eq!(without.labels().count(), 1);
        let labels = HashMap::from([(LABEL_HOME.to_owned(), "box:/b".to_owned())]);
        assert!(without.other(&labels).is_some(), "two unknown authorities are not the same");
    }
}

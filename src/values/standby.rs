//! How many containers are kept ready for the next sessions: a number, or what a manager chooses from.

use super::value::{Value, ValueError, from_str};

from_str!(Standby);

/// From so many to so many; a number alone is both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standby {
    least: u32,
    most: u32,
}

impl Standby {
    /// As many as one kind of session may have.
    pub const MOST: u32 = 64;

    /// None at all.
    pub const NONE: Self = Self { least: 0, most: 0 };

    pub const fn fixed(count: u32) -> Self {
        Self { least: count, most: count }
    }

    /// `None` where the least is more than the most, or the most is too many.
    pub fn between(least: u32, most: u32) -> Option<Self> {
        (least <= most && most <= Self::MOST).then_some(Self { least, most })
    }

    pub const fn least(self) -> u32 {
        self.least
    }

    pub const fn most(self) -> u32 {
        self.most
    }

    pub const fn is_none(self) -> bool {
        self.most == 0
    }

    /// Whether there is something to choose.
    pub const fn is_range(self) -> bool {
        self.least < self.most
    }

    /// How many, where nobody chooses: the least, but one at least of a range.
    pub const fn unchosen(self) -> u32 {
        if self.is_range() && self.least == 0 { 1 } else { self.least }
    }

    /// How many, where somebody has chosen `target`. At night that is none, whatever the least is.
    pub fn chosen(self, target: u32) -> u32 {
        if self.is_range() { target.min(self.most) } else { self.least }
    }
}

impl Value for Standby {
    const EXPECTED: &'static str =
        "a number of containers from 0 to 64, or a range such as \"0..8\" that a manager chooses from";

    fn from_text(text: &str) -> Option<Self> {
        let number = |text: &str| text.trim().parse().ok().filter(|count| *count <= Self::MOST);
        match text.split_once("..") {
            None => number(text).map(Self::fixed),
            Some((least, most)) => Self::between(number(least)?, number(most)?),
        }
    }

    fn from_number(number: &str) -> Option<Self> {
        number.parse().ok().filter(|count| *count <= Self::MOST).map(Self::fixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_a_range() {
        let read = |text: &str| text.parse::<Standby>().ok();
        assert_eq!(read("3"), Some(Standby::fixed(3)));
        assert_eq!(read("0..8"), Standby::between(0, 8));
        let number = |number: &str| Standby::from_number(number);
        assert_eq!([number("64"), number("65")], [Some(Standby::fixed(64)), None]);
        assert_eq!(read("2 .. 4"), Standby::between(2, 4));
        for wrong in ["65", "-1", "4..2", "0..65", "1.5", "..", "x", "", "4294967296"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn who_chooses_and_who_does_not() {
        let range = |least, most| Standby::between(least, most).unwrap();
        let unchosen = [Standby::NONE, Standby::fixed(3), range(0, 8), range(2, 8), range(0, 0)];
        assert_eq!(unchosen.map(Standby::unchosen), [0, 3, 1, 2, 0]);
        assert_eq!([0, 5, 99].map(|target| range(2, 8).chosen(target)), [0, 5, 8], "none at night");
        assert_eq!([0, 5].map(|target| Standby::fixed(3).chosen(target)), [3, 3], "it is nobody's to choose");
        assert!(range(0, 0).is_none() && !Standby::fixed(1).is_range());
    }
}

//! Short byte strings without a heap allocation, long ones shared. Made for ids, which are nearly always short.
use std::sync::Arc;

/// With the length and the tag it makes three words, where the shared form alone would make two and a tag.
const SHORT: usize = 22;

/// Equal bytes are always in the same form, and unused bytes are zero: the derived `Eq` and `Hash` are right.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct InlineBytes(Form);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Arc<[u8]>),
}

impl InlineBytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Form::Short { len, bytes } => &bytes[..usize::from(*len)],
            Form::Long(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for InlineBytes {
    fn from(from: &[u8]) -> Self {
        match u8::try_from(from.len()) {
            Ok(len) if from.len() <= SHORT => {
                let mut bytes = [0; SHORT];
                bytes[..from.len()].copy_from_slice(from);
                Self(Form::Short { len, bytes })
            }
            _ => Self(Form::Long(from.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_it_was_given_on_both_sides_of_the_border() {
        for len in [0, 1, SHORT - 1, SHORT, SHORT + 1, 255, 256, 5_000] {
            let bytes: Vec<u8> = (0u8..=250).cycle().take(len).collect();
            let kept = InlineBytes::from(bytes.as_slice());
            assert_eq!(kept.as_slice(), bytes);
            assert_eq!(matches!(kept.0, Form::Short { .. }), len <= SHORT, "{len} bytes");
        }
        assert_eq!(size_of::<InlineBytes>(), 24);
    }

    #[test]
    fn a_trailing_zero_byte_counts() {
        assert!(InlineBytes::from(b"a".as_slice()) != InlineBytes::from(b"a\0".as_slice()));
    }
}

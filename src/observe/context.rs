//! The place of a request in its client's trace (W3C Trace Context, level 1), and berth's own span there.
//!
//! The form is `VERSION-TRACE-PARENT-FLAGS` in lower-case hexadecimal digits, 55 bytes in all.

/// The version that berth writes.
const VERSION: &str = "00";
/// Of a trace that berth begins: its history has the span.
const SAMPLED: &str = "01";

/// Where a request stands, as its server hears of it: in berth's own span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    traceparent: Box<str>,
    begins_trace: bool,
}

impl TraceContext {
    /// A part of the client's trace, if the request has a `traceparent` that is right; else the first span of a trace.
    /// `random`: the id of the span, and that of such a trace.
    pub fn new(of_client: Option<&str>, random: (u64, u128)) -> Self {
        let (id, trace) = random;
        let parent = of_client.filter(|text| is_traceparent(text));
        let (trace, flags) = parent
            .map_or_else(|| (format!("{trace:032x}"), SAMPLED), |text| (text[3..35].to_owned(), &text[53..]));
        let traceparent = format!("{VERSION}-{trace}-{id:016x}-{flags}").into();
        Self { traceparent, begins_trace: parent.is_none() }
    }

    /// What the server gets.
    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// The id of berth's span, sixteen digits.
    pub(super) fn span(&self) -> &str {
        &self.traceparent[36..52]
    }

    /// The trace that begins with the span; `None`: it is the client's.
    pub(super) fn trace(&self) -> Option<&str> {
        self.begins_trace.then(|| &self.traceparent[3..35])
    }
}

/// Whether a text is in W3C's form. Ids of zeros alone are none, and there is no version `ff`.
pub(super) fn is_traceparent(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([2, 32, 16, 2])
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
        && !text.starts_with("ff")
        && text.split('-').skip(1).take(2).all(|id| id.bytes().any(|digit| digit != b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM: (u64, u128) = (0xab, 0xcd);
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    #[test]
    fn a_part_of_the_clients_trace_keeps_its_trace_and_its_flags() {
        let context = TraceContext::new(Some(PARENT), RANDOM);
        assert_eq!(context.traceparent(), "00-0af7651916cd43dd8448eb211c80319c-00000000000000ab-00");
        assert_eq!((context.span(), context.trace()), ("00000000000000ab", None));
        let later = TraceContext::new(Some(&PARENT.replace("00-0a", "01-0a")), RANDOM);
        assert_eq!(later, context, "berth writes the version that it knows");
    }

    #[test]
    fn without_a_right_context_a_trace_begins() {
        let zeros =
            |from: usize, to: usize| [&PARENT[..from], &"0".repeat(to - from), &PARENT[to..]].concat();
        for wrong in [
            None,
            Some(""),
            Some(&*PARENT.to_uppercase()),
            Some(&*PARENT.replace("00-0a", "ff-0a")),
            Some(&*format!("{PARENT}-more")),
            Some(&*zeros(3, 35)),
            Some(&*zeros(36, 52)),
        ] {
            let context = TraceContext::new(wrong, RANDOM);
            assert_eq!(context.traceparent(), format!("00-{:032x}-{:016x}-01", 0xcd, 0xab), "{wrong:?}");
            assert_eq!(context.trace(), Some(format!("{:032x}", 0xcd).as_str()));
        }
    }
}

//! As much of a DNS message (RFC 1035, section 4) as forwarding it needs.

const HEADER: usize = 12;
/// Of the third byte: an answer.
const IS_ANSWER: u8 = 0x80;
/// Of the third byte: what kind of question, and whether others may be asked.
const KEPT: u8 = 0x79;
/// The fourth byte of an answer that there is none (`RA`, and `SERVFAIL`).
const FAILED: u8 = 0x82;
/// A name is at most this long.
const NAME: usize = 255;

/// Whether it may be passed on: who sends us answers wants something else.
pub(in super::super) fn is_question(message: &[u8]) -> bool {
    message.len() > HEADER && message[2] & IS_ANSWER == 0
}

/// Whether it is the answer to this question, as far as can be told.
pub(in super::super) fn answers(answer: &[u8], question: &[u8]) -> bool {
    answer.len() >= HEADER && answer[2] & IS_ANSWER != 0 && answer[..2] == question[..2]
}

/// Whether another server may know better: `SERVFAIL`, `NOTIMP`, `REFUSED`.
pub(in super::super) fn is_refusal(answer: &[u8]) -> bool {
    matches!(code(answer), 2 | 4 | 5)
}

/// An answer's code: 0 for one that has what was asked for, or says that a name which is there has none of it.
pub(in super::super) fn code(answer: &[u8]) -> u8 {
    answer.get(3).copied().unwrap_or_default() & 0xf
}

/// Asks for the IPv4 address of a name; `None` if it is no name.
pub(in super::super) fn question(name: &str, number: [u8; 2]) -> Option<Vec<u8>> {
    let [first, second] = number;
    // One question; whoever is asked may ask others (`RD`).
    let mut question = vec![first, second, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        question.push(length);
        question.extend_from_slice(label.as_bytes());
    }
    // The end of the name; type A, class IN.
    question.extend([0, 0, 1, 0, 1]);
    Some(question)
}

/// `SERVFAIL` for a question that nobody answers. One that cannot be read is given none.
pub(in super::super) fn failure(question: &[u8]) -> Option<Vec<u8>> {
    let header = question.first_chunk::<HEADER>().filter(|header| header[4..6] == [0, 1])?;
    let mut end = HEADER;
    loop {
        match usize::from(*question.get(end)?) {
            0 => break,
            label @ 1..64 if end - HEADER < NAME => end += 1 + label,
            _ => return None,
        }
    }
    // The end of the name, type and class.
    let mut answer = question.get(..end + 5)?.to_vec();
    answer[2] = IS_ANSWER | header[2] & KEPT;
    answer[3] = FAILED;
    answer[6..HEADER].fill(0);
    Some(answer)
}

//! A client's batch (revision 2025-03-26): its parts go to whom they concern, and their answers come as one array.

use std::collections::HashMap;

use bytes::Bytes;

use crate::rpc::RequestId;

/// A batch that has answers to come.
#[derive(Debug, Default)]
struct Batch {
    missing: usize,
    answers: Vec<Bytes>,
}

#[derive(Debug, Default)]
pub(super) struct Batches {
    open: HashMap<u64, Batch>,
    by_id: HashMap<RequestId, u64>,
    /// The one whose parts are being looked at.
    present: Option<u64>,
    counter: u64,
}

impl Batches {
    /// A batch with requests of these ids; what is answered without an id meanwhile is a part of it, too.
    pub(super) fn begin(&mut self, ids: Vec<RequestId>) {
        self.counter += 1;
        let mut missing = 0;
        for id in ids {
            // A second one of the same id is refused by its own answer.
            missing += 1;
            self.by_id.insert(id, self.counter);
        }
        self.open.insert(self.counter, Batch { missing, answers: Vec::new() });
        self.present = Some(self.counter);
    }

    /// All its parts were looked at. Gives its answer where nothing more is to come.
    pub(super) fn end(&mut self) -> Option<Bytes> {
        let number = self.present.take()?;
        self.whole(number)
    }

    /// An answer to a request of a batch, or a line of its own: gives what is to be written now.
    pub(super) fn add(&mut self, id: Option<&RequestId>, line: Bytes) -> Option<Bytes> {
        let Some(number) = id.and_then(|id| self.by_id.get(id).copied()) else { return Some(line) };
        if let Some(batch) = self.open.get_mut(&number) {
            batch.answers.push(line);
            batch.missing = batch.missing.saturating_sub(1);
            if batch.missing == 0
                && let Some(id) = id
            {
                self.by_id.remove(id);
            }
        }
        if self.present == Some(number) { None } else { self.whole(number) }
    }

    /// An answer to a part of the present batch that has no id.
    pub(super) fn add_nameless(&mut self, line: Bytes) -> Option<Bytes> {
        match self.present.and_then(|number| self.open.get_mut(&number)) {
            Some(batch) => {
                batch.answers.push(line);
                None
            }
            None => Some(line),
        }
    }

    /// The request of this id gets no answer.
    pub(super) fn forget(&mut self, id: &RequestId) -> Option<Bytes> {
        let number = self.by_id.remove(id)?;
        let batch = self.open.get_mut(&number)?;
        batch.missing = batch.missing.saturating_sub(1);
        if self.present == Some(number) { None } else { self.whole(number) }
    }

    fn whole(&mut self, number: u64) -> Option<Bytes> {
        self.open.get(&number).filter(|batch| batch.missing == 0)?;
        let answers = self.open.remove(&number)?.answers;
        self.by_id.retain(|_, batch| *batch != number);
        if answers.is_empty() {
            return None;
        }
        let answers: Vec<&[u8]> = answers.iter().map(|answer| answer.trim_ascii_end()).collect();
        Some([b"[", &answers.join(&b","[..])[..], b"]\n"].concat().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::raw::Raw;

    fn id(json: &str) -> RequestId {
        RequestId::from_raw(Raw::parse(json).unwrap()).unwrap()
    }

    #[test]
    fn the_answers_come_together_once_all_are_there() {
        let mut batches = Batches::default();
        batches.begin(vec![id("1"), id("2")]);
        assert_eq!(batches.add(Some(&id("1")), "a\n".into()), None);
        assert_eq!(batches.add_nameless("c\n".into()), None);
        assert_eq!(batches.end(), None);
        assert_eq!(batches.add(Some(&id("3")), "z\n".into()).unwrap(), "z\n", "none of its own");
        assert_eq!(batches.add_nameless("y\n".into()).unwrap(), "y\n", "it is not looked at any more");
        assert_eq!(batches.add(Some(&id("2")), "b\n".into()).unwrap(), "[a,c,b]\n");
        assert_eq!(batches.add(Some(&id("2")), "b\n".into()).unwrap(), "b\n", "it is over");
    }

    #[test]
    fn a_batch_that_is_answered_while_it_is_looked_at_comes_at_its_end() {
        let mut batches = Batches::default();
        batches.begin(vec![id("1")]);
        assert_eq!(batches.add(Some(&id("1")), "a\n".into()), None);
        assert_eq!(batches.end().unwrap(), "[a]\n");
        batches.begin(Vec::new());
        assert_eq!(batches.end(), None, "notifications have no answer");
    }

    #[test]
    fn what_is_cancelled_is_not_waited_for() {
        let mut batches = Batches::default();
        batches.begin(vec![id("1"), id("2")]);
        assert_eq!(batches.end(), None);
        assert_eq!(batches.add(Some(&id("1")), "a\n".into()), None);
        assert_eq!(batches.forget(&id("2")).unwrap(), "[a]\n");
    }

    #[test]
    fn one_id_twice_has_two_answers() {
        let mut batches = Batches::default();
        batches.begin(vec![id("1"), id("1")]);
        assert_eq!(batches.add(Some(&id("1")), "refused\n".into()), None);
        assert_eq!(batches.end(), None);
        assert_eq!(batches.add(Some(&id("1")), "a\n".into()).unwrap(), "[refused,a]\n");
    }
}

//! Requests on their way into a session's history: many are written at once, so that none wakes the writer.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::{Entry, Journal};
use crate::observe::outcome::CallRecord;

/// A request is in the file after this time.
const WRITTEN_WITHIN: Duration = Duration::from_millis(250);

/// So many are passed on at once: one call of a hundred may meet the writer on its processor, but no more of them.
const TOGETHER: usize = 512;

/// So many lines a client can have written for each second, and at once.
const RATE: u64 = 1500;
const BURST: u64 = 6000;

/// Requests that have ended, and are not passed on yet.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Vec<CallRecord>>);

/// How many lines may be written now, as of `at`.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u64,
    at: Timestamp,
}

impl Allowance {
    pub(super) fn new(at: Timestamp) -> Self {
        Self { left: BURST, at }
    }

    /// Whether one more may be written at `time`.
    pub(super) fn allow(&mut self, time: Timestamp) -> bool {
        let elapsed = time.duration_since(self.at).as_millis().clamp(0, 1 << 20);
        let more = RATE * u64::try_from(elapsed).unwrap_or(0) / 1000;
        if more > 0 {
            self.left = (self.left + more).min(BURST);
            self.at = time;
        }
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

impl Journal {
    /// Whether requests leave lines.
    pub(in crate::observe) fn has_calls(&self) -> bool {
        self.0.calls.is_some()
    }

    /// Of a name so much more is kept than is shown (bytes).
    pub(in crate::observe) fn margin(&self) -> usize {
        self.0.redactor.margin()
    }

    /// A request has ended.
    pub(in crate::observe) fn call(&self, record: CallRecord) {
        let Some(waiting) = &self.0.calls else { return };
        let mut calls = waiting.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(record);
        let (is_first, are_many) = (calls.len() == 1, calls.len() >= TOGETHER);
        drop(calls);
        if are_many {
            return self.pass_calls_on();
        }
        if is_first {
            let journal = self.clone();
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(async move {
                    tokio::time::sleep(WRITTEN_WITHIN).await;
                    journal.pass_calls_on();
                })),
                Err(_) => self.pass_calls_on(),
            }
        }
    }

    /// Gives the writer what has waited.
    pub(super) fn pass_calls_on(&self) {
        let Some(waiting) = &self.0.calls else { return };
        let calls = std::mem::take(&mut *waiting.0.lock().unwrap_or_else(PoisonError::into_inner));
        if !calls.is_empty() {
            let size = calls.iter().map(CallRecord::size).sum();
            self.0.queue.offer_several(calls.len() as u64, size, || Entry::Calls(calls));
        }
    }
}

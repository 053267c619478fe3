//! Gives each request of the client's a `traceparent` in `params._meta` (MCP, SEP-414), where the setting asks for it.
//!
//! A request that a program after berth may read otherwise than berth stays as it is.

use ring::rand::{SecureRandom, SystemRandom};

use super::{Edit, members};
use crate::config::Settings;
use crate::observe::TraceContext;
use crate::rpc::Envelope;
use crate::rpc::raw::{self, Raw};

/// Where the ids of spans and traces come from.
#[derive(Debug, Clone)]
pub struct ContextRules(SystemRandom);

impl ContextRules {
    pub(super) fn of(settings: &Settings) -> Option<Self> {
        settings.trace_context.then(|| Self(SystemRandom::new()))
    }

    /// Puts berth's span into a request, a part of the text that is edited. `None`: it stays as it is.
    pub(in crate::session) fn write<'a>(
        &self,
        edit: &mut Edit<'a>,
        request: &Envelope<'a>,
    ) -> Option<TraceContext> {
        let params = request.params.filter(|params| params.get().starts_with('{'))?;
        let [meta] = members(params, ["_meta"])?;
        if meta.is_ambiguous {
            return None;
        }
        let (mut span, mut trace) = ([0; 8], [0; 16]);
        self.0.fill(&mut span).and_then(|()| self.0.fill(&mut trace)).ok()?;
        let random = (u64::from_be_bytes(span), u128::from_be_bytes(trace));
        let Some(meta) = meta.value else {
            let context = TraceContext::new(None, random);
            insert(edit, params, &format!("\"_meta\":{{{}}}", member(&context)))?;
            return Some(context);
        };
        let [before] = members(meta, ["traceparent"])?;
        if before.is_ambiguous {
            return None;
        }
        let context = TraceContext::new(before.value.and_then(raw::string).as_deref(), random);
        match before.value {
            Some(value) => {
                let place = value.place(edit.text)?;
                edit.replace(place, format!("\"{}\"", context.traceparent()).as_bytes());
            }
            None => insert(edit, meta, &member(&context))?,
        }
        Some(context)
    }
}

fn member(context: &TraceContext) -> String {
    format!("\"traceparent\":\"{}\"", context.traceparent())
}

/// Puts a member before those that the object has.
fn insert<'a>(edit: &mut Edit<'a>, object: Raw<'a>, member: &str) -> Option<()> {
    let at = object.place(edit.text)?.start + 1;
    let is_empty = object.get()[1..].trim_start().starts_with('}');
    let comma = if is_empty { "" } else { "," };
    edit.replace(at..at, format!("{member}{comma}").as_bytes());
    Some(())
}

#[cfg(test)]
mod tests;

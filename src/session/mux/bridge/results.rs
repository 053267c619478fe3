//! An older server's answers as 2026-07-28 has them.

use super::text::{INTERNAL_ERROR, MOST_QUESTIONS, replaced, with_members};
use crate::rpc::error_object::INVALID_PARAMS;
use crate::rpc::raw::{self, Raw};
use crate::rpc::{Envelope, Kind};

/// Codes of 2025-11-25 that nobody may use any more.
const NO_RESOURCE: &str = "-32002";
const VISIT_FIRST: &str = "-32042";

/// A result as the new era has it: of a type, and told how long it may be kept. An error without the codes of before.
pub(super) fn body<'a>(envelope: &Envelope<'a>, method: &str) -> (Option<Raw<'a>>, Option<String>) {
    if let Some(error) = envelope.error.filter(|_| envelope.kind == Kind::ErrorResponse) {
        let code = raw::member(error, "code");
        let new = match code.map(Raw::get) {
            Some(NO_RESOURCE) => INVALID_PARAMS,
            Some(VISIT_FIRST) => INTERNAL_ERROR,
            _ => return (None, None),
        };
        return (Some(error), code.map(|code| replaced(error, code, &new.to_string())));
    }
    let Some(result) = envelope.result.filter(|result| result.get().starts_with('{')) else {
        return (None, None);
    };
    let mut more = Vec::new();
    if raw::member(result, "resultType").is_none() {
        more.push("\"resultType\":\"complete\"");
    }
    if method == "resources/read" && raw::member(result, "ttlMs").is_none() {
        more.push("\"ttlMs\":0,\"cacheScope\":\"private\"");
    }
    match &more[..] {
        [] => (None, None),
        more => (Some(result), Some(with_members(result, &more.join(",")))),
    }
}

/// The pages that are to be visited before the request is made again.
pub(super) fn visits(error: Raw<'_>, capabilities: &str) -> Option<String> {
    let is_it = raw::member(error, "code").map(Raw::get) == Some(VISIT_FIRST);
    let can = Raw::parse(capabilities)
        .and_then(|all| raw::member(raw::member(all, "elicitation")?, "url"))
        .is_some();
    let all = raw::member(raw::member(error, "data")?, "elicitations").filter(|_| is_it && can)?;
    let mut requests = Vec::new();
    raw::elements(all, |visit| {
        requests.push(format!(
            "\"{}\":{{\"method\":\"elicitation/create\",\"params\":{}}}",
            requests.len() + 1,
            visit.get()
        ));
    })?;
    (!requests.is_empty() && requests.len() <= MOST_QUESTIONS).then(|| {
        format!("{{\"resultType\":\"input_required\",\"inputRequests\":{{{}}}}}", requests.join(","))
    })
}

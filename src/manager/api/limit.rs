//! How long an answer is, and where it goes on.

use std::str::FromStr;

use crate::index::query::MOST;
use crate::web::problem::Problem;

/// Unless the request says more.
const USUAL: u32 = 100;

/// How many entries are wanted.
pub(super) fn limit(said: Option<u32>) -> Result<u32, Problem> {
    let limit = said.unwrap_or(USUAL);
    if (1..=MOST).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::bad_request(format!("`limit` is {limit}, and must be from 1 to {MOST}")))
}

/// Where a former answer ended.
pub(super) fn after<T: FromStr>(said: Option<&str>) -> Result<Option<T>, Problem> {
    let place = said.map(str::parse).transpose();
    place.map_err(|_| Problem::bad_request("`after` must be the `next` of a former answer"))
}

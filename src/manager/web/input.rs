//! What a request says, or a problem: axum's own extractors refuse in plain text.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path as AxumPath, Query as AxumQuery, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};

use super::problem::Problem;

/// What stands behind the `?`.
#[derive(Debug, Clone)]
pub(crate) struct Query<T>(pub(crate) T);

/// What stands in the path.
#[derive(Debug, Clone)]
pub(crate) struct Path<T>(pub(crate) T);

/// What the body says in JSON.
#[derive(Debug, Clone)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = AxumQuery::<T>::from_request_parts(parts, state).await;
        query
            .map(|AxumQuery(query)| Self(query))
            .map_err(|error: QueryRejection| refused("query", &error.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = AxumPath::<T>::from_request_parts(parts, state).await;
        path.map(|AxumPath(path)| Self(path))
            .map_err(|error: PathRejection| refused("path", &error.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Json::<T>::from_request(request, state).await;
        body.map(|Json(body)| Self(body)).map_err(|error: JsonRejection| match error.status() {
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => refused("body", &error.body_text()),
            status => Problem::new(status, error.body_text()),
        })
    }
}

/// A number without a part behind the point: JSON Schema calls `11.0` an integer, too (2020-12 core, 4.2.3).
pub(crate) fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    // `-0` is 0.
    let number = f64::deserialize(from)? + 0.0;
    let whole = (number.fract() == 0.0).then(|| format!("{number:.0}").parse().ok()).flatten();
    whole.ok_or_else(|| D::Error::custom(format!("{number} is no number from 0 to {}", u32::MAX)))
}

/// axum begins with what it wanted to do: `Failed to deserialize query string: limit: invalid digit`.
fn refused(what: &str, text: &str) -> Problem {
    let why = text.split_once(": ").map_or(text, |(_, why)| why);
    Problem::bad_request(format!("cannot read the {what}: {why}"))
}

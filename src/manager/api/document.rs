//! The description of the API (OpenAPI): what is said of every operation alike.

use axum::http::StatusCode;
use utoipa::PartialSchema;
use utoipa::ToSchema;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, OpenApi, PathItem, Ref, Response, ResponseBuilder,
    path::Operation,
};

use crate::web::problem::Problem;

/// What the token is called there.
const SCHEME: &str = "token";

/// Whatever is asked, this may be the answer.
const EVERYWHERE: [(StatusCode, &str); 4] = [
    (StatusCode::BAD_REQUEST, "the request is malformed"),
    (StatusCode::FORBIDDEN, "a foreign `Host`, or a page of another origin"),
    (StatusCode::TOO_MANY_REQUESTS, "too many requests at once"),
    (StatusCode::SERVICE_UNAVAILABLE, "the daemon, the index or the configuration gives no answer"),
];

/// The same description; its operations need the token.
pub(super) fn of(mut api: OpenApi) -> OpenApi {
    for operation in api.paths.paths.values_mut().flat_map(operations) {
        operation.security = Some(vec![SecurityRequirement::new(SCHEME, [""; 0])]);
        add(operation, StatusCode::UNAUTHORIZED, "no token, or a wrong token");
    }
    api
}

/// The whole description.
pub(super) fn finished(mut api: OpenApi) -> OpenApi {
    for operation in api.paths.paths.values_mut().flat_map(operations) {
        for (status, description) in EVERYWHERE {
            add(operation, status, description);
        }
    }
    api.info = InfoBuilder::new()
        .title("berth-manager")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("The sessions of a state folder, its daemon's containers, and its servers."))
        .build();
    let components = api.components.get_or_insert_with(Components::new);
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    let mut http = Http::new(HttpAuthScheme::Bearer);
    http.description = Some("`berth manager token` prints it.".to_owned());
    components.add_security_scheme(SCHEME, SecurityScheme::Http(http));
    api
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, .. } = path;
    [get, put, post, delete, patch].into_iter().flatten()
}

/// An operation's own words go before these.
fn add(operation: &mut Operation, status: StatusCode, description: &str) {
    let responses = &mut operation.responses.responses;
    responses.entry(status.as_str().to_owned()).or_insert_with(|| problem(description).into());
}

fn problem(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
    ResponseBuilder::new().description(description).content("application/problem+json", content).build()
}

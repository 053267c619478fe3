//! Who it is that tells: the same at each start of the manager.

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;

const NAME: &str = "mcp-berth";

/// What `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` add stands beside it. `instance` is of one state folder.
pub(super) fn of(instance: &str) -> Resource {
    let said = opentelemetry_sdk::Resource::builder().build();
    let mut attributes = ResourceAttributesWithSchema::from(&said).attributes.0;
    let mut ours = vec![("service.version", env!("CARGO_PKG_VERSION")), ("service.instance.id", instance)];
    if std::env::var_os("OTEL_SERVICE_NAME").is_none_or(|name| name.is_empty()) {
        ours.push(("service.name", NAME));
    }
    attributes.retain(|attribute| !ours.iter().any(|(key, _)| *key == attribute.key));
    attributes.extend(ours.into_iter().map(|(key, value)| text(key, value)));
    attributes.sort_by(|one, other| one.key.cmp(&other.key));
    Resource { attributes, ..Resource::default() }
}

/// Whose telemetry it is within the resource.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: NAME.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

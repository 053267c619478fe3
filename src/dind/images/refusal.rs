//! Why a registry gave no image, by what a daemon says of it.

use crate::dock::docker::DockerError;
use crate::docker_cli::registry;

/// Why a registry gave no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dind) enum Refusal {
    /// It has none of that name.
    Unknown,
    /// It wants to know who asks, or does not give it to whoever did.
    Denied,
    /// It could not be asked, or not like this.
    Other,
}

impl Refusal {
    pub(in crate::dind) fn of(error: &DockerError, image: &str) -> Self {
        const DENIED: [&str; 8] = [
            "unauthorized",
            "no basic auth credentials",
            "authentication required",
            "authorization failed",
            "401 Unauthorized",
            "403 Forbidden",
            "access denied",
            "requested access to the resource is denied",
        ];
        const UNKNOWN: [&str; 3] = ["manifest unknown", "not found", "does not exist"];
        let DockerError::Refused { message, status, .. } = error else { return Self::Other };
        let says = |sayings: &[&str]| sayings.iter().any(|saying| message.contains(saying));
        // Docker Hub denies access to what is not there as well, and says so.
        let is_hubs = registry(image) == "docker.io" && message.contains("does not exist");
        if says(&DENIED) && !is_hubs {
            Self::Denied
        } else if *status == 404 || says(&UNKNOWN) {
            Self::Unknown
        } else {
            Self::Other
        }
    }
}

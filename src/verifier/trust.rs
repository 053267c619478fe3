//! Which certificate authorities and logs are believed: those of a file, or sigstore's public ones. These come by TUF,
//! which proves that they are the current ones. A list that came with the program is never a substitute: it would not
//! know what was withdrawn.

use std::path::Path;
use std::time::Duration;

use sigstore_verify::trust_root::{TrustedRoot, TufConfig};

/// Before the kept copy is looked at. `berth` waits for a minute.
const WITHIN: Duration = Duration::from_secs(20);

pub(crate) fn parse(json: &str) -> Result<TrustedRoot, String> {
    TrustedRoot::from_json(json).map_err(|error| error.to_string())
}

/// Of sigstore's public instance. Without the network, the copy in `cache`, as long as TUF says that it holds.
pub(crate) async fn public(cache: &Path) -> Result<TrustedRoot, String> {
    let config = TufConfig::production().with_cache_dir(cache.to_owned());
    let fetched = tokio::time::timeout(WITHIN, TrustedRoot::from_tuf(config.clone())).await;
    let why = match fetched {
        Ok(Ok(root)) => return Ok(root),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", WITHIN.as_secs()),
    };
    // Proved again from its root on, expiry included.
    TrustedRoot::from_tuf(config.offline()).await.map_err(|_| why)
}

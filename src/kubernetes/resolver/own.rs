//! `/etc/hosts` and the nameservers of `/etc/resolv.conf`, without the C library.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::OnceCell;
use tower_service::Service;

/// Who knows addresses; the files are read with the first question.
#[derive(Clone, Default)]
pub(crate) struct Nameservers(Arc<OnceCell<TokioResolver>>);

impl Nameservers {
    async fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, NetError> {
        let open = async || TokioResolver::builder_tokio()?.build();
        let found = self.0.get_or_try_init(open).await?.lookup_ip(name).await?;
        Ok(found.iter().map(|address| SocketAddr::new(address, 0)).collect())
    }
}

impl Service<Name> for Nameservers {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NetError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NetError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NetError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let nameservers = self.clone();
        Box::pin(async move { Ok(nameservers.addresses(name.as_str()).await?.into_iter()) })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn this_machines_own_name_is_known() {
        let found: Vec<SocketAddr> =
            Nameservers::default().call("localhost".parse().unwrap()).await.unwrap().collect();
        assert!(found.contains(&(Ipv4Addr::LOCALHOST, 0).into()), "{found:?}");
    }
}

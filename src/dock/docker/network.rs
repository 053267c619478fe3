//! Networks of an engine, and the containers in them. One of the few files that name bollard.

use std::collections::HashMap;

use bollard::models::{
    Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters as query;
use ipnet::Ipv4Net;

use super::error::{absent, explain};
use super::{DockerError, Engine};

/// What a container is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// As it was created: `bridge`, `host`, `none`, `container:ID` or a network's name.
    pub mode: String,
    /// The networks' names, in no order.
    pub networks: Vec<String>,
}

impl Engine {
    /// What a container is attached to, if there is one.
    pub async fn attached(&self, name: &str) -> Result<Option<Attached>, DockerError> {
        let options = None::<query::InspectContainerOptions>;
        let found = self.docker.inspect_container(name, options).await;
        let found = absent(found.map_err(explain("inspect the container", name)))?;
        Ok(found.map(|container| {
            let mode = container.host_config.and_then(|host| host.network_mode).unwrap_or_default();
            let networks = container.network_settings.and_then(|settings| settings.networks);
            Attached { mode, networks: networks.unwrap_or_default().into_keys().collect() }
        }))
    }

    /// Creates a network of this engine alone that leads nowhere: who is in it reaches the others in it, and nobody's
    /// default route goes by it. Without a `subnet` the engine takes the next of its pools.
    pub async fn create_network(
        &self,
        name: &str,
        subnet: Option<Ipv4Net>,
        labels: HashMap<String, String>,
    ) -> Result<(), DockerError> {
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            internal: Some(true),
            ipam: subnet.map(|subnet| Ipam {
                config: Some(vec![IpamConfig { subnet: Some(subnet.to_string()), ..Default::default() }]),
                ..Default::default()
            }),
            labels: Some(labels),
            ..Default::default()
        };
        self.docker.create_network(request).await.map(drop).map_err(explain("create the network", name))
    }

    /// The labels of a network, if there is one.
    pub async fn network_labels(&self, name: &str) -> Result<Option<HashMap<String, String>>, DockerError> {
        let options = None::<query::InspectNetworkOptions>;
        let found = self.docker.inspect_network(name, options).await;
        let found = absent(found.map_err(explain("inspect the network", name)))?;
        Ok(found.map(|network| network.labels.unwrap_or_default()))
    }

    /// The IPv4 networks that one network of the engine has.
    pub async fn network_subnets(&self, name: &str) -> Result<Vec<Ipv4Net>, DockerError> {
        let options = None::<query::InspectNetworkOptions>;
        let found = self.docker.inspect_network(name, options).await;
        let network = found.map_err(explain("inspect the network", name))?;
        let subnets = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        Ok(subnets.into_iter().filter_map(|config| config.subnet?.parse().ok()).collect())
    }

    /// Attaches a container to a network; false if it was already.
    pub async fn connect(&self, network: &str, container: &str) -> Result<bool, DockerError> {
        let request = NetworkConnectRequest { container: container.to_owned(), endpoint_config: None };
        let connected = self.docker.connect_network(network, request).await;
        match connected.map_err(explain("connect to a network the container", container)) {
            Ok(()) => Ok(true),
            Err(DockerError::Refused { message, .. }) if message.contains("already exists in network") => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes a container out of a network, one that doesn't run too, and one whose network is gone.
    pub async fn disconnect(&self, network: &str, container: &str) -> Result<(), DockerError> {
        let request = NetworkDisconnectRequest { container: container.to_owned(), force: Some(true) };
        let disconnected = self.docker.disconnect_network(network, request).await;
        disconnected.map_err(explain("disconnect from a network the container", container))
    }

    /// The ids of the containers that are attached to a network or will be when they start again.
    pub async fn members(&self, network: &str) -> Result<Vec<String>, DockerError> {
        let filters = HashMap::from([("network".to_owned(), vec![network.to_owned()])]);
        let options =
            query::ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let rows = self.docker.list_containers(Some(options)).await;
        let rows = rows.map_err(explain("list the containers that are in the network", network))?;
        Ok(rows.into_iter().filter_map(|row| row.id).collect())
    }

    /// Removes a network that nobody is attached to; false if there was none.
    pub async fn remove_network(&self, name: &str) -> Result<bool, DockerError> {
        let removed = self.docker.remove_network(name).await;
        Ok(absent(removed.map_err(explain("remove the network", name)))?.is_some())
    }
}

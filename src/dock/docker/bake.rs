//! Makes images of containers. One of the few files that name bollard.

use bollard::models::ContainerConfig;
use bollard::query_parameters as query;
use serde_json::Value;

use super::error::explain;
use super::{DockerError, Engine};

impl Engine {
    /// Makes an image of a container's file system, with the Engine API's own JSON as its configuration; gives its id.
    pub async fn commit(&self, container: &str, image: &str, config: Value) -> Result<String, DockerError> {
        const OP: &str = "make an image of the container";
        let config: ContainerConfig =
            serde_json::from_value(config).map_err(|error| DockerError::broken(OP, container, error))?;
        let (repo, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
        let options = query::CommitContainerOptions {
            container: Some(container.to_owned()),
            repo: Some(repo.to_owned()),
            tag: Some(tag.to_owned()),
            pause: false,
            ..Default::default()
        };
        let committed =
            self.docker.commit_container(options, config).await.map_err(explain(OP, container))?;
        Ok(committed.id)
    }

    /// Gives an image another name.
    pub async fn tag(&self, image: &str, name: &str) -> Result<(), DockerError> {
        let (repo, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        let options = query::TagImageOptions { repo: Some(repo.to_owned()), tag: Some(tag.to_owned()) };
        self.docker.tag_image(image, Some(options)).await.map_err(explain("name the image", image))
    }
}

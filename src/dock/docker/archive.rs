//! Files of containers as archives, streamed. One of the few files that name bollard.

use bollard::query_parameters as query;
use bytes::Bytes;
use futures::Stream;

use super::error::explain;
use super::{DockerError, Engine};

impl Engine {
    /// Unpacks a tar archive into a container's folder, as it comes.
    pub async fn upload_stream<S>(&self, name: &str, folder: &str, tar: S) -> Result<(), DockerError>
    where
        S: Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
    {
        let options = query::UploadToContainerOptions { path: folder.to_owned(), ..Default::default() };
        let body = bollard::body_try_stream(tar);
        let uploaded = self.docker.upload_to_container(name, Some(options), body).await;
        uploaded.map_err(explain("copy files into", name))
    }

    /// The id of an image that a container can be made of, if there is one.
    pub async fn any_image(&self) -> Result<Option<String>, DockerError> {
        let images = self.docker.list_images(None::<query::ListImagesOptions>).await;
        let images = images.map_err(explain("list the images of", &self.endpoint.to_string()))?;
        Ok(images.into_iter().next().map(|image| image.id))
    }
}

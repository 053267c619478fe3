//! What has begun to make a container comes to its end, though whoever wanted it has left meanwhile.

use std::sync::LazyLock;
use std::time::Duration;

use tokio_util::task::TaskTracker;

/// A daemon that is slower leaves a container for the next session's sweep.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

/// Containers that are on their way.
static MAKING: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// No container is on its way any more. For the end of a process.
pub async fn settled() {
    MAKING.close();
    if tokio::time::timeout(SETTLED_WITHIN, MAKING.wait()).await.is_err() {
        tracing::debug!("a container was still on its way at the end");
    }
}

/// Cancel safe: the making goes on without its caller, and what it gives is dropped then.
pub(super) async fn to_its_end<T: Send + 'static>(making: impl Future<Output = T> + Send + 'static) -> T {
    match MAKING.spawn(making).await {
        Ok(made) => made,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and this with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_has_begun_ends_without_its_caller_and_is_waited_for() {
        let (go, gone) = oneshot::channel::<()>();
        let (say, said) = oneshot::channel();
        let making = async move {
            gone.await.unwrap();
            say.send("made").unwrap();
        };
        let caller = tokio::time::timeout(Duration::from_millis(10), to_its_end(making));
        assert!(caller.await.is_err(), "it has left");
        go.send(()).unwrap();
        settled().await;
        assert_eq!(said.await, Ok("made"));
    }
}

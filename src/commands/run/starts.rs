//! How a session has its server started, and each one after it.

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::sync::oneshot;

use crate::backend::Ready;
use crate::failure::Failure;
use crate::observe::trace::Trace;

/// Gives the server's side for a session that is alone, or a lane of several.
pub(super) fn starts<R: Ready>(
    prepared: Result<R, Failure>,
    trace: Trace,
) -> impl FnMut(oneshot::Receiver<Option<String>>) -> LocalBoxFuture<'static, Result<R::Upstream, Failure>> {
    let mut is_first = true;
    move |said| {
        let (mut prepared, trace) = (prepared.clone(), trace.clone());
        let first = std::mem::take(&mut is_first);
        if let Ok(ready) = &mut prepared {
            ready.plan_mut().is_first = first;
        }
        async move { Box::pin(prepared?.start(said, trace)).await }.boxed_local()
    }
}

//! How a session has its server started, and each one after it.

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::sync::oneshot;

use crate::backend::docker::plan::Plan;
use crate::backend::docker::start::start;
use crate::backend::docker::upstream::DockerUpstream;
use crate::failure::Failure;
use crate::observe::trace::Trace;

/// Gives the server's side for a session that is alone, or a lane of several.
pub(super) fn starts(
    prepared: Result<Plan, Failure>,
    trace: Trace,
) -> impl FnMut(oneshot::Receiver<Option<String>>) -> LocalBoxFuture<'static, Result<DockerUpstream, Failure>>
{
    let mut is_first = true;
    move |said| {
        let (mut prepared, trace) = (prepared.clone(), trace.clone());
        let first = std::mem::take(&mut is_first);
        if let Ok(plan) = &mut prepared {
            plan.is_first = first;
        }
        async move { Box::pin(start(prepared?, said, trace)).await }.boxed_local()
    }
}
